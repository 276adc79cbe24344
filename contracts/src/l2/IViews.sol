// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Views: what the system contracts answer to `eth_call`, at their own addresses, also from code that `eth_call` runs.
/// @notice Nodes answer them from their state. The kernel does not know them, so a transaction to one is rejected with
/// `UnknownSelector`. What does not exist reverts with the custom error of `IRejections` that says so. Enumerations are numbers as in
/// the book's chapter on objects.
interface IJobViews {
    struct Job {
        uint8 status;
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

    /// @notice A job, at 0x0000000000000000000000000000000000008001. Reverts with `JobNotFound`.
    function getJob(address client, uint64 clientNonce) external view returns (Job memory);
}

/// @title Views of devices, at 0x0000000000000000000000000000000000008002.
interface IDeviceViews {
    struct Device {
        address owner;
        address payout;
        uint128 stake;
        uint128 bonded;
        uint32 class;
        uint8 tier;
        uint64 tierExpiry;
        uint128 unitsServed;
        uint8 status;
    }

    /// @notice A device. Reverts with `DeviceNotFound`.
    function getDevice(address device) external view returns (Device memory);
}

/// @title Views of channels, at 0x0000000000000000000000000000000000008003.
interface IChannelViews {
    struct Channel {
        address payee;
        uint128 deposit;
        uint128 paid;
        uint64 closingTime;
        uint8 status;
    }

    /// @notice A channel. Reverts with `ChannelNotFound`.
    function getChannel(address client, uint64 clientNonce) external view returns (Channel memory);
}

/// @title Views of the chain's own numbers, at the bridge, 0x0000000000000000000000000000000000008004.
interface IChainViews {
    struct Chain {
        bytes32 genesisId;
        address feeRecipient;
        uint64 baseFeeMax;
        uint32 gasTableVersion;
        uint64 leafCount;
        uint64 withdrawalCount;
        uint128 deposited;
        uint128 withdrawn;
        uint64 graceSeconds;
        uint64 channelCloseSeconds;
    }

    /// @notice The chain object.
    function getChain() external view returns (Chain memory);
}
