// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Checkpoint, DataStatement, PriorityRequest, Withdrawal } from "../../src/Types.sol";
import { Bn254, G1 } from "../../src/libraries/Bn254.sol";
import { Certificates } from "../../src/libraries/Certificates.sol";
import { Encodings } from "../../src/libraries/Encodings.sol";
import { Account, Channel, Device, Job, Objects } from "../../src/libraries/Objects.sol";
import { Poseidon2 } from "../../src/libraries/Poseidon2.sol";
import { Opening, StateTree } from "../../src/libraries/StateTree.sol";
import { ComputeReceipt, Statements, Voucher } from "../../src/libraries/Statements.sol";
import { WithdrawalTree } from "../../src/libraries/WithdrawalTree.sol";

/// @title The libraries' functions one by one, for the tests that hold them equal to the Rust side. Never part of a network.
contract Probe {
    using StateTree for StateTree.Tree;

    StateTree.Tree private _tree;

    function setRoot(bytes32 root) external {
        _tree.setRoot(root);
    }

    function requireAccount(address owner, Account calldata account, Opening calldata opening) external view {
        _tree.requireLeaf(Objects.key(Objects.KIND_ACCOUNT, owner, 0), Objects.words(account), opening);
    }

    function compress(bytes32 left, bytes32 right) external pure returns (bytes32) {
        return Poseidon2.compress(left, right);
    }

    function hashWords(uint256 tag, bytes calldata words) external pure returns (bytes32) {
        return Poseidon2.hashWords(tag, words);
    }

    function isCanonical(bytes32 digest) external pure returns (bool) {
        return Poseidon2.isCanonical(digest);
    }

    function accountLeaf(address owner, bytes32 nextKey, Account calldata account) external pure returns (bytes32) {
        return StateTree.leafDigest(Objects.key(Objects.KIND_ACCOUNT, owner, 0), nextKey, Objects.words(account));
    }

    function deviceLeaf(address key, bytes32 nextKey, Device calldata device) external pure returns (bytes32) {
        return StateTree.leafDigest(Objects.key(Objects.KIND_DEVICE, key, 0), nextKey, Objects.words(device));
    }

    function jobLeaf(address client, uint64 nonce, bytes32 nextKey, Job calldata job) external pure returns (bytes32) {
        return StateTree.leafDigest(Objects.key(Objects.KIND_JOB, client, nonce), nextKey, Objects.words(job));
    }

    function channelLeaf(address client, uint64 nonce, bytes32 nextKey, Channel calldata channel)
        external
        pure
        returns (bytes32)
    {
        return StateTree.leafDigest(Objects.key(Objects.KIND_CHANNEL, client, nonce), nextKey, Objects.words(channel));
    }

    function publicInput(bytes32 program, uint64 chainId, bytes32 from, bytes32 to) external pure returns (uint256) {
        return Encodings.publicInput(program, chainId, from, to);
    }

    function checkpointHash(Checkpoint calldata checkpoint) external pure returns (bytes32) {
        return Encodings.checkpointHash(checkpoint);
    }

    function requestEncoding(PriorityRequest calldata request) external pure returns (bytes memory) {
        return Encodings.requestEncoding(request);
    }

    function accumulate(bytes32 acc, Withdrawal[] calldata withdrawals) external pure returns (bytes32, bytes32) {
        return WithdrawalTree.accumulate(acc, withdrawals);
    }

    function climb(Withdrawal calldata withdrawal, uint256 position, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return WithdrawalTree.climb(Encodings.withdrawalLeaf(withdrawal), position, siblings);
    }

    function certificateDigest(DataStatement calldata statement, address rollup, uint64 expiry, bytes32 keysetHash)
        external
        view
        returns (bytes32)
    {
        return Encodings.certificateDigest(statement, rollup, expiry, keysetHash);
    }

    function ecdsaKeyset(uint32 quorum, address[] calldata keyset) external pure returns (bytes32) {
        return Certificates.keysetHash(quorum, keyset);
    }

    function blsKeyset(uint32 quorum, G1[] calldata keyset) external pure returns (bytes32) {
        return Certificates.keysetHash(quorum, keyset);
    }

    function hashToG1(bytes32 tag, bytes32 digest) external view returns (G1 memory) {
        return Bn254.hashToG1(tag, digest);
    }

    function receiptDigest(uint64 chainId, bytes32 genesisId, ComputeReceipt calldata receipt)
        external
        pure
        returns (bytes32)
    {
        return Statements.digest(receipt, Statements.domainSeparator(chainId, Statements.JOBS, genesisId));
    }

    function voucherDigest(uint64 chainId, bytes32 genesisId, Voucher calldata voucher)
        external
        pure
        returns (bytes32)
    {
        return Statements.digest(voucher, Statements.domainSeparator(chainId, Statements.CHANNELS, genesisId));
    }
}
