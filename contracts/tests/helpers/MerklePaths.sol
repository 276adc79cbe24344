// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Withdrawal } from "../../src/Types.sol";
import { Encodings } from "../../src/libraries/Encodings.sol";

/// @title Paths in a batch's tree of withdrawals, as a wallet would compute them.
library MerklePaths {
    function siblings(Withdrawal[] memory list, uint256 position) internal pure returns (bytes32[] memory path) {
        bytes32[] memory level = new bytes32[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            level[i] = Encodings.withdrawalLeaf(list[i]);
        }
        uint256 height = 0;
        while ((1 << height) < list.length) ++height;
        path = new bytes32[](height);
        for (uint256 h = 0; h < height; ++h) {
            uint256 sibling = position ^ 1;
            path[h] = sibling < level.length ? level[sibling] : bytes32(0);
            bytes32[] memory above = new bytes32[]((level.length + 1) / 2);
            for (uint256 i = 0; i < above.length; ++i) {
                bytes32 right = 2 * i + 1 < level.length ? level[2 * i + 1] : bytes32(0);
                above[i] = keccak256(bytes.concat(hex"01", level[2 * i], right));
            }
            (level, position) = (above, position / 2);
        }
    }
}
