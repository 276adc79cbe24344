// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Governed } from "../src/Governed.sol";
import { VerifierRouter } from "../src/VerifierRouter.sol";
import { IGroth16Verifier } from "../src/interfaces/IGroth16Verifier.sol";
import { IVerifyingKey } from "../src/interfaces/IVerifyingKey.sol";
import { LocalChains } from "../src/libraries/LocalChains.sol";
import { Network } from "./helpers/Network.sol";

/// @dev Says that its key is a ceremony's.
contract CeremonyVerifier is IGroth16Verifier, IVerifyingKey {
    bool public constant IS_DEVELOPMENT_KEY = false;

    function verifyProof(uint256[8] calldata proof, uint256 publicInput) external pure returns (bool) {
        return proof[0] == publicInput;
    }
}

contract VerifierRouterTest is Network {
    function setUp() external {
        _deploy();
    }

    function test_requireValid_validProof_passes() external view {
        router.requireValid(_proofOf(5, 1), 5);
    }

    function test_requireValid_otherInput_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(VerifierRouter.VerifierRouter_ProofRefused.selector, 1, 6));
        router.requireValid(_proofOf(5, 1), 6);
    }

    function test_requireValid_unreducedInput_reverts() external {
        uint256 order = router.SCALAR_ORDER();
        bytes memory proof = _proofOf(order + 5, 1);
        vm.expectRevert(abi.encodeWithSelector(VerifierRouter.VerifierRouter_UnreducedInput.selector, order, order + 5));
        router.requireValid(proof, order + 5);
    }

    function test_requireValid_unknownVersion_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(VerifierRouter.VerifierRouter_UnknownVersion.selector, 2));
        router.requireValid(_proofOf(5, 2), 5);
    }

    function test_requireValid_wrongLength_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(VerifierRouter.VerifierRouter_WrongProofLength.selector, 257, 258));
        router.requireValid(bytes.concat(_proofOf(5, 1), hex"00"), 5);
        vm.expectRevert(abi.encodeWithSelector(VerifierRouter.VerifierRouter_WrongProofLength.selector, 257, 0));
        router.requireValid("", 5);
    }

    function test_requireValid_developmentKeyOffLocalChains_reverts() external {
        vm.chainId(1);
        vm.expectRevert(abi.encodeWithSelector(LocalChains.LocalChains_NotLocal.selector, 1));
        router.requireValid(_proofOf(5, 1), 5);
    }

    function test_constructor_developmentKeyOffLocalChains_reverts() external {
        vm.chainId(11155111);
        CeremonyVerifier ceremony = new CeremonyVerifier();
        vm.expectRevert(abi.encodeWithSelector(LocalChains.LocalChains_NotLocal.selector, 11155111));
        new VerifierRouter(timelock, 0, 1, verifier);
        new VerifierRouter(timelock, 0, 1, ceremony);
    }

    function test_addVerifier_secondVersion_serves() external {
        CeremonyVerifier second = new CeremonyVerifier();
        _govern(address(router), abi.encodeCall(VerifierRouter.addVerifier, (2, second)));
        vm.chainId(1);
        router.requireValid(_proofOf(5, 2), 5);
    }

    function test_addVerifier_versionTaken_reverts() external {
        _refused(
            abi.encodeCall(VerifierRouter.addVerifier, (1, verifier)),
            VerifierRouter.VerifierRouter_VersionTaken.selector
        );
    }

    function test_addVerifier_withoutCode_reverts() external {
        _refused(
            abi.encodeCall(VerifierRouter.addVerifier, (2, IGroth16Verifier(STRANGER))),
            VerifierRouter.VerifierRouter_NoCode.selector
        );
    }

    function test_addVerifier_notByGovernance_reverts() external {
        vm.expectPartialRevert(Governed.Governed_NotGovernance.selector);
        router.addVerifier(2, verifier);
    }

    function test_retireVerifier_endsTheVersionForGood() external {
        _govern(address(router), abi.encodeCall(VerifierRouter.retireVerifier, (1)));
        bytes memory proof = _proofOf(5, 1);
        vm.expectRevert(abi.encodeWithSelector(VerifierRouter.VerifierRouter_RetiredVersion.selector, 1));
        router.requireValid(proof, 5);
        _refused(
            abi.encodeCall(VerifierRouter.addVerifier, (1, verifier)),
            VerifierRouter.VerifierRouter_VersionTaken.selector
        );
    }

    function _refused(bytes memory call, bytes4 reason) private {
        bytes32 salt = keccak256(call);
        timelock.schedule(address(router), 0, call, 0, salt, UPGRADE_DELAY);
        _wait(UPGRADE_DELAY);
        vm.expectPartialRevert(reason);
        timelock.execute(address(router), 0, call, 0, salt);
    }

    function _proofOf(uint256 input, uint8 version) private pure returns (bytes memory) {
        uint256[8] memory points;
        points[0] = input;
        return bytes.concat(bytes1(version), abi.encode(points));
    }
}
