// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon2} from "../src/libraries/Poseidon2.sol";
import {Base} from "./helpers/Base.sol";

contract Hasher {
    function compress(bytes32 l, bytes32 r) external pure returns (bytes32) { return Poseidon2.compress(l, r); }
    function hashWords(uint256 tag, bytes calldata words) external pure returns (bytes32) { return Poseidon2.hashWords(tag, words); }
}

contract Poseidon2Test is Base {
    function test_compress_gas() external {
        Hasher h = new Hasher();
        bytes32 x = h.compress(bytes32(uint256(1)), bytes32(uint256(2)));
        vm.snapshotGasLastCall("poseidon2", "compress");
        h.hashWords(1, abi.encode(x, x, x));
        vm.snapshotGasLastCall("poseidon2", "hashWords24");
        vm.snapshotValue("poseidon2", "size", address(h).code.length);
    }
}
