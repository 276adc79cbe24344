// viem against a running server: send, receipt, logs, filters, call, estimate, errors, subscriptions, fee history.
import assert from "node:assert/strict";
import {
  BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, decodeFunctionResult, defineChain,
  encodeFunctionData, http, multicall3Abi, pad, parseAbi, parseEther, toHex, webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { JOULE_RPC_URL, JOULE_RPC_WEBSOCKET_URL, JOULE_RPC_KEY, JOULE_RPC_CHAIN_ID } = process.env;
const chain = defineChain({
  id: Number(JOULE_RPC_CHAIN_ID),
  name: "Joule",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [JOULE_RPC_URL], webSocket: [JOULE_RPC_WEBSOCKET_URL] } },
  contracts: { multicall3: { address: "0xcA11bde05977b3631167028862bE2a173976CA11" } },
});
const account = privateKeyToAccount(JOULE_RPC_KEY);
const client = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
const wallet = createWalletClient({ chain, transport: http(), account });
const channels = {
  address: "0x0000000000000000000000000000000000008003",
  abi: parseAbi([
    "function openChannel(address payee) payable",
    "function finaliseChannel(address client, uint64 clientNonce)",
    "event ChannelOpened(address indexed client, uint64 indexed clientNonce, address indexed payee, uint128 deposit)",
    "error ChannelNotFound(address client, uint64 nonce)",
  ]),
};
const payee = "0x00000000000000000000000000000000000000aa";

assert.equal(await client.getChainId(), chain.id);
const before = await client.getBalance({ address: account.address });
assert.ok(before > parseEther("1"));

// A transfer, its fees and gas chosen by the library.
const transfer = await wallet.sendTransaction({ to: payee, value: 5n });
const sent = await client.waitForTransactionReceipt({ hash: transfer });
assert.equal(sent.status, "success");
assert.equal(sent.gasUsed, 21_000n);
const after = await client.getBalance({ address: account.address });
assert.equal(before - after, 5n + sent.gasUsed * sent.effectiveGasPrice);
assert.equal((await client.getTransaction({ hash: transfer })).from.toLowerCase(), account.address.toLowerCase());

// A call of a system contract, simulated first, with its log.
const filter = await client.createContractEventFilter({ ...channels, eventName: "ChannelOpened" });
const { request } = await client.simulateContract({ ...channels, account, functionName: "openChannel", args: [payee], value: 7n });
const opened = await client.waitForTransactionReceipt({ hash: await wallet.writeContract(request) });
assert.equal(opened.status, "success");
const logs = await client.getContractEvents({ ...channels, eventName: "ChannelOpened", fromBlock: opened.blockNumber });
assert.equal(logs.length, 1);
assert.equal(logs[0].args.deposit, 7n);
assert.equal((await client.getFilterChanges({ filter })).length, 1);
assert.equal(await client.uninstallFilter({ filter }), true);

// A reason, read from revert data.
const rejection = await client
  .simulateContract({ ...channels, account, functionName: "finaliseChannel", args: [account.address, 99n] })
  .then(() => null, (error) => error);
assert.ok(rejection instanceof BaseError);
const reverted = rejection.walk((error) => error instanceof ContractFunctionRevertedError);
assert.equal(reverted.data.errorName, "ChannelNotFound");
assert.equal(reverted.data.args[1], 99n);

// Refusals as viem names them.
const poor = privateKeyToAccount(`0x${"11".repeat(32)}`);
const refused = await createWalletClient({ chain, transport: http(), account: poor })
  .sendTransaction({ to: payee, value: 1n })
  .then(() => null, (error) => error);
assert.ok(refused.walk((error) => error.name === "InsufficientFundsError"));
const low = await wallet.sendTransaction({ to: payee, value: 1n, nonce: 0 }).then(() => null, (error) => error);
assert.ok(low.walk((error) => error.name === "NonceTooLowError"), String(low));

// Views of system contracts, many in one call: one of them fails, and says why.
const views = {
  channels: {
    address: channels.address,
    abi: parseAbi([
      "struct Channel { address payee; uint128 deposit; uint128 paid; uint64 closingTime; uint8 status; }",
      "function getChannel(address client, uint64 clientNonce) view returns (Channel)",
      "error ChannelNotFound(address client, uint64 nonce)",
    ]),
  },
  chain: {
    address: "0x0000000000000000000000000000000000008004",
    abi: parseAbi([
      "struct Chain { bytes32 genesisId; address feeRecipient; uint64 baseFeeMax; uint32 gasTableVersion; uint64 leafCount; uint64 withdrawalCount; uint128 deposited; uint128 withdrawn; uint64 graceSeconds; uint64 channelCloseSeconds; }",
      "function getChain() view returns (Chain)",
    ]),
  },
};
const openedNonce = BigInt((await client.getTransaction({ hash: opened.transactionHash })).nonce);
const many = [
  { ...views.channels, functionName: "getChannel", args: [account.address, openedNonce] },
  { ...views.channels, functionName: "getChannel", args: [account.address, 99n] },
  { ...views.chain, functionName: "getChain" },
  { address: chain.contracts.multicall3.address, abi: multicall3Abi, functionName: "getEthBalance", args: [account.address] },
];
const [channel, noChannel, numbers, balance] = await client.multicall({ contracts: many });
assert.equal(channel.result.deposit, 7n);
assert.equal(noChannel.status, "failure");
const why = noChannel.error.walk((error) => error instanceof ContractFunctionRevertedError);
assert.equal(why.data.errorName, "ChannelNotFound");
assert.ok(numbers.result.deposited >= parseEther("100"));
assert.equal(balance.result, await client.getBalance({ address: account.address }));
await assert.rejects(client.multicall({ contracts: many, allowFailure: false }));
// The same with the aggregator brought along as a constructor: Multicall3 as others compiled it.
const brought = await client.multicall({ contracts: many, deployless: true });
assert.deepEqual(brought.map((one) => one.result), [channel.result, undefined, numbers.result, balance.result]);
assert.equal((await client.readContract(many[0])).deposit, 7n);
// viem gathers calls of the same moment into one multicall.
const gathering = createPublicClient({ chain, transport: http(), batch: { multicall: true } });
const [direct, gathered] = await Promise.all([gathering.readContract(many[0]), gathering.readContract(many[2])]);
assert.deepEqual([direct, gathered], [channel.result, numbers.result]);
assert.ok((await client.getCode({ address: chain.contracts.multicall3.address })).length > 2_000);

// Code that the caller brings: created for the call, run as a constructor, over an account of his, and with storage.
const fortyTwo = "0x602a5f5260205ff3";
const creation = `0x67${fortyTwo.slice(2)}5f5260086018f3`;
assert.equal((await client.call({ code: creation, data: "0x00" })).data, pad(toHex(42)));
assert.equal((await client.call({ data: fortyTwo })).data, pad(toHex(42)));
const nowhere = "0x00000000000000000000000000000000000c0de0";
const ofSlot = "0x5f545f5260205ff3";
const stateDiff = [{ slot: pad("0x00"), value: pad("0x07") }];
assert.equal((await client.call({ to: nowhere, stateOverride: [{ address: nowhere, code: ofSlot, stateDiff }] })).data, pad("0x07"));
const asked = encodeFunctionData({ abi: multicall3Abi, functionName: "getEthBalance", args: [nowhere] });
const rich = await client.call({ to: chain.contracts.multicall3.address, data: asked, stateOverride: [{ address: nowhere, balance: 5n }] });
assert.equal(decodeFunctionResult({ abi: multicall3Abi, functionName: "getEthBalance", data: rich.data }), 5n);
// What an empty account could do if it had money.
const stranger = "0x00000000000000000000000000000000000000bb";
const simulated = { ...channels, account: stranger, functionName: "openChannel", args: [payee], value: 7n };
await assert.rejects(client.simulateContract(simulated));
await client.simulateContract({ ...simulated, stateOverride: [{ address: stranger, balance: 7n }] });
// Multicall3 is there to be asked. No transaction can call it.
const called = await wallet
  .sendTransaction({ to: chain.contracts.multicall3.address, data: asked, gas: 100_000n })
  .then(() => null, (error) => error);
assert.ok(called, "a transaction called Multicall3");

// Blocks and fees.
const block = await client.getBlock({ blockNumber: opened.blockNumber, includeTransactions: true });
assert.equal(block.transactions[0].hash, opened.transactionHash);
assert.equal((await client.getBlock({ blockTag: "finalized" })).number, 0n);
const history = await client.getFeeHistory({ blockCount: 2, rewardPercentiles: [50] });
assert.equal(history.baseFeePerGas.length, 3);
const fees = await client.estimateFeesPerGas();
assert.equal(fees.maxPriorityFeePerGas, 0n);
assert.equal(await client.getCode({ address: channels.address }), "0xfe");
for (let number = 0n; number <= block.number; number++) {
  await client.getBlock({ blockNumber: number, includeTransactions: true });
}

// Subscriptions.
const live = createPublicClient({ chain, transport: webSocket() });
const heard = new Promise((resolve, reject) => {
  live.watchContractEvent({ ...channels, eventName: "ChannelOpened", onLogs: resolve, onError: reject });
});
const head = new Promise((resolve, reject) => {
  live.watchBlocks({ onBlock: resolve, onError: reject });
});
await live.getBlockNumber();
// The subscriptions travel ahead of this on the same connection, and are answered in order.
await live.getChainId();
const again = await wallet.writeContract({ ...channels, functionName: "openChannel", args: [payee], value: 9n });
assert.equal((await heard)[0].transactionHash, again);
assert.ok((await head).number > block.number);
console.log("viem: all well");
process.exit(0);
