// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Checkpoint, DataStatement, PriorityRequest, Withdrawal } from "../Types.sol";

/// @title Every byte string that L1 hashes, as the book's chapter on encodings fixes it.
library Encodings {
    uint8 internal constant DEPOSIT = 1;
    uint8 internal constant FORCED_WITHDRAWAL = 2;
    uint8 internal constant FORCED_CALL = 3;

    bytes32 internal constant CERTIFICATE_TAG = keccak256("Joule data certificate v1");

    /// @dev The hash of nine 32-byte words.
    function checkpointHash(Checkpoint memory checkpoint) internal pure returns (bytes32) {
        return keccak256(abi.encode(checkpoint));
    }

    /// @dev `data` comes last and all before it is of fixed width, so no two requests share an encoding.
    function requestEncoding(PriorityRequest memory request) internal pure returns (bytes memory) {
        return
            abi.encodePacked(request.kind, request.sender, request.to, request.amount, request.timestamp, request.data);
    }

    /// @dev 60 bytes with a tag: never an inner node of the tree, which hashes 65 bytes.
    function withdrawalLeaf(Withdrawal memory withdrawal) internal pure returns (bytes32) {
        return
            keccak256(abi.encodePacked("Joule withdrawal", withdrawal.index, withdrawal.recipient, withdrawal.amount));
    }

    /// @dev The one public input of the wrap, below 2^253 and so below the order of BN254's scalar field.
    function publicInput(bytes32 program, uint64 chainId, bytes32 from, bytes32 to) internal pure returns (uint256) {
        return uint256(sha256(abi.encodePacked(program, chainId, from, to))) & (type(uint256).max >> 3);
    }

    /// @dev Signed as it is: the first word is a domain tag that no transaction and no EIP-712 message shares.
    function certificateDigest(DataStatement memory statement, address rollup, uint64 expiry, bytes32 keysetHash)
        internal
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                CERTIFICATE_TAG,
                block.chainid,
                rollup,
                statement.number,
                statement.parentCheckpoint,
                statement.checkpoint,
                statement.revertCount,
                statement.dataBytes,
                expiry,
                keysetHash
            )
        );
    }
}
