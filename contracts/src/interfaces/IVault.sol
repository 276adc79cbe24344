// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What the escape asks of the bridge.
interface IVault {
    /// @notice Pays out of what the bridge holds. Escape contract only.
    function release(address to, uint128 amount) external;
}
