// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { PriorityRequest } from "../Types.sol";

/// @title What the bridge and the escape ask of the rollup.
interface IRollup {
    /// @notice The fee in wei of the next request of this kind.
    function requestFee(uint8 kind) external view returns (uint256);

    /// @notice Queues a deposit that the bridge has taken in. Bridge only; takes exactly the fee.
    function requestDeposit(address sender, address to, uint128 amount) external payable returns (uint64 index);

    /// @notice Merkle root of an executed batch's withdrawals; zero if it has none or is not executed.
    function withdrawalRoot(uint64 number) external view returns (bytes32);

    /// @notice When the rollup was frozen, unix seconds; zero while it is not.
    function frozenAt() external view returns (uint64);

    /// @notice Hash of the last executed checkpoint.
    function executedCheckpoint() external view returns (bytes32);

    /// @notice Requests that executed batches consumed.
    function executedPriorityCount() external view returns (uint64);

    /// @notice Reverts unless `request` is the one at `index` of the queue.
    function checkRequest(uint64 index, PriorityRequest calldata request) external view;
}
