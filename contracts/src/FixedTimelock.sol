// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title OpenZeppelin's timelock with a delay that is never changed.
/// @notice With a delay that proposals can change, one proposal would be enough to make all later ones sudden: once it has lowered the delay, a
/// call is scheduled without one, the delay is raised again, and the call finds a timelock that looks as slow as ever.
contract FixedTimelock is TimelockController {
    error FixedTimelock_DelayIsFixed(uint256 delay);

    /// @param delay Seconds between a proposal and its execution.
    /// @param proposers Who may propose, and cancel.
    /// @param executors Who may execute what has waited long enough; the zero address for anyone.
    constructor(uint256 delay, address[] memory proposers, address[] memory executors)
        TimelockController(delay, proposers, executors, address(0))
    { }

    /// @inheritdoc TimelockController
    function updateDelay(uint256) public view override {
        revert FixedTimelock_DelayIsFixed(getMinDelay());
    }
}
