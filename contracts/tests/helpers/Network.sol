// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";
import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { Bridge } from "../../src/Bridge.sol";
import { DataCommittee } from "../../src/DataCommittee.sol";
import { Escape } from "../../src/Escape.sol";
import { FixedTimelock } from "../../src/FixedTimelock.sol";
import { Rollup } from "../../src/Rollup.sol";
import { Batch, Checkpoint, DataStatement, PriorityRequest, Withdrawal } from "../../src/Types.sol";
import { VerifierRouter } from "../../src/VerifierRouter.sol";
import { Certificates, CompactSignature, EcdsaCertificate } from "../../src/libraries/Certificates.sol";
import { Encodings } from "../../src/libraries/Encodings.sol";
import { WithdrawalTree } from "../../src/libraries/WithdrawalTree.sol";
import { Base } from "./Base.sol";
import { TestVerifier } from "./TestVerifier.sol";

/// @dev Reads a memory list as calldata for the library under test.
contract Accumulator {
    function accumulate(bytes32 acc, Withdrawal[] calldata withdrawals) external pure returns (bytes32, bytes32) {
        return WithdrawalTree.accumulate(acc, withdrawals);
    }
}

/// @title A whole network of contracts, and the honest operator's part in it.
abstract contract Network is Base {
    bytes32 internal constant PROGRAM = bytes32(uint256(0x1234));
    uint64 internal constant L2_CHAIN_ID = 77_001;
    uint64 internal constant QUEUE_EXPIRY = 7 days;
    uint64 internal constant EXIT_WINDOW = 7 days;
    uint64 internal constant LATE_AFTER = 1 days;
    uint64 internal constant PROOF_DEADLINE = 6 hours;
    uint64 internal constant EXECUTION_WINDOW = 1 days;
    uint64 internal constant UPGRADE_DELAY = QUEUE_EXPIRY + EXECUTION_WINDOW + EXIT_WINDOW;
    uint64 internal constant SKEW = 10 minutes;
    uint64 internal constant REMAINING_MIN = 13 days;
    uint64 internal constant STAKE_LOCK = 30 days;
    uint64 internal constant PRESENTATION_WINDOW = 7 days;
    bytes32 internal constant GENESIS_ID = keccak256("genesis");

    address internal constant OPERATOR = address(0x0bea);
    address internal constant SEQUENCER = address(0x5e90);
    address internal constant STRANGER = address(0x57a9);
    address internal constant ALICE = address(0xa11ce);
    address internal constant BOB = address(0xb0b);

    TimelockController internal timelock;
    TestVerifier internal verifier;
    VerifierRouter internal router;
    DataCommittee internal committee;
    Rollup internal rollup;
    Bridge internal bridge;
    Escape internal escape;
    Accumulator internal accumulator;
    IERC20 internal token;

    /// @dev The committee's keys, by rising address.
    uint256[] internal keys;
    /// @dev The last checkpoint that the honest operator has batched.
    Checkpoint internal tip;
    uint64 internal withdrawalCount;

    function _deploy() internal {
        vm.warp(1_800_000_000);
        vm.roll(20_000_000);
        accumulator = new Accumulator();
        _makeKeys(5);
        address[] memory proposers = new address[](1);
        proposers[0] = address(this);
        timelock = new FixedTimelock(UPGRADE_DELAY, proposers, proposers);
        verifier = new TestVerifier();
        router = new VerifierRouter(timelock, UPGRADE_DELAY, 1, verifier);
        address[] memory signers = new address[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            signers[i] = vm.addr(keys[i]);
        }
        committee = new DataCommittee(timelock, UPGRADE_DELAY, REMAINING_MIN, STAKE_LOCK, 1 ether, signers, 2);
        tip.protocolVersion = 1;
        tip.stateRoot = _genesisRoot();
        tip.blockHash = GENESIS_ID;
        tip.timestamp = _now();

        uint64 nonce = vm.getNonce(address(this));
        address bridgeAddress = vm.computeCreateAddress(address(this), nonce + 1);
        address escapeAddress = vm.computeCreateAddress(address(this), nonce + 2);
        rollup = new Rollup(_config(bridgeAddress));
        bridge = new Bridge(token, rollup, escapeAddress);
        escape = new Escape(rollup, bridge, L2_CHAIN_ID, GENESIS_ID, PRESENTATION_WINDOW);
        assertEq(address(bridge), bridgeAddress, "bridge address");
        assertEq(address(escape), escapeAddress, "escape address");
    }

    function _genesisRoot() internal virtual returns (bytes32) {
        return bytes32(uint256(1));
    }

    function _config(address bridgeAddress) internal view returns (Rollup.Config memory) {
        return Rollup.Config({
            l2ChainId: L2_CHAIN_ID,
            genesis: tip,
            program: PROGRAM,
            governance: timelock,
            operator: OPERATOR,
            sequencer: SEQUENCER,
            bridge: bridgeAddress,
            committee: committee,
            router: router,
            delays: Rollup.Delays({
                queueExpiry: QUEUE_EXPIRY,
                exitWindow: EXIT_WINDOW,
                lateAfter: LATE_AFTER,
                proofDeadline: PROOF_DEADLINE,
                executionWindow: EXECUTION_WINDOW,
                timestampSkew: SKEW
            }),
            fees: Rollup.Fees({ request: 1e12, forcedCall: 3e12, doubling: 100, perBlockMax: 8 })
        });
    }

    function _makeKeys(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            keys.push(uint256(keccak256(abi.encode("member", i))));
        }
        for (uint256 i = 1; i < count; ++i) {
            for (uint256 j = i; j > 0 && vm.addr(keys[j]) < vm.addr(keys[j - 1]); --j) {
                (keys[j], keys[j - 1]) = (keys[j - 1], keys[j]);
            }
        }
    }

    // ------------------------------------------------------------------------------------------------- requests

    function _deposit(address from, address to, uint128 amount) internal returns (uint64) {
        uint256 value = rollup.requestFee(Encodings.DEPOSIT) + amount;
        vm.deal(from, from.balance + value);
        vm.prank(from);
        return bridge.deposit{ value: value }(to, amount);
    }

    // -------------------------------------------------------------------------------------------------- batches

    /// @dev A batch that consumes all requests queued and makes the given withdrawals.
    function _nextBatch(bytes32 stateRoot, Withdrawal[] memory withdrawals) internal view returns (Batch memory batch) {
        batch.number = rollup.committedCount() + 1;
        batch.parentCheckpoint = Encodings.checkpointHash(tip);
        batch.dataBytes = 1_000;
        Checkpoint memory next = tip;
        next.protocolVersion = rollup.protocolVersion();
        next.stateRoot = stateRoot;
        next.blockNumber += 1;
        next.blockHash = keccak256(abi.encode(next.blockHash));
        next.timestamp = _now();
        next.priorityCount = rollup.priorityCount();
        next.priorityAcc = rollup.accAt(next.priorityCount);
        (next.messageAcc,) = accumulator.accumulate(next.messageAcc, withdrawals);
        next.dataAcc = keccak256(abi.encode(next.dataAcc));
        batch.checkpoint = next;
    }

    function _nextBatch() internal view returns (Batch memory) {
        return _nextBatch(tip.stateRoot, _none());
    }

    function _none() internal pure returns (Withdrawal[] memory) {
        return new Withdrawal[](0);
    }

    function _withdrawals(uint256 count, uint128 amount) internal returns (Withdrawal[] memory list) {
        list = new Withdrawal[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = Withdrawal(withdrawalCount++, address(uint160(0xfeed0000 + i)), amount);
        }
    }

    function _statement(Batch memory batch) internal view returns (DataStatement memory) {
        return DataStatement(
            batch.number,
            batch.parentCheckpoint,
            Encodings.checkpointHash(batch.checkpoint),
            rollup.revertCount(),
            batch.dataBytes
        );
    }

    function _keyset() internal view returns (address[] memory keyset) {
        keyset = new address[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            keyset[i] = vm.addr(keys[i]);
        }
    }

    /// @dev A certificate of the first `count` members for `batch`, made out to the rollup.
    function _certificate(Batch memory batch, uint256 count) internal view returns (bytes memory) {
        return _encode(_signed(batch, address(rollup), count, _now() + 14 days));
    }

    function _signed(Batch memory batch, address to, uint256 count, uint64 expiry)
        internal
        view
        returns (EcdsaCertificate memory certificate)
    {
        uint32 quorum = uint32(keys.length) - 1;
        certificate.expiry = expiry;
        certificate.quorum = quorum;
        certificate.keyset = _keyset();
        certificate.signatures = new CompactSignature[](count);
        bytes32 keysetHash = Certificates.keysetHash(quorum, certificate.keyset);
        bytes32 digest = Encodings.certificateDigest(_statement(batch), to, expiry, keysetHash);
        for (uint256 i = 0; i < count; ++i) {
            (bytes32 r, bytes32 vs) = vm.signCompact(keys[i], digest);
            certificate.signatures[i] = CompactSignature(r, vs);
        }
    }

    function _encode(EcdsaCertificate memory certificate) internal pure returns (bytes memory) {
        return bytes.concat(bytes1(Certificates.SCHEME_ECDSA), abi.encode(certificate));
    }

    function _proof(bytes32 program, bytes32 from, bytes32 to) internal pure returns (bytes memory) {
        uint256[8] memory points;
        points[0] = Encodings.publicInput(program, L2_CHAIN_ID, from, to);
        return bytes.concat(bytes1(uint8(1)), abi.encode(points));
    }

    function _proof(Batch memory batch) internal pure returns (bytes memory) {
        return _proof(PROGRAM, batch.parentCheckpoint, Encodings.checkpointHash(batch.checkpoint));
    }

    function _commit(Batch memory batch) internal {
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(SEQUENCER);
        rollup.commitBatch(batch, certificate);
        tip = batch.checkpoint;
    }

    /// @dev Commits, proves and executes.
    function _run(Batch memory batch, Withdrawal[] memory withdrawals) internal {
        _commit(batch);
        rollup.proveBatch(batch.number, _proof(batch));
        rollup.executeBatch(batch.number, batch.checkpoint, withdrawals);
    }

    function _settle(Batch memory batch, Withdrawal[] memory withdrawals, address by) internal {
        bytes memory certificate = _certificate(batch, 5);
        bytes memory proof = _proof(batch);
        vm.prank(by);
        rollup.settleBatch(batch, certificate, proof, withdrawals);
        tip = batch.checkpoint;
    }

    /// @dev Proposes a call to the timelock, waits and executes it.
    function _govern(address target, bytes memory call) internal {
        timelock.schedule(target, 0, call, 0, 0, UPGRADE_DELAY);
        _wait(UPGRADE_DELAY);
        timelock.execute(target, 0, call, 0, 0);
    }

    /// @dev Lets a request grow too old and freezes.
    function _freeze() internal {
        _deposit(ALICE, ALICE, 1);
        _wait(QUEUE_EXPIRY + 1);
        rollup.freeze();
    }

    receive() external payable { }
}
