// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Jobs: work posted with its price in escrow, paid by a compute receipt.
/// @notice System contract at 0x0000000000000000000000000000000000008001. A job is named by its client and the nonce of the
/// transaction that posted it. Failures are the custom errors of `IRejections`.
interface IJobs {
    /// @notice A worker's signed statement of what it ran; EIP-712, signed by the device key.
    struct ComputeReceipt {
        address client;
        uint64 clientNonce;
        address device;
        bytes32 model;
        bytes32 runtime;
        bytes32 inputHash;
        bytes32 outputHash;
        uint64 units;
        uint128 unitPrice;
        uint64 startedAt;
        uint64 finishedAt;
        uint8 tier;
        bytes32 evidence;
    }

    event JobPosted(
        address indexed client,
        uint64 indexed clientNonce,
        address indexed device,
        bytes32 model,
        bytes32 inputHash,
        uint128 unitPrice,
        uint64 unitLimit,
        uint64 deadline,
        uint8 minimumTier,
        uint128 bond
    );
    event JobClaimed(address indexed client, uint64 indexed clientNonce, address indexed device);
    event JobReleased(address indexed client, uint64 indexed clientNonce, address indexed device);
    event JobSettled(
        address indexed client,
        uint64 indexed clientNonce,
        address indexed device,
        bytes32 receiptDigest,
        uint64 units,
        uint128 paid,
        uint128 refunded
    );
    event JobCancelled(address indexed client, uint64 indexed clientNonce, uint128 refunded);
    event JobExpired(
        address indexed client, uint64 indexed clientNonce, address indexed device, uint128 refunded, uint128 bondPaid
    );

    /// @notice Posts a job; the value must be `unitPrice * unitLimit`. `device` zero leaves it open to any device.
    function postJob(
        bytes32 model,
        bytes32 inputHash,
        uint128 unitPrice,
        uint64 unitLimit,
        uint64 deadline,
        uint8 minimumTier,
        address device,
        uint128 bond
    ) external payable;

    /// @notice Binds an open job to a device and locks the job's bond from its stake. Only its owner or payout account.
    function claimJob(address client, uint64 clientNonce, address device) external;

    /// @notice Gives a claimed job back at once and frees the bond. Only the device's owner or payout account.
    function releaseJob(address client, uint64 clientNonce) external;

    /// @notice Pays `units * unitPrice` to the device's payout account and returns the rest to the client. Anybody may send it.
    function settleJob(ComputeReceipt calldata receipt, bytes calldata signature) external;

    /// @notice Takes an unclaimed job of the caller back.
    function cancelJob(uint64 clientNonce) external;

    /// @notice After deadline and grace, returns the escrow to the client, with the bond if the job was claimed. Anybody may send it.
    function expireJob(address client, uint64 clientNonce) external;
}
