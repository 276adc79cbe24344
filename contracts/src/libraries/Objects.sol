// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A wallet.
struct Account {
    uint64 nonce;
    uint128 balance;
}

/// @notice A worker's registered signing key.
struct Device {
    address owner;
    address payout;
    uint128 stake; // bonds included
    uint128 bonded;
    uint32 class;
    uint8 tier;
    uint64 tierExpiry;
    uint128 unitsServed;
    uint32 status;
}

/// @notice A job and its escrow.
struct Job {
    uint32 status;
    uint8 minimumTier;
    bool isDeviceNamed;
    address device;
    bytes32 model;
    bytes32 inputHash;
    uint128 unitPrice;
    uint64 unitLimit;
    uint128 escrow;
    uint128 bond;
    uint64 deadline;
    bytes32 receiptDigest;
    uint64 unitsPaid;
}

/// @notice A payment channel; it holds `deposit − paid` while it is not closed.
struct Channel {
    address payee;
    uint128 deposit;
    uint128 paid;
    uint64 closingTime;
    uint32 status;
}

/// @title Keys and words of what the state tree holds.
/// @dev Words are 32 bits, every integer most significant word first: an object's words are its fields packed, with flags, tiers and
/// statuses widened to a word.
library Objects {
    uint32 internal constant KIND_ACCOUNT = 1;
    uint32 internal constant KIND_DEVICE = 2;
    uint32 internal constant KIND_JOB = 3;
    uint32 internal constant KIND_CHANNEL = 4;

    uint32 internal constant JOB_OPEN = 1;
    uint32 internal constant JOB_CLAIMED = 2;
    uint32 internal constant CHANNEL_CLOSED = 3;

    /// @dev kind (4) ‖ address (20) ‖ nonce (8).
    function key(uint32 kind, address owner, uint64 nonce) internal pure returns (bytes32) {
        return bytes32(abi.encodePacked(kind, owner, nonce));
    }

    /// @dev 6 words.
    function words(Account memory account) internal pure returns (bytes memory) {
        return abi.encodePacked(account.nonce, account.balance);
    }

    /// @dev 27 words.
    function words(Device memory device) internal pure returns (bytes memory) {
        return abi.encodePacked(
            device.owner,
            device.payout,
            device.stake,
            device.bonded,
            device.class,
            uint32(device.tier),
            device.tierExpiry,
            device.unitsServed,
            device.status
        );
    }

    /// @dev 50 words.
    function words(Job memory job) internal pure returns (bytes memory) {
        return bytes.concat(
            abi.encodePacked(
                job.status,
                uint32(job.minimumTier),
                uint32(job.isDeviceNamed ? 1 : 0),
                job.device,
                job.model,
                job.inputHash,
                job.unitPrice
            ),
            abi.encodePacked(job.unitLimit, job.escrow, job.bond, job.deadline, job.receiptDigest, job.unitsPaid)
        );
    }

    /// @dev 16 words.
    function words(Channel memory channel) internal pure returns (bytes memory) {
        return abi.encodePacked(channel.payee, channel.deposit, channel.paid, channel.closingTime, channel.status);
    }
}
