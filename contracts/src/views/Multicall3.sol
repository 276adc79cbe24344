// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Many calls as one `eth_call`, behind the interface that clients know as Multicall3.
/// @notice L2 has no contracts but its own. Nodes run this code, at 0xcA11bde05977b3631167028862bE2a173976CA11, in `eth_call` and
/// nowhere else: no transaction can call it. It keeps no state and trusts nobody with anything.
contract Multicall3 {
    struct Call {
        address target;
        bytes callData;
    }

    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Call3Value {
        address target;
        bool allowFailure;
        uint256 value;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    /// @notice A call failed whose failure was not allowed.
    /// @param index Its place in the list.
    /// @param returnData What it reverted with.
    error Multicall3_CallFailed(uint256 index, bytes returnData);

    /// @notice The values of the calls are not, together, what was sent.
    error Multicall3_WrongValue(uint256 expected, uint256 got);

    /// @notice All calls or none.
    function aggregate(Call[] calldata calls)
        external
        payable
        returns (uint256 blockNumber, bytes[] memory returnData)
    {
        blockNumber = block.number;
        uint256 count = calls.length;
        returnData = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            returnData[i] = _run(i, calls[i].target, 0, calls[i].callData, false).returnData;
        }
    }

    /// @notice Each call by itself; with `requireSuccess`, all or none.
    function tryAggregate(bool requireSuccess, Call[] calldata calls)
        external
        payable
        returns (Result[] memory returnData)
    {
        return _try(requireSuccess, calls);
    }

    /// @notice As `tryAggregate`, with the block. Its hash is zero, as no code can know the hash of the block it runs in.
    function tryBlockAndAggregate(bool requireSuccess, Call[] calldata calls)
        external
        payable
        returns (uint256 blockNumber, bytes32 blockHash, Result[] memory returnData)
    {
        return (block.number, blockhash(block.number), _try(requireSuccess, calls));
    }

    /// @notice As `aggregate`, with the block.
    function blockAndAggregate(Call[] calldata calls)
        external
        payable
        returns (uint256 blockNumber, bytes32 blockHash, Result[] memory returnData)
    {
        return (block.number, blockhash(block.number), _try(true, calls));
    }

    /// @notice Each call says for itself whether it may fail.
    function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory returnData) {
        uint256 count = calls.length;
        returnData = new Result[](count);
        for (uint256 i = 0; i < count; ++i) {
            returnData[i] = _run(i, calls[i].target, 0, calls[i].callData, calls[i].allowFailure);
        }
    }

    /// @notice As `aggregate3`, with a value for each call; together they must be the value sent.
    function aggregate3Value(Call3Value[] calldata calls) external payable returns (Result[] memory returnData) {
        uint256 count = calls.length;
        returnData = new Result[](count);
        uint256 total = 0;
        for (uint256 i = 0; i < count; ++i) {
            total += calls[i].value;
            returnData[i] = _run(i, calls[i].target, calls[i].value, calls[i].callData, calls[i].allowFailure);
        }
        if (total != msg.value) revert Multicall3_WrongValue(total, msg.value);
    }

    /// @notice The hash of one of the last 256 blocks; zero for others.
    function getBlockHash(uint256 blockNumber) external view returns (bytes32 blockHash) {
        return blockhash(blockNumber);
    }

    /// @notice The block's number.
    function getBlockNumber() external view returns (uint256 blockNumber) {
        return block.number;
    }

    /// @notice The hash of the block before.
    function getLastBlockHash() external view returns (bytes32 blockHash) {
        return block.number == 0 ? bytes32(0) : blockhash(block.number - 1);
    }

    /// @notice Who gets the block's fees.
    function getCurrentBlockCoinbase() external view returns (address coinbase) {
        return block.coinbase;
    }

    /// @notice What was the difficulty and is `prevrandao`: zero here, as the sequencer's blocks carry no randomness.
    function getCurrentBlockDifficulty() external view returns (uint256 difficulty) {
        return block.prevrandao;
    }

    /// @notice The block's gas limit.
    function getCurrentBlockGasLimit() external view returns (uint256 gaslimit) {
        return block.gaslimit;
    }

    /// @notice The block's time, unix seconds.
    function getCurrentBlockTimestamp() external view returns (uint256 timestamp) {
        return block.timestamp;
    }

    /// @notice The block's base fee.
    function getBasefee() external view returns (uint256 basefee) {
        return block.basefee;
    }

    /// @notice The chain's id.
    function getChainId() external view returns (uint256 chainid) {
        return block.chainid;
    }

    /// @notice An account's balance.
    function getEthBalance(address addr) external view returns (uint256 balance) {
        return addr.balance;
    }

    function _try(bool requireSuccess, Call[] calldata calls) internal returns (Result[] memory results) {
        uint256 count = calls.length;
        results = new Result[](count);
        for (uint256 i = 0; i < count; ++i) {
            results[i] = _run(i, calls[i].target, 0, calls[i].callData, !requireSuccess);
        }
    }

    function _run(uint256 index, address target, uint256 value, bytes calldata data, bool allowFailure)
        internal
        returns (Result memory result)
    {
        (result.success, result.returnData) = target.call{ value: value }(data);
        if (!result.success && !allowFailure) revert Multicall3_CallFailed(index, result.returnData);
    }
}
