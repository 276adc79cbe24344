// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Devices: the keys that sign compute receipts.
/// @notice System contract at 0x0000000000000000000000000000000000008002.
interface IDevices {
    /// @notice What the device key signs (EIP-712) so that nobody registers a key that is not theirs.
    struct DeviceConsent {
        address device;
        address owner;
    }

    event DeviceRegistered(
        address indexed device, address indexed owner, address indexed payout, uint32 class, uint128 stake
    );
    event StakeAdded(address indexed device, uint128 amount, uint128 stake);
    event DeviceRetired(address indexed device);
    event StakeWithdrawn(address indexed device, address indexed owner, uint128 amount);

    /// @notice Registers `device` to the caller; the value becomes its stake and may be zero.
    function registerDevice(address device, address payout, uint32 class, bytes calldata consent) external payable;

    /// @notice Adds the value to the stake. Only the owner.
    function addStake(address device) external payable;

    /// @notice Takes no new jobs from now on; final. Only the owner.
    function retireDevice(address device) external;

    /// @notice Pays the whole stake of a retired device, with nothing bonded, to its owner. Only the owner.
    function withdrawStake(address device) external;
}
