// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Poseidon2 } from "../../src/libraries/Poseidon2.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";

/// @title A state tree of depth 32 with leaves at positions 0 to 7 and empty slots beyond.
contract SmallTree {
    bytes32[8] private _leaves;

    function set(uint256 position, bytes32 key, bytes memory words) external {
        _leaves[position] = StateTree.leafDigest(key, nextKey(position), words);
    }

    function nextKey(uint256 position) public pure returns (bytes32) {
        return keccak256(abi.encode("next key", position));
    }

    function root() external view returns (bytes32) {
        return node(32, 0);
    }

    function node(uint256 level, uint256 index) public view returns (bytes32) {
        if (level == 0) return index < 8 ? _leaves[index] : bytes32(0);
        if (index << level >= 8) return _empty(level);
        return Poseidon2.compress(node(level - 1, 2 * index), node(level - 1, 2 * index + 1));
    }

    /// @return list Siblings of node (level, index) up to a node at height `top`.
    function siblings(uint256 level, uint256 index, uint256 top) external view returns (bytes32[] memory list) {
        list = new bytes32[](top - level);
        for (uint256 i = 0; i < list.length; ++i) {
            list[i] = node(level + i, (index >> i) ^ 1);
        }
    }

    function _empty(uint256 level) private pure returns (bytes32 digest) {
        for (uint256 i = 0; i < level; ++i) {
            digest = Poseidon2.compress(digest, digest);
        }
    }
}
