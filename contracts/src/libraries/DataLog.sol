// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Batch data put on L1 instead of with the committee, over as many transactions as it takes.
/// @notice Keyed by the accumulators at both ends. An accumulator determines all that went into it, so a stretch that was posted was
/// posted truthfully, whoever did it, and nobody can spoil another's.
library DataLog {
    struct Log {
        mapping(bytes32 startAndEnd => uint64) bytesPosted;
    }

    error DataLog_NotDirect(address origin, address sender);
    error DataLog_NotReached(bytes32 start, bytes32 from);
    error DataLog_Truncated(uint256 expected, uint256 actual);
    error DataLog_Empty();

    function post(Log storage log, bytes32 start, bytes32 from, bytes calldata chunks)
        internal
        returns (bytes32 acc, uint64 total)
    {
        // The data must be the transaction's own input, where anyone can read it without re-executing the block.
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert DataLog_NotDirect(tx.origin, msg.sender);
        if (chunks.length == 0) revert DataLog_Empty();
        if (from != start) {
            total = posted(log, start, from);
            if (total == 0) revert DataLog_NotReached(start, from);
        }
        acc = from;
        uint256 offset = 0;
        while (offset < chunks.length) {
            if (chunks.length - offset < 4) revert DataLog_Truncated(4, chunks.length - offset);
            uint256 length = uint32(bytes4(chunks[offset:offset + 4]));
            offset += 4;
            if (length == 0) revert DataLog_Empty();
            if (chunks.length - offset < length) revert DataLog_Truncated(length, chunks.length - offset);
            acc = keccak256(bytes.concat(acc, chunks[offset:offset + length]));
            offset += length;
            total += uint64(length);
        }
        log.bytesPosted[keccak256(abi.encodePacked(start, acc))] = total;
    }

    function posted(Log storage log, bytes32 start, bytes32 end) internal view returns (uint64) {
        return log.bytesPosted[keccak256(abi.encodePacked(start, end))];
    }
}
