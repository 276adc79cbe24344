// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A worker's signed statement of what it ran.
struct ComputeReceipt {
    address client;
    uint64 clientNonce;
    address device;
    bytes32 model;
    bytes32 runtime;
    bytes32 inputHash;
    bytes32 outputHash;
    uint64 units;
    uint128 unitPrice;
    uint64 startedAt;
    uint64 finishedAt;
    uint8 tier;
    bytes32 evidence;
}

/// @notice The client's word that the payee may have `cumulative` in total.
struct Voucher {
    address client;
    uint64 clientNonce;
    address payee;
    uint128 cumulative;
}

/// @title EIP-712 digests of what workers and clients sign for L2, with L2's chain id and the genesis id as salt.
library Statements {
    bytes32 internal constant DOMAIN_TYPE_HASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)");
    bytes32 internal constant RECEIPT_TYPE_HASH = keccak256(
        "ComputeReceipt(address client,uint64 clientNonce,address device,bytes32 model,bytes32 runtime,bytes32 inputHash,bytes32 outputHash,uint64 units,uint128 unitPrice,uint64 startedAt,uint64 finishedAt,uint8 tier,bytes32 evidence)"
    );
    bytes32 internal constant VOUCHER_TYPE_HASH =
        keccak256("Voucher(address client,uint64 clientNonce,address payee,uint128 cumulative)");

    /// @notice The L2 system contracts that the two statements are made out to.
    address internal constant JOBS = address(0x8001);
    address internal constant CHANNELS = address(0x8003);

    function domainSeparator(uint64 l2ChainId, address systemContract, bytes32 genesisId)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                DOMAIN_TYPE_HASH, keccak256("Joule"), keccak256("1"), uint256(l2ChainId), systemContract, genesisId
            )
        );
    }

    /// @dev The structs hold static members only, so their ABI encoding is EIP-712's.
    function digest(ComputeReceipt memory receipt, bytes32 separator) internal pure returns (bytes32) {
        return _digest(separator, keccak256(bytes.concat(RECEIPT_TYPE_HASH, abi.encode(receipt))));
    }

    function digest(Voucher memory voucher, bytes32 separator) internal pure returns (bytes32) {
        return _digest(separator, keccak256(bytes.concat(VOUCHER_TYPE_HASH, abi.encode(voucher))));
    }

    function _digest(bytes32 separator, bytes32 structHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }
}
