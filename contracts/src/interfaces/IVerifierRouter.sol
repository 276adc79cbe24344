// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Chooses the verifier by the proof's version byte.
interface IVerifierRouter {
    /// @notice Reverts unless `proof` (version byte, then the proof) shows `publicInput`.
    function requireValid(bytes calldata proof, uint256 publicInput) external view;
}
