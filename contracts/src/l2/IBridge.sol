// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Bridge: the way back to L1.
/// @notice System contract at 0x0000000000000000000000000000000000008004.
interface IBridge {
    event Deposit(address indexed to, uint128 amount);
    event Withdrawal(uint64 indexed index, address indexed sender, address indexed l1Recipient, uint128 amount);

    /// @notice Sends `amount`, which must be the transaction's value, to `l1Recipient` on L1, claimable once the batch is executed.
    function withdraw(address l1Recipient, uint128 amount) external payable;
}
