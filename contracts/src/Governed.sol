// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @title What answers to a timelock, and to nothing faster than the delay it was built with.
abstract contract Governed {
    /// @notice The timelock whose proposals change verifiers, programs, the committee and the operator.
    TimelockController public immutable governance;
    /// @notice Shortest delay the timelock may have, seconds: the longest that a freeze can be put off, plus the users' window to leave.
    uint64 public immutable upgradeDelayMin;

    error Governed_NotGovernance(address expected, address actual);
    error Governed_DelayTooShort(uint256 secondsMin, uint256 actual);

    constructor(TimelockController governance_, uint64 upgradeDelayMin_) {
        governance = governance_;
        upgradeDelayMin = upgradeDelayMin_;
        _checkDelay();
    }

    /// @dev Asks for the delay each time, so that a timelock whose delay was lowered governs nothing while it is. What that cannot see is a call that was
    /// scheduled meanwhile: deployments use `FixedTimelock`, whose delay cannot be lowered.
    modifier onlyGovernance() {
        if (msg.sender != address(governance)) revert Governed_NotGovernance(address(governance), msg.sender);
        _checkDelay();
        _;
    }

    function _checkDelay() private view {
        uint256 delay = governance.getMinDelay();
        if (delay < upgradeDelayMin) revert Governed_DelayTooShort(upgradeDelayMin, delay);
    }
}
