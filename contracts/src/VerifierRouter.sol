// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {Governed} from "./Governed.sol";
import {IGroth16Verifier} from "./interfaces/IGroth16Verifier.sol";
import {IVerifierRouter} from "./interfaces/IVerifierRouter.sol";
import {LocalChains} from "./libraries/LocalChains.sol";

/// @title Chooses the verifier by the proof's version byte.
/// @notice Trusts governance to add only verifiers whose keys nobody can forge for. A key that says of itself that it is for development
/// (made by one party, or for reduced security) works on local chains only, whoever adds it.
contract VerifierRouter is IVerifierRouter, Governed {
    /// @notice Where a verifying key comes from.
    enum KeyOrigin {
        None, // no verifier under this version
        Ceremony, // many parties made it; one honest party suffices
        Development // one party made it and could forge proofs
    }

    struct Verifier {
        IGroth16Verifier verifier;
        KeyOrigin origin;
        bool isRetired;
    }

    /// @notice Order of BN254's scalar field.
    uint256 public constant SCALAR_ORDER =
        21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant PROOF_BYTES = 1 + 8 * 32;

    /// @notice The verifier of each version. A version is never used twice.
    mapping(uint8 version => Verifier) public verifiers;

    event VerifierAdded(uint8 indexed version, address verifier, KeyOrigin origin);
    event VerifierRetired(uint8 indexed version);

    error VerifierRouter_WrongProofLength(uint256 expected, uint256 actual);
    error VerifierRouter_UnknownVersion(uint8 version);
    error VerifierRouter_RetiredVersion(uint8 version);
    error VerifierRouter_VersionTaken(uint8 version, address verifier);
    error VerifierRouter_NoCode(address verifier);
    error VerifierRouter_OriginMissing(uint8 version);
    error VerifierRouter_UnreducedInput(uint256 order, uint256 actual);
    error VerifierRouter_ProofRefused(uint8 version, uint256 publicInput);

    /// @param version The first verifier's version.
    /// @param verifier The first verifier, so that a new chain need not wait for its timelock.
    constructor(
        TimelockController governance_,
        uint64 upgradeDelayMin_,
        uint8 version,
        IGroth16Verifier verifier,
        KeyOrigin origin
    ) Governed(governance_, upgradeDelayMin_) {
        _addVerifier(version, verifier, origin);
    }

    /// @notice Adds a verifier under a version never used before.
    function addVerifier(uint8 version, IGroth16Verifier verifier, KeyOrigin origin) external onlyGovernance {
        _addVerifier(version, verifier, origin);
    }

    /// @notice Ends a version for good.
    function retireVerifier(uint8 version) external onlyGovernance {
        if (verifiers[version].origin == KeyOrigin.None) revert VerifierRouter_UnknownVersion(version);
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
        if (entry.origin == KeyOrigin.None) revert VerifierRouter_UnknownVersion(version);
        if (entry.isRetired) revert VerifierRouter_RetiredVersion(version);
        // Asked again at each proof: a chain that forks away under another id takes no development key along.
        if (entry.origin == KeyOrigin.Development) LocalChains.requireLocal();
        if (!entry.verifier.verifyProof(abi.decode(proof[1:], (uint256[8])), publicInput)) {
            revert VerifierRouter_ProofRefused(version, publicInput);
        }
    }

    function _addVerifier(uint8 version, IGroth16Verifier verifier, KeyOrigin origin) private {
        if (verifiers[version].origin != KeyOrigin.None) {
            revert VerifierRouter_VersionTaken(version, address(verifiers[version].verifier));
        }
        if (origin == KeyOrigin.None) revert VerifierRouter_OriginMissing(version);
        if (origin == KeyOrigin.Development) LocalChains.requireLocal();
        if (address(verifier).code.length == 0) revert VerifierRouter_NoCode(address(verifier));
        verifiers[version] = Verifier(verifier, origin, false);
        emit VerifierAdded(version, address(verifier), origin);
    }
}
