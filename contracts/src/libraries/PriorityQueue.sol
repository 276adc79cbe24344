// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { PriorityRequest } from "../Types.sol";
import { Encodings } from "./Encodings.sol";

/// @title The queue of requests that L1 puts into L2.
/// @notice Keeps the rolling accumulator after each request, so that a batch may consume any number of them, and each request's time,
/// four to a word. Requests themselves are in calldata and events; whoever needs one later brings it and is checked against `accAt`.
library PriorityQueue {
    struct Queue {
        mapping(uint64 count => bytes32) accAt;
        mapping(uint64 index => uint256) timesOf4;
        uint64 total; // requests ever made
        uint64 executed; // requests that executed batches consumed
        uint64 lastBlock; // L1 block of the last request
        uint32 inLastBlock; // requests in that block
    }

    uint256 internal constant DATA_BYTES_MAX = 1_024;
    uint128 internal constant AMOUNT_LIMIT = 1 << 120;

    error PriorityQueue_DataTooLong(uint256 bytesMax, uint256 actual);
    error PriorityQueue_AmountTooLarge(uint128 limit, uint128 actual);
    error PriorityQueue_BlockFull(uint32 requestsMax, uint64 blockNumber);
    error PriorityQueue_NotTheRequest(bytes32 expected, bytes32 actual);
    error PriorityQueue_NoSuchRequest(uint64 total, uint64 index);

    function push(Queue storage queue, PriorityRequest memory request, uint32 perBlockMax)
        internal
        returns (uint64 index, bytes32 acc)
    {
        if (request.data.length > DATA_BYTES_MAX) {
            revert PriorityQueue_DataTooLong(DATA_BYTES_MAX, request.data.length);
        }
        if (request.amount >= AMOUNT_LIMIT) revert PriorityQueue_AmountTooLarge(AMOUNT_LIMIT, request.amount);
        uint32 inBlock = queue.lastBlock == block.number ? queue.inLastBlock : 0;
        if (inBlock >= perBlockMax) revert PriorityQueue_BlockFull(perBlockMax, uint64(block.number));

        index = queue.total;
        acc = next(queue.accAt[index], request);
        queue.accAt[index + 1] = acc;
        queue.timesOf4[index / 4] |= uint256(request.timestamp) << (64 * (index % 4));
        queue.total = index + 1;
        queue.lastBlock = uint64(block.number);
        queue.inLastBlock = inBlock + 1;
    }

    /// @dev Proves that `request` is the one at `index`.
    function check(Queue storage queue, uint64 index, PriorityRequest memory request) internal view {
        if (index >= queue.total) revert PriorityQueue_NoSuchRequest(queue.total, index);
        bytes32 expected = queue.accAt[index + 1];
        bytes32 actual = next(queue.accAt[index], request);
        if (actual != expected) revert PriorityQueue_NotTheRequest(expected, actual);
    }

    function pending(Queue storage queue) internal view returns (uint64) {
        return queue.total - queue.executed;
    }

    /// @return Time of the oldest request that no executed batch consumed; the end of time if there is none.
    function oldest(Queue storage queue) internal view returns (uint64) {
        uint64 index = queue.executed;
        if (index == queue.total) return type(uint64).max;
        return uint64(queue.timesOf4[index / 4] >> (64 * (index % 4)));
    }

    function next(bytes32 acc, PriorityRequest memory request) private pure returns (bytes32) {
        return keccak256(bytes.concat(acc, Encodings.requestEncoding(request)));
    }
}
