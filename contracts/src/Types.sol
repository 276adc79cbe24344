// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A point of the chain's history. L1 stores the hash of the last executed one; proofs lead from one to another.
struct Checkpoint {
    uint32 protocolVersion; // rules that led here
    bytes32 stateRoot; // root of the state tree
    uint64 blockNumber; // last block
    bytes32 blockHash; // its hash
    uint64 timestamp; // its time, unix seconds
    uint64 priorityCount; // priority requests consumed
    bytes32 priorityAcc; // accumulator over them
    bytes32 messageAcc; // accumulator over withdrawals
    bytes32 dataAcc; // accumulator over batch data
}

/// @notice What is settled at once. The header that the committee signs is this with the checkpoint's hash in its place.
struct Batch {
    uint64 number; // from 1
    bytes32 parentCheckpoint; // hash of the checkpoint it starts from
    Checkpoint checkpoint; // where it leads
    uint64 dataBytes; // length of its data over all chunks
}

/// @notice A request that L1 puts into L2.
struct PriorityRequest {
    uint8 kind; // 1 deposit, 2 forced withdrawal, 3 forced call
    address sender; // the L1 caller
    address to; // credited account, L1 recipient or system contract
    uint128 amount; // deposited, withdrawn or sent with the call
    uint64 timestamp; // time of the L1 block
    bytes data; // calldata of a forced call
}

/// @notice A payment from L2 to L1.
struct Withdrawal {
    uint64 index; // counts withdrawals from 0 and never repeats
    address recipient;
    uint128 amount;
}

/// @notice What a data certificate is about. L1's chain id, the rollup and the keyset complete the signed digest.
struct DataStatement {
    uint64 number;
    bytes32 parentCheckpoint;
    bytes32 checkpoint;
    uint64 revertCount;
    uint64 dataBytes;
}
