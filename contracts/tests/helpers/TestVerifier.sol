// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IGroth16Verifier } from "../../src/interfaces/IGroth16Verifier.sol";
import { IVerifyingKey } from "../../src/interfaces/IVerifyingKey.sol";

/// @title Accepts the public input itself as its proof. For tests alone: the router lets such a verifier in on local chains only.
contract TestVerifier is IGroth16Verifier, IVerifyingKey {
    /// @inheritdoc IVerifyingKey
    bool public constant IS_DEVELOPMENT_KEY = true;

    /// @inheritdoc IGroth16Verifier
    function verifyProof(uint256[8] calldata proof, uint256 publicInput) external pure returns (bool) {
        return proof[0] == publicInput;
    }
}
