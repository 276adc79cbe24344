// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { DataStatement } from "../Types.sol";

/// @title Checks that a quorum of the committee holds a batch's data.
interface IDataCommittee {
    /// @notice Reverts unless `certificate` (scheme byte, then the certificate) is one for `statement` made out to the caller.
    function requireCertified(DataStatement calldata statement, bytes calldata certificate) external view;
}
