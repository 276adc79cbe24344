// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { DataCommittee } from "../src/DataCommittee.sol";
import { Escape } from "../src/Escape.sol";
import { Rollup } from "../src/Rollup.sol";
import { Bridge } from "../src/Bridge.sol";
import { Batch, DataStatement, Withdrawal } from "../src/Types.sol";
import { CompactSignature, Certificates, EcdsaCertificate } from "../src/libraries/Certificates.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { Opening } from "../src/libraries/StateTree.sol";
import { BlsNetwork } from "./helpers/BlsNetwork.sol";
import { FrozenNetwork } from "./helpers/FrozenNetwork.sol";
import { MerklePaths } from "./helpers/MerklePaths.sol";

/// @title What users and operator pay, into snapshots/gas.json: whole transactions, with 21,000, calldata and its floor price (EIP-7623), from
/// cold storage. The proof's own cost is the verifier's, measured with the generated one; the test verifier here costs nearly nothing.
contract GasTest is BlsNetwork, FrozenNetwork {
    function setUp() external {
        _deployFrozen();
    }

    function test_gas_deposit() external {
        _fresh();
        _deposit(ALICE, ALICE, 1 ether);
        vm.deal(ALICE, 10 ether);
        _measure("deposit", ALICE, address(bridge), abi.encodeCall(Bridge.deposit, (BOB, 1 ether)), 2 ether);
        uint256 fee = rollup.requestFee(Encodings.FORCED_WITHDRAWAL);
        bytes memory call = abi.encodeCall(Rollup.requestWithdrawal, (BOB, 1 ether));
        _measure("forced withdrawal", ALICE, address(rollup), call, fee);
        fee = rollup.requestFee(Encodings.FORCED_CALL);
        bytes memory data = new bytes(612);
        for (uint256 i = 0; i < data.length; ++i) {
            data[i] = bytes1(uint8(i | 1));
        }
        call = abi.encodeCall(Rollup.requestCall, (address(0x8001), 0, data));
        _measure("forced call of 612 bytes", ALICE, address(rollup), call, fee);
    }

    function test_gas_settle() external {
        _fresh();
        _settle(_nextBatch(), _none(), SEQUENCER);
        for (uint256 count = 0; count <= 16; count = count == 0 ? 1 : count * 16) {
            _deposit(ALICE, ALICE, 1 ether);
            Withdrawal[] memory list = _withdrawals(count, 1);
            Batch memory batch = _nextBatch(tip.stateRoot, list);
            bytes memory call =
                abi.encodeCall(Rollup.settleBatch, (batch, _certificate(batch, 5), _realistic(_proof(batch)), list));
            string memory name = string.concat("settle without the proof, withdrawals ", vm.toString(count));
            _measure(name, SEQUENCER, address(rollup), call, 0);
            tip = batch.checkpoint;
        }
    }

    function test_gas_commitProveExecute() external {
        _fresh();
        _settle(_nextBatch(), _none(), SEQUENCER);
        _deposit(ALICE, ALICE, 1 ether);
        Batch memory batch = _nextBatch();
        bytes memory call = abi.encodeCall(Rollup.commitBatch, (batch, _certificate(batch, 5)));
        _measure("commit", SEQUENCER, address(rollup), call, 0);
        call = abi.encodeCall(Rollup.proveBatch, (batch.number, _realistic(_proof(batch))));
        _measure("prove without the proof", STRANGER, address(rollup), call, 0);
        call = abi.encodeCall(Rollup.executeBatch, (batch.number, batch.checkpoint, _none()));
        _measure("execute", STRANGER, address(rollup), call, 0);
    }

    function test_gas_postData() external {
        _fresh();
        bytes memory chunk = new bytes(100_000);
        for (uint256 i = 0; i < chunk.length; ++i) {
            chunk[i] = bytes1(uint8(i | 1));
        }
        bytes memory chunks = bytes.concat(bytes4(uint32(chunk.length)), chunk);
        bytes memory call = abi.encodeCall(Rollup.postData, (0, 0, chunks));
        vm.cool(address(rollup));
        vm.prank(STRANGER, STRANGER);
        (bool done,) = address(rollup).call(call);
        assertTrue(done, "posted");
        _snapshot("posting 100,000 bytes of data", call);
    }

    function test_gas_claim() external {
        _fresh();
        _deposit(ALICE, ALICE, 300 ether);
        Withdrawal[] memory list = _withdrawals(256, 1 ether);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
        bridge.claim(1, list[1], 1, MerklePaths.siblings(list, 1));
        bytes memory call = abi.encodeCall(Bridge.claim, (1, list[0], 0, MerklePaths.siblings(list, 0)));
        _measure("claim, path of 8", STRANGER, address(bridge), call, 0);
    }

    function test_gas_certificates() external {
        _fresh();
        _certificates(committee, 5);
        delete keys;
        _makeKeys(16);
        address[] memory signers = _keyset();
        DataCommittee larger =
            new DataCommittee(timelock, UPGRADE_DELAY, REMAINING_MIN, STAKE_LOCK, 1 ether, signers, 2);
        _certificates(larger, 16);
    }

    function test_gas_escape() external {
        escape.openEscape(tip);
        // Those who leave have been on L1 before: a payment to an address that never was costs 25,000 more.
        vm.deal(alice, 1);
        vm.deal(BOB, 1);
        Opening memory opening = _opening(AT_ALICE);
        bytes memory call = abi.encodeCall(Escape.escapeAccount, (alice, aliceAccount, opening));
        _measure("escape of an account, cold (path of 32)", STRANGER, address(escape), call, 0);
        bytes32 digest = tree.node(8, 0);
        call = abi.encodeCall(Escape.proveNode, (8, 0, digest, tree.siblings(8, 0, 32)));
        _measure("proveNode, 8 above the leaves (path of 24)", STRANGER, address(escape), call, 0);
        opening = _opening(AT_BOB, 8);
        call = abi.encodeCall(Escape.escapeAccount, (BOB, bobAccount, opening));
        _measure("escape of an account, warm (path of 8)", STRANGER, address(escape), call, 0);
        call = abi.encodeCall(Escape.refundDeposit, (1, waiting));
        _measure("refund of a deposit", STRANGER, address(escape), call, 0);
        bytes memory signature = _sign(_receipt(30), DEVICE_KEY);
        call = abi.encodeCall(
            Escape.presentReceipt, (job, _opening(AT_JOB, 8), device, _opening(AT_DEVICE, 8), _receipt(30), signature)
        );
        _measure("presenting a receipt, warm (paths of 8)", STRANGER, address(escape), call, 0);
    }

    function _certificates(DataCommittee to, uint256 size) private {
        DataStatement memory statement = DataStatement(1, keccak256("x"), keccak256("y"), 0, 100_000);
        _seatBls(to, 2);
        for (uint256 missing = 0; missing < 2; ++missing) {
            uint256 count = size - missing;
            string memory suffix =
                string.concat(", ", vm.toString(count), " of ", vm.toString(size), " (the call alone)");
            uint64 expiry = _now() + 14 days;
            EcdsaCertificate memory ecdsa;
            ecdsa.expiry = expiry;
            ecdsa.quorum = uint32(size) - 1;
            ecdsa.keyset = _keyset();
            bytes32 keysetHash = Certificates.keysetHash(ecdsa.quorum, ecdsa.keyset);
            bytes32 digest = Encodings.certificateDigest(statement, address(rollup), expiry, keysetHash);
            ecdsa.signatures = new CompactSignature[](count);
            for (uint256 i = 0; i < count; ++i) {
                (bytes32 r, bytes32 vs) = vm.signCompact(keys[i], digest);
                ecdsa.signatures[i] = CompactSignature(r, vs);
            }
            _measureCertificate(string.concat("certificate ECDSA", suffix), to, statement, _encode(ecdsa));
            bytes memory bls = _encode(_blsSigned(statement, address(rollup), size, count, expiry));
            _measureCertificate(string.concat("certificate BLS", suffix), to, statement, bls);
        }
    }

    /// @dev Its calldata and execution, without the transaction around it.
    function _measureCertificate(
        string memory name,
        DataCommittee to,
        DataStatement memory statement,
        bytes memory certificate
    ) private {
        vm.cool(address(to));
        vm.prank(address(rollup));
        to.requireCertified(statement, certificate);
        (uint256 zeros, uint256 others) = _count(certificate);
        uint256 used = vm.lastCallGas().gasTotalUsed + 4 * zeros + 16 * others;
        vm.snapshotValue("gas", name, used);
    }

    function _measure(string memory name, address from, address to, bytes memory call, uint256 value) private {
        vm.deal(from, value + 1 ether);
        vm.cool(address(rollup));
        vm.cool(address(bridge));
        vm.cool(address(escape));
        vm.cool(address(committee));
        vm.cool(address(router));
        vm.prank(from);
        (bool done,) = to.call{ value: value }(call);
        assertTrue(done, name);
        _snapshot(name, call);
    }

    /// @dev The last call as a transaction of its own.
    function _snapshot(string memory name, bytes memory call) private {
        (uint256 zeros, uint256 others) = _count(call);
        uint256 used = vm.lastCallGas().gasTotalUsed + 21_000 + 4 * zeros + 16 * others;
        uint256 floor = 21_000 + 10 * zeros + 40 * others;
        vm.snapshotValue("gas", name, used > floor ? used : floor);
    }

    function _count(bytes memory data) private pure returns (uint256 zeros, uint256 others) {
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] == 0) ++zeros;
        }
        others = data.length - zeros;
    }

    /// @dev A real proof has no zero bytes to speak of.
    function _realistic(bytes memory proof) private pure returns (bytes memory) {
        for (uint256 i = 33; i < proof.length; ++i) {
            proof[i] = bytes1(uint8(i | 1));
        }
        return proof;
    }

    /// @dev A network that is not frozen.
    function _fresh() private {
        delete keys;
        delete tip;
        _deploy();
    }
}
