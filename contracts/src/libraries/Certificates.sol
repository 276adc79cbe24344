// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { Bn254, G1, G2 } from "./Bn254.sol";

/// @notice A certificate of scheme 1. The keyset comes along and is checked by its hash: cheaper than reading it from storage.
struct EcdsaCertificate {
    uint64 expiry; // until when the data is held, unix seconds
    uint32 quorum;
    address[] keyset; // all signers, strictly increasing
    CompactSignature[] signatures; // of those that signed, by strictly increasing signer
}

/// @notice An ECDSA signature as EIP-2098 has it: the parity of R.y in the top bit of s.
struct CompactSignature {
    bytes32 r;
    bytes32 vs;
}

/// @notice A certificate of scheme 2.
struct BlsCertificate {
    uint64 expiry;
    uint32 quorum;
    G1[] keyset; // all keys, in the keyset's order
    uint256 bitmap; // bit i: key i signed
    G1 signature; // the sum of the signatures
    G2 aggregateKey; // the sum of the signers' keys in G2
}

/// @title The two kinds of committee certificate and the hashes of their keysets.
library Certificates {
    uint8 internal constant SCHEME_ECDSA = 1;
    uint8 internal constant SCHEME_BLS = 2;
    uint256 internal constant MEMBERS_MAX = 64;

    bytes32 private constant ECDSA_KEYSET_TAG = keccak256("Joule ECDSA keyset v1");
    bytes32 private constant BLS_KEYSET_TAG = keccak256("Joule BLS keyset v1");
    bytes32 private constant BLS_SIGNATURE_TAG = keccak256("Joule BLS certificate v1");
    bytes32 private constant BLS_POSSESSION_TAG = keccak256("Joule BLS possession v1");

    error Certificates_QuorumMissed(uint256 expected, uint256 actual);
    error Certificates_OutOfOrder(address previous, address signer);
    error Certificates_NotAMember(address signer);
    error Certificates_UnknownBits(uint256 members, uint256 bitmap);
    error Certificates_KeyAtInfinity();
    error Certificates_SignatureRefused(bytes32 digest);

    function keysetHash(uint32 quorum, address[] memory keyset) internal pure returns (bytes32) {
        return keccak256(abi.encode(ECDSA_KEYSET_TAG, quorum, keyset));
    }

    function keysetHash(uint32 quorum, G1[] memory keyset) internal pure returns (bytes32) {
        return keccak256(abi.encode(BLS_KEYSET_TAG, quorum, keyset));
    }

    /// @dev The keyset is strictly increasing, so one walk along it finds every signer, and a signer cannot come twice.
    function requireSigned(bytes32 digest, EcdsaCertificate memory certificate) internal pure {
        uint256 count = certificate.signatures.length;
        if (count < certificate.quorum) revert Certificates_QuorumMissed(certificate.quorum, count);
        address[] memory keyset = certificate.keyset;
        address previous = address(0);
        uint256 member = 0;
        for (uint256 i = 0; i < count; ++i) {
            address signer = ECDSA.recover(digest, certificate.signatures[i].r, certificate.signatures[i].vs);
            if (signer <= previous) revert Certificates_OutOfOrder(previous, signer);
            while (member < keyset.length && keyset[member] < signer) ++member;
            if (member == keyset.length || keyset[member] != signer) revert Certificates_NotAMember(signer);
            previous = signer;
        }
    }

    /// @dev One pairing check says both that the signature is the aggregate key's and that the key brought in G2 is the one summed
    /// here in G1: with γ drawn after all of them, e(σ + γ·K₁, −g₂) · e(H + γ·g₁, K₂) = 1 needs both to hold.
    function requireSigned(bytes32 digest, BlsCertificate memory certificate) internal view {
        G1[] memory keyset = certificate.keyset;
        uint256 bitmap = certificate.bitmap;
        if (bitmap >> keyset.length != 0) revert Certificates_UnknownBits(keyset.length, bitmap);
        G1 memory key;
        uint256 count = 0;
        for (uint256 i = 0; i < keyset.length; ++i) {
            if ((bitmap >> i) & 1 == 0) continue;
            key = count == 0 ? keyset[i] : Bn254.add(key, keyset[i]);
            ++count;
        }
        if (count < certificate.quorum) revert Certificates_QuorumMissed(certificate.quorum, count);
        G1 memory hashed = Bn254.hashToG1(BLS_SIGNATURE_TAG, digest);
        _requirePairing(digest, hashed, certificate.signature, key, certificate.aggregateKey);
    }

    /// @dev Without it a member could choose its key as the difference of others' and sign for them.
    function requirePossession(address member, G1 memory key, G2 memory key2, G1 memory possession) internal view {
        bytes32 digest = possessionDigest(member, key);
        _requirePairing(digest, Bn254.hashToG1(BLS_POSSESSION_TAG, digest), possession, key, key2);
    }

    /// @notice What a key signs to show that its owner has it: for this committee, this chain and this member only.
    function possessionDigest(address member, G1 memory key) internal view returns (bytes32) {
        return keccak256(abi.encode(BLS_POSSESSION_TAG, block.chainid, address(this), member, key));
    }

    function _requirePairing(bytes32 digest, G1 memory hashed, G1 memory signature, G1 memory key, G2 memory key2)
        private
        view
    {
        if (key.x == 0 && key.y == 0) revert Certificates_KeyAtInfinity();
        uint256 gamma = uint256(keccak256(abi.encode(digest, signature, key, key2))) % Bn254.ORDER;
        G1 memory left = Bn254.add(signature, Bn254.multiply(key, gamma));
        G1 memory right = Bn254.add(hashed, Bn254.multiply(Bn254.generator1(), gamma));
        if (!Bn254.pairingIsOne(left, Bn254.negatedGenerator2(), right, key2)) {
            revert Certificates_SignatureRefused(digest);
        }
    }
}
