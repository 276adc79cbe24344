// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Chain ids on which nobody's money is: where development keys and small committees are let in.
library LocalChains {
    error LocalChains_NotLocal(uint256 chainId);

    /// @dev 1337 and 31337 are what ganache, geth --dev, hardhat, anvil and the embedded L1 call themselves.
    function isLocal() internal view returns (bool) {
        return block.chainid == 1337 || block.chainid == 31337;
    }

    function requireLocal() internal view {
        if (!isLocal()) revert LocalChains_NotLocal(block.chainid);
    }
}
