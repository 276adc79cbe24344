// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { DataCommittee } from "../src/DataCommittee.sol";
import { DataStatement } from "../src/Types.sol";
import { Bn254, G1, G2 } from "../src/libraries/Bn254.sol";
import { BlsCertificate, Certificates, CompactSignature, EcdsaCertificate } from "../src/libraries/Certificates.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { BlsNetwork } from "./helpers/BlsNetwork.sol";
import { G2Multiples } from "./helpers/G2Multiples.sol";

contract DataCommitteeTest is BlsNetwork {
    DataStatement private statement = DataStatement(1, keccak256("x"), keccak256("y"), 0, 100);

    function setUp() external {
        _deploy();
    }

    // ------------------------------------------------------------------------------------------------------- ECDSA

    function test_requireCertified_ecdsaQuorum_passes() external view {
        _check(_ecdsa(5));
        _check(_ecdsa(4));
    }

    function test_requireCertified_ecdsaBelowQuorum_reverts() external {
        _refused(_ecdsa(3), Certificates.Certificates_QuorumMissed.selector);
    }

    function test_requireCertified_ecdsaDuplicatedSigner_reverts() external {
        EcdsaCertificate memory certificate = _ecdsa(4);
        certificate.signatures[3] = certificate.signatures[2];
        _refused(certificate, Certificates.Certificates_OutOfOrder.selector);
    }

    function test_requireCertified_ecdsaOutOfOrder_reverts() external {
        EcdsaCertificate memory certificate = _ecdsa(5);
        (certificate.signatures[0], certificate.signatures[1]) = (certificate.signatures[1], certificate.signatures[0]);
        _refused(certificate, Certificates.Certificates_OutOfOrder.selector);
    }

    function test_requireCertified_ecdsaStranger_reverts() external {
        // Keys whose addresses rise, so that only membership can fail.
        EcdsaCertificate memory certificate = _ecdsa(5);
        uint256 stranger = 1;
        while (vm.addr(stranger) <= vm.addr(keys[3])) ++stranger;
        (bytes32 r, bytes32 vs) = vm.signCompact(stranger, _digest(certificate));
        certificate.signatures[4] = CompactSignature(r, vs);
        _refused(certificate, Certificates.Certificates_NotAMember.selector);
    }

    function test_requireCertified_ecdsaLowerQuorumClaimed_reverts() external {
        EcdsaCertificate memory certificate = _ecdsa(1);
        certificate.quorum = 1;
        _refused(certificate, DataCommittee.DataCommittee_UnknownKeyset.selector);
    }

    function test_requireCertified_ecdsaOwnKeyset_reverts() external {
        EcdsaCertificate memory certificate = _ecdsa(5);
        certificate.keyset[0] = vm.addr(1);
        _refused(certificate, DataCommittee.DataCommittee_UnknownKeyset.selector);
    }

    function test_requireCertified_expiresTooSoon_reverts() external {
        EcdsaCertificate memory certificate = _signedBy(5, _now() + REMAINING_MIN - 1);
        _refused(certificate, DataCommittee.DataCommittee_ExpiresTooSoon.selector);
        _check(_signedBy(5, _now() + REMAINING_MIN));
    }

    function test_requireCertified_outlivesTheStakeOfItsSigners_reverts() external {
        EcdsaCertificate memory certificate = _signedBy(5, _now() + STAKE_LOCK + 1);
        bytes memory encoded = _encode(certificate);
        bytes memory outlives = abi.encodeWithSelector(
            DataCommittee.DataCommittee_OutlivesStake.selector, _now() + STAKE_LOCK, _now() + STAKE_LOCK + 1
        );
        vm.expectRevert(outlives);
        committee.requireCertified(statement, encoded);
        _seatBls(committee, 2);
        encoded = _encode(_blsSigned(statement, address(this), 5, 5, _now() + STAKE_LOCK + 1));
        vm.expectPartialRevert(DataCommittee.DataCommittee_OutlivesStake.selector);
        committee.requireCertified(statement, encoded);
    }

    /// @dev The longest certificate, used in the last block of its keyset, has expired when the first stake of its signers can be taken back.
    function test_withdrawStake_afterTheLongestCertificate() external {
        address[] memory members = _staked();
        bytes memory call = abi.encodeCall(DataCommittee.setKeyset, (1, new address[](0), 0));
        timelock.schedule(address(committee), 0, call, 0, 0, UPGRADE_DELAY);
        _wait(UPGRADE_DELAY);
        EcdsaCertificate memory certificate = _signedBy(5, _now() + STAKE_LOCK);
        _check(certificate);
        timelock.execute(address(committee), 0, call, 0, 0);
        vm.warp(certificate.expiry);
        vm.prank(members[0]);
        vm.expectPartialRevert(DataCommittee.DataCommittee_StakeLocked.selector);
        committee.withdrawStake();
        _wait(1);
        vm.prank(members[0]);
        committee.withdrawStake();
    }

    function test_constructor_stakeLockTooShort_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                DataCommittee.DataCommittee_StakeLockTooShort.selector, REMAINING_MIN, REMAINING_MIN - 1
            )
        );
        new DataCommittee(timelock, 0, REMAINING_MIN, REMAINING_MIN - 1, 0, new address[](0), 0);
    }

    function test_requireCertified_unknownScheme_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_UnknownScheme.selector, 3));
        committee.requireCertified(statement, hex"03");
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_UnknownScheme.selector, 0));
        committee.requireCertified(statement, "");
    }

    function testFuzz_requireCertified_malformedBytes_revert(bytes calldata bytes_) external {
        vm.expectRevert();
        committee.requireCertified(statement, bytes_);
        vm.expectRevert();
        committee.requireCertified(statement, bytes.concat(hex"01", bytes_));
        vm.expectRevert();
        committee.requireCertified(statement, bytes.concat(hex"02", bytes_));
    }

    // --------------------------------------------------------------------------------------------------------- BLS

    function test_requireCertified_blsQuorum_passes() external {
        _seatBls(committee, 2);
        committee.requireCertified(statement, _encode(_bls(5)));
        committee.requireCertified(statement, _encode(_bls(4)));
    }

    function test_requireCertified_blsBelowQuorum_reverts() external {
        _seatBls(committee, 2);
        _refused(_bls(3), Certificates.Certificates_QuorumMissed.selector);
    }

    function test_requireCertified_blsBitOfNobody_reverts() external {
        _seatBls(committee, 2);
        BlsCertificate memory certificate = _bls(4);
        certificate.bitmap |= 1 << 5;
        _refused(certificate, Certificates.Certificates_UnknownBits.selector);
    }

    function test_requireCertified_blsBitWithoutSignature_reverts() external {
        _seatBls(committee, 2);
        BlsCertificate memory certificate = _bls(4);
        certificate.bitmap |= 1 << 4;
        _refused(certificate, Certificates.Certificates_SignatureRefused.selector);
    }

    function test_requireCertified_blsOtherKeyInG2_reverts() external {
        // A signature under a key of the attacker's own: the bitmap's sum in G1 is not that key.
        _seatBls(committee, 2);
        BlsCertificate memory certificate = _bls(4);
        bytes32 digest = _digest(certificate);
        certificate.signature = Bn254.multiply(Bn254.hashToG1(SIGNATURE_TAG, digest), 7);
        certificate.aggregateKey = G2Multiples.multiple(7);
        _refused(certificate, Certificates.Certificates_SignatureRefused.selector);
    }

    function test_requireCertified_blsSignatureAtInfinity_reverts() external {
        _seatBls(committee, 2);
        BlsCertificate memory certificate = _bls(4);
        certificate.signature = G1(0, 0);
        _refused(certificate, Certificates.Certificates_SignatureRefused.selector);
        certificate.aggregateKey = G2(0, 0, 0, 0);
        _refused(certificate, Certificates.Certificates_SignatureRefused.selector);
    }

    function test_requireCertified_blsOffTheCurve_reverts() external {
        _seatBls(committee, 2);
        BlsCertificate memory certificate = _bls(4);
        certificate.signature.y += 1;
        _refused(certificate, Bn254.Bn254_PrecompileRefused.selector);
        certificate = _bls(4);
        certificate.aggregateKey.xReal += 1;
        _refused(certificate, Bn254.Bn254_PrecompileRefused.selector);
    }

    function test_registerBlsKey_withoutPossession_reverts() external {
        address member = vm.addr(keys[0]);
        G1 memory key = Bn254.multiply(Bn254.generator1(), 3);
        bytes32 digest = committee.blsPossessionDigest(vm.addr(keys[1]), key);
        // Made out to another member.
        G1 memory possession = Bn254.multiply(Bn254.hashToG1(POSSESSION_TAG, digest), 3);
        vm.prank(member);
        vm.expectPartialRevert(Certificates.Certificates_SignatureRefused.selector);
        committee.registerBlsKey(key, G2Multiples.multiple(3), possession);
        // A certificate's signature is none of possession: the tags differ.
        digest = committee.blsPossessionDigest(member, key);
        possession = Bn254.multiply(Bn254.hashToG1(SIGNATURE_TAG, digest), 3);
        vm.prank(member);
        vm.expectPartialRevert(Certificates.Certificates_SignatureRefused.selector);
        committee.registerBlsKey(key, G2Multiples.multiple(3), possession);
    }

    function test_registerBlsKey_atInfinity_reverts() external {
        vm.prank(vm.addr(keys[0]));
        vm.expectPartialRevert(Certificates.Certificates_KeyAtInfinity.selector);
        committee.registerBlsKey(G1(0, 0), G2(0, 0, 0, 0), G1(0, 0));
    }

    function test_registerBlsKey_byStranger_reverts() external {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_NotAMember.selector, STRANGER));
        committee.registerBlsKey(G1(1, 2), G2Multiples.multiple(1), G1(1, 2));
    }

    function testFuzz_hashToG1_isOnTheCurve(bytes32 tag, bytes32 digest) external view {
        G1 memory point = Bn254.hashToG1(tag, digest);
        uint256 field = Bn254.FIELD;
        uint256 right = addmod(mulmod(mulmod(point.x, point.x, field), point.x, field), 3, field);
        assertEq(mulmod(point.y, point.y, field), right, "on the curve");
        assertEq(point.y % 2, 0, "even");
    }

    // ------------------------------------------------------------------------------------------- members, keysets

    function test_register_withPossession_joins() external {
        uint256 key = 0x5eed;
        bytes memory possession = _possession(key, ALICE);
        vm.deal(ALICE, 2 ether);
        vm.prank(ALICE);
        committee.register{ value: 2 ether }(vm.addr(key), possession);
        assertEq(committee.memberOf(ALICE).stake, 2 ether, "stake");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_AlreadyRegistered.selector, ALICE));
        committee.register(vm.addr(key), possession);
        possession = _possession(key, BOB);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_KeyTaken.selector, ALICE));
        committee.register(vm.addr(key), possession);
    }

    function test_setKeyset_replaces_theOldOneEnds() external {
        EcdsaCertificate memory old = _ecdsa(5);
        address[] memory members = _staked();
        _govern(address(committee), abi.encodeCall(DataCommittee.setKeyset, (1, members, 1)));
        (, uint32 quorum, uint32 size,,) = committee.keysets(committee.currentKeyset(1));
        assertEq(quorum, 5, "quorum is N + 1 - honest");
        assertEq(size, 5, "size");
        old.expiry = _now() + 14 days;
        _refused(old, DataCommittee.DataCommittee_RetiredKeyset.selector);
    }

    function test_setKeyset_sameKeysAgain_comesBack() external {
        address[] memory members = _staked();
        bytes32 keyset = committee.currentKeyset(1);
        _govern(address(committee), abi.encodeCall(DataCommittee.setKeyset, (1, new address[](0), 0)));
        assertEq(committee.currentKeyset(1), 0, "none in force");
        _govern(address(committee), abi.encodeCall(DataCommittee.setKeyset, (1, members, 2)));
        assertEq(committee.currentKeyset(1), keyset, "in force again");
        _check(_ecdsa(4));
    }

    function test_setKeyset_refusals() external {
        address[] memory members = committee.seated(1);
        _governRefused(1, members, 2, DataCommittee.DataCommittee_StakeTooLow.selector);
        members = _staked();
        _governRefused(1, members, 0, DataCommittee.DataCommittee_HonestOutOfRange.selector);
        _governRefused(1, members, 6, DataCommittee.DataCommittee_HonestOutOfRange.selector);
        _governRefused(3, members, 2, DataCommittee.DataCommittee_UnknownScheme.selector);
        _governRefused(2, members, 2, DataCommittee.DataCommittee_NoBlsKey.selector);
        (members[0], members[1]) = (members[1], members[0]);
        _governRefused(1, members, 2, DataCommittee.DataCommittee_OutOfOrder.selector);
        members[0] = STRANGER;
        _governRefused(1, members, 2, DataCommittee.DataCommittee_NotAMember.selector);
    }

    function test_constructor_fourMembersOnARealNetwork_reverts() external {
        vm.chainId(1);
        address[] memory members = new address[](4);
        for (uint256 i = 0; i < 4; ++i) {
            members[i] = vm.addr(keys[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_TooFewMembers.selector, 5, 4));
        new DataCommittee(timelock, 0, 0, 0, 0, members, 1);
    }

    function test_constructor_tooManyMembers_reverts() external {
        address[] memory members = new address[](65);
        for (uint256 i = 0; i < 65; ++i) {
            members[i] = address(uint160(i + 1));
        }
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_TooManyMembers.selector, 64, 65));
        new DataCommittee(timelock, 0, 0, 0, 0, members, 1);
    }

    function test_withdrawStake_seated_reverts_thenLocked_thenFree() external {
        address[] memory members = _staked();
        vm.prank(members[0]);
        vm.expectRevert(abi.encodeWithSelector(DataCommittee.DataCommittee_StillSeated.selector, members[0], 1));
        committee.withdrawStake();
        _govern(address(committee), abi.encodeCall(DataCommittee.setKeyset, (1, new address[](0), 0)));
        vm.prank(members[0]);
        vm.expectPartialRevert(DataCommittee.DataCommittee_StakeLocked.selector);
        committee.withdrawStake();
        _wait(STAKE_LOCK + 1);
        vm.prank(members[0]);
        committee.withdrawStake();
        assertEq(members[0].balance, 1 ether, "stake");
        assertEq(committee.memberOf(members[0]).stake, 0, "none left");
    }

    // ------------------------------------------------------------------------------------------------------ helpers

    function _staked() private returns (address[] memory members) {
        members = committee.seated(1);
        for (uint256 i = 0; i < members.length; ++i) {
            vm.deal(members[i], 1 ether);
            vm.prank(members[i]);
            committee.addStake{ value: 1 ether }();
        }
    }

    function _possession(uint256 key, address member) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, committee.possessionDigest(member));
        return abi.encodePacked(r, s, v);
    }

    function _governRefused(uint8 scheme, address[] memory members, uint32 honest, bytes4 reason) private {
        bytes memory call = abi.encodeCall(DataCommittee.setKeyset, (scheme, members, honest));
        bytes32 salt = keccak256(call);
        timelock.schedule(address(committee), 0, call, 0, salt, UPGRADE_DELAY);
        _wait(UPGRADE_DELAY);
        vm.expectPartialRevert(reason);
        timelock.execute(address(committee), 0, call, 0, salt);
    }

    function _ecdsa(uint256 count) private view returns (EcdsaCertificate memory) {
        return _signedBy(count, _now() + 14 days);
    }

    function _signedBy(uint256 count, uint64 expiry) private view returns (EcdsaCertificate memory certificate) {
        certificate.expiry = expiry;
        certificate.quorum = 4;
        certificate.keyset = _keyset();
        certificate.signatures = new CompactSignature[](count);
        for (uint256 i = 0; i < count; ++i) {
            (bytes32 r, bytes32 vs) = vm.signCompact(keys[i], _digest(certificate));
            certificate.signatures[i] = CompactSignature(r, vs);
        }
    }

    function _digest(EcdsaCertificate memory certificate) private view returns (bytes32) {
        bytes32 keysetHash = Certificates.keysetHash(certificate.quorum, certificate.keyset);
        return Encodings.certificateDigest(statement, address(this), certificate.expiry, keysetHash);
    }

    function _bls(uint256 count) private view returns (BlsCertificate memory) {
        return _blsSigned(statement, address(this), 5, count, _now() + 14 days);
    }

    function _digest(BlsCertificate memory certificate) private view returns (bytes32) {
        bytes32 keysetHash = Certificates.keysetHash(certificate.quorum, certificate.keyset);
        return Encodings.certificateDigest(statement, address(this), certificate.expiry, keysetHash);
    }

    function _check(EcdsaCertificate memory certificate) private view {
        committee.requireCertified(statement, _encode(certificate));
    }

    function _refused(EcdsaCertificate memory certificate, bytes4 reason) private {
        bytes memory encoded = _encode(certificate);
        vm.expectPartialRevert(reason);
        committee.requireCertified(statement, encoded);
    }

    function _refused(BlsCertificate memory certificate, bytes4 reason) private {
        bytes memory encoded = _encode(certificate);
        vm.expectPartialRevert(reason);
        committee.requireCertified(statement, encoded);
    }
}
