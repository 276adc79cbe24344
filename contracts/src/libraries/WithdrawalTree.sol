// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Withdrawal } from "../Types.sol";
import { Encodings } from "./Encodings.sol";

/// @title The accumulator over withdrawals and the Merkle tree of one batch's.
/// @dev An odd node is paired with 32 zero bytes and a single leaf is its own root. Leaves are hashes of 60 bytes and nodes of 65, so
/// neither passes for the other and a path needs no length check.
library WithdrawalTree {
    error WithdrawalTree_PositionOutOfRange(uint256 positionMax, uint256 actual);

    /// @return acc The accumulator after all withdrawals.
    /// @return root The tree's root; zero if there are none.
    function accumulate(bytes32 acc, Withdrawal[] calldata withdrawals) internal pure returns (bytes32, bytes32 root) {
        uint256 width = withdrawals.length;
        if (width == 0) return (acc, 0);
        bytes32[] memory level = new bytes32[](width);
        for (uint256 i = 0; i < width; ++i) {
            level[i] = Encodings.withdrawalLeaf(withdrawals[i]);
            acc = keccak256(abi.encodePacked(acc, level[i]));
        }
        while (width > 1) {
            for (uint256 i = 0; i < width; i += 2) {
                level[i / 2] = node(level[i], i + 1 < width ? level[i + 1] : bytes32(0));
            }
            width = (width + 1) / 2;
        }
        return (acc, level[0]);
    }

    /// @return The root that `leaf` at `position` reaches with these siblings, from the bottom.
    function climb(bytes32 leaf, uint256 position, bytes32[] calldata siblings) internal pure returns (bytes32) {
        if (siblings.length < 256 && position >> siblings.length != 0) {
            revert WithdrawalTree_PositionOutOfRange((1 << siblings.length) - 1, position);
        }
        for (uint256 height = 0; height < siblings.length; ++height) {
            leaf = (position >> height) & 1 == 0 ? node(leaf, siblings[height]) : node(siblings[height], leaf);
        }
        return leaf;
    }

    function node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), left, right));
    }
}
