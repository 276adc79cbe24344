// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { DataCommittee } from "../../src/DataCommittee.sol";
import { DataStatement } from "../../src/Types.sol";
import { Bn254, G1, G2 } from "../../src/libraries/Bn254.sol";
import { BlsCertificate, Certificates, CompactSignature, EcdsaCertificate } from "../../src/libraries/Certificates.sol";
import { Encodings } from "../../src/libraries/Encodings.sol";
import { G2Multiples } from "./G2Multiples.sol";
import { Network } from "./Network.sol";

/// @title Committees of any size with keys of both schemes. Member i's BLS secret is i + 1.
abstract contract BlsNetwork is Network {
    bytes32 internal constant SIGNATURE_TAG = keccak256("Joule BLS certificate v1");
    bytes32 internal constant POSSESSION_TAG = keccak256("Joule BLS possession v1");

    function _registerBls(DataCommittee to, address member, uint256 secret) internal {
        G1 memory key = Bn254.multiply(Bn254.generator1(), secret);
        bytes32 digest = to.blsPossessionDigest(member, key);
        G1 memory possession = Bn254.multiply(Bn254.hashToG1(POSSESSION_TAG, digest), secret);
        G2 memory key2 = G2Multiples.multiple(secret);
        vm.prank(member);
        to.registerBlsKey(key, key2, possession);
    }

    /// @dev Registers a BLS key and stake for each seated ECDSA member and puts the BLS keyset in force.
    function _seatBls(DataCommittee to, uint32 honest) internal {
        address[] memory members = to.seated(Certificates.SCHEME_ECDSA);
        for (uint256 i = 0; i < members.length; ++i) {
            _registerBls(to, members[i], i + 1);
            vm.deal(members[i], 1 ether);
            vm.prank(members[i]);
            to.addStake{ value: 1 ether }();
        }
        _govern(address(to), abi.encodeCall(DataCommittee.setKeyset, (Certificates.SCHEME_BLS, members, honest)));
    }

    /// @dev A certificate of the first `count` of `size` members.
    function _blsSigned(DataStatement memory statement, address to, uint256 size, uint256 count, uint64 expiry)
        internal
        view
        returns (BlsCertificate memory certificate)
    {
        certificate.expiry = expiry;
        certificate.quorum = uint32(size) - 1;
        certificate.keyset = new G1[](size);
        uint256 secret = 0;
        for (uint256 i = 0; i < size; ++i) {
            certificate.keyset[i] = Bn254.multiply(Bn254.generator1(), i + 1);
            if (i >= count) continue;
            certificate.bitmap |= 1 << i;
            secret += i + 1;
        }
        bytes32 keysetHash = Certificates.keysetHash(certificate.quorum, certificate.keyset);
        bytes32 digest = Encodings.certificateDigest(statement, to, expiry, keysetHash);
        certificate.signature = Bn254.multiply(Bn254.hashToG1(SIGNATURE_TAG, digest), secret);
        certificate.aggregateKey = G2Multiples.multiple(secret);
    }

    function _encode(BlsCertificate memory certificate) internal pure returns (bytes memory) {
        return bytes.concat(bytes1(Certificates.SCHEME_BLS), abi.encode(certificate));
    }
}
