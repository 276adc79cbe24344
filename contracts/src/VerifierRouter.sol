// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";
import { Governed } from "./Governed.sol";
import { IGroth16Verifier } from "./interfaces/IGroth16Verifier.sol";
import { IVerifierRouter } from "./interfaces/IVerifierRouter.sol";
import { IVerifyingKey } from "./interfaces/IVerifyingKey.sol";
import { LocalChains } from "./libraries/LocalChains.sol";

/// @title Chooses the verifier by the proof's version byte.
/// @notice Trusts governance to add only verifiers whose keys nobody can forge for. A verifier whose code says that its key is for
/// development works on local chains only, whoever adds it.
contract VerifierRouter is IVerifierRouter, Governed {
    struct Verifier {
        IGroth16Verifier verifier; // zero if there is none under this version
        bool isDevelopment; // what its code said of its key
        bool isRetired;
    }

    /// @notice Order of BN254's scalar field.
    uint256 public constant SCALAR_ORDER =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant PROOF_BYTES = 1 + 8 * 32;

    /// @notice The verifier of each version. A version is never used twice.
    mapping(uint8 version => Verifier) public verifiers;

    event VerifierAdded(uint8 indexed version, address verifier, bool isDevelopment);
    event VerifierRetired(uint8 indexed version);

    error VerifierRouter_WrongProofLength(uint256 expected, uint256 actual);
    error VerifierRouter_UnknownVersion(uint8 version);
    error VerifierRouter_RetiredVersion(uint8 version);
    error VerifierRouter_VersionTaken(uint8 version, address verifier);
    error VerifierRouter_NoCode(address verifier);
    error VerifierRouter_UnreducedInput(uint256 order, uint256 actual);
    error VerifierRouter_ProofRefused(uint8 version, uint256 publicInput);

    /// @param version The first verifier's version.
    /// @param verifier The first verifier, so that a new chain need not wait for its timelock.
    constructor(TimelockController governance_, uint64 upgradeDelayMin_, uint8 version, IGroth16Verifier verifier)
        Governed(governance_, upgradeDelayMin_)
    {
        _addVerifier(version, verifier);
    }

    /// @notice Adds a verifier under a version never used before.
    function addVerifier(uint8 version, IGroth16Verifier verifier) external onlyGovernance {
        _addVerifier(version, verifier);
    }

    /// @notice Ends a version for good.
    function retireVerifier(uint8 version) external onlyGovernance {
        if (address(verifiers[version].verifier) == address(0)) revert VerifierRouter_UnknownVersion(version);
        if (verifiers[version].isRetired) revert VerifierRouter_RetiredVersion(version);
        verifiers[version].isRetired = true;
        emit VerifierRetired(version);
    }

    /// @inheritdoc IVerifierRouter
    function requireValid(bytes calldata proof, uint256 publicInput) external view {
        if (proof.length != PROOF_BYTES) revert VerifierRouter_WrongProofLength(PROOF_BYTES, proof.length);
        // x and x + r are one field element: an unreduced input is refused, never reduced.
        if (publicInput >= SCALAR_ORDER) revert VerifierRouter_UnreducedInput(SCALAR_ORDER, publicInput);
        uint8 version = uint8(proof[0]);
        Verifier memory entry = verifiers[version];
        if (address(entry.verifier) == address(0)) revert VerifierRouter_UnknownVersion(version);
        if (entry.isRetired) revert VerifierRouter_RetiredVersion(version);
        // Asked again at each proof: a chain that forks away under another id takes no development key along.
        if (entry.isDevelopment) LocalChains.requireLocal();
        if (!entry.verifier.verifyProof(abi.decode(proof[1:], (uint256[8])), publicInput)) {
            revert VerifierRouter_ProofRefused(version, publicInput);
        }
    }

    function _addVerifier(uint8 version, IGroth16Verifier verifier) private {
        if (address(verifiers[version].verifier) != address(0)) {
            revert VerifierRouter_VersionTaken(version, address(verifiers[version].verifier));
        }
        if (address(verifier).code.length == 0) revert VerifierRouter_NoCode(address(verifier));
        bool isDevelopment = IVerifyingKey(address(verifier)).IS_DEVELOPMENT_KEY();
        if (isDevelopment) LocalChains.requireLocal();
        verifiers[version] = Verifier(verifier, isDevelopment, false);
        emit VerifierAdded(version, address(verifier), isDevelopment);
    }
}
