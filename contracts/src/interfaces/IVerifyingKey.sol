// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What a generated verifier says of the key in its code.
interface IVerifyingKey {
    /// @notice Whether the key is for development: made by one party, who could forge proofs.
    // solhint-disable-next-line func-name-mixedcase
    function IS_DEVELOPMENT_KEY() external view returns (bool);
}
