// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Channels: pay per call with signed vouchers.
/// @notice System contract at 0x0000000000000000000000000000000000008003. A channel is named by its client and the nonce of the
/// transaction that opened it.
interface IChannels {
    /// @notice The client's word (EIP-712) that `payee` may have `cumulative` in total.
    struct Voucher {
        address client;
        uint64 clientNonce;
        address payee;
        uint128 cumulative;
    }

    /// @notice What the payee signs (EIP-712) to let the client close at once, `paid` being all it has redeemed; no block dated
    /// after `deadline` takes it.
    struct ChannelClose {
        address client;
        uint64 clientNonce;
        address payee;
        uint128 paid;
        uint64 deadline;
    }

    event ChannelOpened(address indexed client, uint64 indexed clientNonce, address indexed payee, uint128 deposit);
    event ChannelToppedUp(address indexed client, uint64 indexed clientNonce, uint128 amount, uint128 deposit);
    event VoucherRedeemed(
        address indexed client, uint64 indexed clientNonce, address indexed payee, uint128 amount, uint128 cumulative
    );
    event ChannelClosing(address indexed client, uint64 indexed clientNonce, uint64 closingTime);
    event ChannelClosed(address indexed client, uint64 indexed clientNonce, uint128 refunded);

    /// @notice Opens a channel to `payee`; the value is its deposit.
    function openChannel(address payee) external payable;

    /// @notice Adds the value to the deposit of a channel of the caller.
    function topUpChannel(uint64 clientNonce) external payable;

    /// @notice Pays what the voucher adds to what was redeemed before; all or nothing. Anybody may send it.
    function redeemVoucher(Voucher calldata voucher, bytes calldata signature) external;

    /// @notice Starts closing a channel of the caller without its payee; vouchers redeem until it is finalised. Only by a forced call
    /// (`Rollup.requestCall` on L1), which the payee can see before any block holds it; a transaction is rejected with `CloseNotForced`.
    function closeChannel(uint64 clientNonce) external;

    /// @notice Closes a channel of the caller at once, with the payee's signature over `ChannelClose`.
    /// @param deadline As the payee signed it.
    function closeChannelTogether(uint64 clientNonce, uint64 deadline, bytes calldata payeeSignature) external;

    /// @notice After the closing time, returns what was not redeemed to the client. Anybody may send it.
    function finaliseChannel(address client, uint64 clientNonce) external;
}
