// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title A Groth16 verifier over BN254 for one verifying key with one public input.
interface IGroth16Verifier {
    /// @param proof A (x, y), B (x imaginary, x real, y imaginary, y real), C (x, y), as the EIP-197 precompile takes them.
    /// @param publicInput Below the scalar field's order; the caller has checked it.
    /// @return Whether the proof verifies. A malformed proof may return false or revert.
    function verifyProof(uint256[8] calldata proof, uint256 publicInput) external view returns (bool);
}
