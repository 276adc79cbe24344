// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { PriorityRequest } from "../../src/Types.sol";
import { Encodings } from "../../src/libraries/Encodings.sol";
import { Account, Channel, Device, Job, Objects } from "../../src/libraries/Objects.sol";
import { Opening } from "../../src/libraries/StateTree.sol";
import { ComputeReceipt, Statements, Voucher } from "../../src/libraries/Statements.sol";
import { Network } from "./Network.sol";
import { SmallTree } from "./SmallTree.sol";

/// @title A network with one object of each kind, frozen while a deposit waits.
/// @dev Alice has an account, a job (claimed) and a channel; Bob has an account, owns the device and takes the channel's payments.
abstract contract FrozenNetwork is Network {
    uint256 internal constant ALICE_KEY = 0xa11ce;
    uint256 internal constant DEVICE_KEY = 0xdef1ce;
    address internal constant PAYOUT = address(0x9a40);
    uint256 internal constant AT_ALICE = 2;
    uint256 internal constant AT_BOB = 3;
    uint256 internal constant AT_DEVICE = 4;
    uint256 internal constant AT_JOB = 5;
    uint256 internal constant AT_CHANNEL = 6;
    uint256 internal constant AT_OPEN_JOB = 7;
    uint128 internal constant WAITING = 3 ether;

    SmallTree internal tree;
    address internal alice;
    address internal deviceAddress;
    Account internal aliceAccount;
    Account internal bobAccount;
    Device internal device;
    Job internal job;
    Job internal openJob;
    Channel internal channel;
    PriorityRequest internal waiting;

    function _deployFrozen() internal {
        _deploy();
        tree = new SmallTree();
        alice = vm.addr(ALICE_KEY);
        deviceAddress = vm.addr(DEVICE_KEY);
        aliceAccount = Account(5, 10 ether);
        bobAccount = Account(1, 20 ether);
        device = Device(BOB, PAYOUT, 4 ether, 1 ether, 3, 0, 0, 0, 1);
        job.status = Objects.JOB_CLAIMED;
        job.device = deviceAddress;
        job.model = keccak256("model");
        job.inputHash = keccak256("input");
        job.unitPrice = 0.01 ether;
        job.unitLimit = 100;
        job.escrow = 1 ether;
        job.bond = 1 ether;
        job.deadline = _now() + 30 days;
        openJob = job;
        openJob.status = Objects.JOB_OPEN;
        openJob.device = address(0);
        channel = Channel(BOB, 6 ether, 1 ether, 0, 1);

        tree.set(0, 0, "");
        tree.set(AT_ALICE, Objects.key(Objects.KIND_ACCOUNT, alice, 0), Objects.words(aliceAccount));
        tree.set(AT_BOB, Objects.key(Objects.KIND_ACCOUNT, BOB, 0), Objects.words(bobAccount));
        tree.set(AT_DEVICE, Objects.key(Objects.KIND_DEVICE, deviceAddress, 0), Objects.words(device));
        tree.set(AT_JOB, Objects.key(Objects.KIND_JOB, alice, 1), Objects.words(job));
        tree.set(AT_OPEN_JOB, Objects.key(Objects.KIND_JOB, alice, 3), Objects.words(openJob));
        tree.set(AT_CHANNEL, Objects.key(Objects.KIND_CHANNEL, alice, 2), Objects.words(channel));

        // 10 + 20 accounts, 4 stake, 1 + 1 escrow, 5 in the channel.
        _deposit(alice, alice, 41 ether);
        _settle(_nextBatch(tree.root(), _none()), _none(), SEQUENCER);
        waiting = PriorityRequest(Encodings.DEPOSIT, alice, BOB, WAITING, _now(), "");
        _deposit(alice, BOB, WAITING);
        _wait(QUEUE_EXPIRY + 1);
        rollup.freeze();
    }

    function _opening(uint256 position) internal view returns (Opening memory) {
        return _opening(position, 32);
    }

    function _opening(uint256 position, uint256 top) internal view returns (Opening memory) {
        return Opening(uint32(position), tree.nextKey(position), tree.siblings(0, position, top));
    }

    function _receipt(uint64 units) internal view returns (ComputeReceipt memory receipt) {
        receipt.client = alice;
        receipt.clientNonce = 1;
        receipt.device = deviceAddress;
        receipt.model = job.model;
        receipt.inputHash = job.inputHash;
        receipt.units = units;
        receipt.unitPrice = job.unitPrice;
        receipt.startedAt = _now() - 20;
        receipt.finishedAt = _now() - 10;
    }

    function _sign(ComputeReceipt memory receipt, uint256 key) internal pure returns (bytes memory) {
        bytes32 domain = Statements.domainSeparator(L2_CHAIN_ID, Statements.JOBS, GENESIS_ID);
        return _signature(key, Statements.digest(receipt, domain));
    }

    function _sign(Voucher memory voucher, uint256 key) internal pure returns (bytes memory) {
        bytes32 domain = Statements.domainSeparator(L2_CHAIN_ID, Statements.CHANNELS, GENESIS_ID);
        return _signature(key, Statements.digest(voucher, domain));
    }

    function _signature(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _present(ComputeReceipt memory receipt) internal {
        bytes memory signature = _sign(receipt, DEVICE_KEY);
        Opening memory jobOpening = _opening(AT_JOB);
        Opening memory deviceOpening = _opening(AT_DEVICE);
        escape.presentReceipt(job, jobOpening, device, deviceOpening, receipt, signature);
    }

    function _present(uint128 cumulative) internal {
        Voucher memory voucher = Voucher(alice, 2, BOB, cumulative);
        bytes memory signature = _sign(voucher, ALICE_KEY);
        Opening memory opening = _opening(AT_CHANNEL);
        escape.presentVoucher(channel, opening, voucher, signature);
    }
}
