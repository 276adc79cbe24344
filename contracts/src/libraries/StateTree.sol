// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Poseidon2 } from "./Poseidon2.sol";

/// @notice Where a leaf hangs and what proves it.
struct Opening {
    uint32 position;
    bytes32 nextKey; // the following key of the sorted list
    bytes32[] siblings; // from the bottom, up to a node already known
}

/// @title Merkle paths over the state tree: depth 32, Poseidon2 over Goldilocks.
/// @notice Nodes once proven are kept, so that a later path ends at the first of them. The root is the first node known.
library StateTree {
    struct Tree {
        // By heap number: the root is 1, the children of n are 2n and 2n + 1, leaf i is 2^32 + i. Zero: not known.
        mapping(uint256 node => bytes32 digest) known;
    }

    uint256 internal constant DEPTH = 32;
    uint256 private constant TAG_VALUE = 1;
    uint256 private constant TAG_LEAF = 2;
    uint256 private constant LOW_HALVES = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;

    event NodeProven(uint256 indexed node, bytes32 digest);

    error StateTree_LevelOutOfRange(uint256 levelMax, uint256 actual);
    error StateTree_PositionOutOfRange(uint256 positionMax, uint256 actual);
    error StateTree_PathTooLong(uint256 levelsMax, uint256 actual);
    error StateTree_NotCanonical(bytes32 digest);
    error StateTree_NodeUnknown(uint256 node);
    error StateTree_WrongNode(bytes32 expected, bytes32 actual);

    function setRoot(Tree storage tree, bytes32 root) internal {
        _remember(tree, 1, root);
    }

    /// @dev Digest of a leaf, computed from what it holds.
    function leafDigest(bytes32 key, bytes32 nextKey, bytes memory words) internal pure returns (bytes32) {
        uint256 value = uint256(Poseidon2.hashWords(TAG_VALUE, words));
        // The words of a digest go low word first.
        uint256 valueWords = ((value >> 32) & LOW_HALVES) | ((value & LOW_HALVES) << 32);
        return Poseidon2.hashWords(TAG_LEAF, abi.encodePacked(key, nextKey, valueWords));
    }

    /// @dev Shows that the leaf is in the tree. An empty slot cannot pass: its digest is zero and a computed one is not.
    function requireLeaf(Tree storage tree, bytes32 key, bytes memory words, Opening calldata opening) internal view {
        bytes32 leaf = leafDigest(key, opening.nextKey, words);
        _climb(tree, (1 << DEPTH) | opening.position, leaf, opening.siblings);
    }

    /// @dev As `requireLeaf`, and remembers the leaf itself: its next opening needs no siblings.
    function proveLeaf(Tree storage tree, bytes32 key, bytes memory words, Opening calldata opening) internal {
        uint256 node = (1 << DEPTH) | opening.position;
        bytes32 leaf = leafDigest(key, opening.nextKey, words);
        _climb(tree, node, leaf, opening.siblings);
        if (tree.known[node] == 0) _remember(tree, node, leaf);
    }

    /// @param level Height above the leaves.
    function proveNode(Tree storage tree, uint256 level, uint256 index, bytes32 digest, bytes32[] calldata siblings)
        internal
    {
        if (level > DEPTH) revert StateTree_LevelOutOfRange(DEPTH, level);
        if (index >> (DEPTH - level) != 0) revert StateTree_PositionOutOfRange((1 << (DEPTH - level)) - 1, index);
        if (!Poseidon2.isCanonical(digest)) revert StateTree_NotCanonical(digest);
        uint256 node = (1 << (DEPTH - level)) | index;
        _climb(tree, node, digest, siblings);
        _remember(tree, node, digest);
    }

    function _climb(Tree storage tree, uint256 node, bytes32 digest, bytes32[] calldata siblings) private view {
        for (uint256 i = 0; i < siblings.length; ++i) {
            if (node == 1) revert StateTree_PathTooLong(i, siblings.length);
            bytes32 sibling = siblings[i];
            if (!Poseidon2.isCanonical(sibling)) revert StateTree_NotCanonical(sibling);
            digest = node & 1 == 0 ? Poseidon2.compress(digest, sibling) : Poseidon2.compress(sibling, digest);
            node >>= 1;
        }
        bytes32 expected = tree.known[node];
        if (expected == 0) revert StateTree_NodeUnknown(node);
        if (digest != expected) revert StateTree_WrongNode(expected, digest);
    }

    function _remember(Tree storage tree, uint256 node, bytes32 digest) private {
        tree.known[node] = digest;
        emit NodeProven(node, digest);
    }
}
