// viem against a running server: send, receipt, logs, filters, call, estimate, errors, subscriptions, fee history.
import assert from "node:assert/strict";
import {
  BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, http, parseAbi, parseEther,
  webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";

const { JOULE_RPC_URL, JOULE_RPC_WEBSOCKET_URL, JOULE_RPC_KEY, JOULE_RPC_CHAIN_ID } = process.env;
const chain = defineChain({
  id: Number(JOULE_RPC_CHAIN_ID),
  name: "Joule",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [JOULE_RPC_URL], webSocket: [JOULE_RPC_WEBSOCKET_URL] } },
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
