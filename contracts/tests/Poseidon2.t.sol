// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Poseidon2 } from "../src/libraries/Poseidon2.sol";
import { Base } from "./helpers/Base.sol";

/// @title What forge can say of the permutation alone. The Rust tests compare it with the proving system's on random inputs.
contract Poseidon2Test is Base {
    uint256 private constant P = 0xffffffff00000001;

    function testFuzz_isCanonical_agreesWithTheDefinition(uint64[4] calldata words, uint8 nearly) external pure {
        uint256 packed = 0;
        bool expected = true;
        for (uint256 i = 0; i < 4; ++i) {
            uint256 word = words[i];
            // Random words are never near p, so some are put there.
            if ((nearly >> i) & 1 == 1) word = P - 2 + word % 5;
            if ((nearly >> (i + 4)) & 1 == 1) word = type(uint64).max - word % 3;
            if (word >= P) expected = false;
            packed = (packed << 64) | word;
        }
        assertTrue(Poseidon2.isCanonical(bytes32(packed)) == expected, "canonical");
    }

    function testFuzz_permute_outputsAreCanonical(uint256 front, uint256 back) external pure {
        (uint256 a, uint256 b) = Poseidon2.permute(front, back);
        assertTrue(Poseidon2.isCanonical(bytes32(a)) && Poseidon2.isCanonical(bytes32(b)), "canonical");
    }

    function testFuzz_hashWords_lengthAndTagMatter(bytes32 words) external pure {
        bytes32 four = Poseidon2.hashWords(1, abi.encodePacked(uint128(uint256(words))));
        bytes32 padded = Poseidon2.hashWords(1, abi.encodePacked(uint128(uint256(words)), uint128(0)));
        bytes32 otherTag = Poseidon2.hashWords(2, abi.encodePacked(uint128(uint256(words))));
        assertTrue(four != padded && four != otherTag, "injective");
    }
}
