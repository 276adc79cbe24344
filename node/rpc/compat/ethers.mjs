// ethers against a running server.
import assert from "node:assert/strict";
import { Contract, JsonRpcProvider, Wallet, WebSocketProvider, isCallException, isError, parseEther } from "ethers";

const { JOULE_RPC_URL, JOULE_RPC_WEBSOCKET_URL, JOULE_RPC_KEY, JOULE_RPC_CHAIN_ID } = process.env;
const provider = new JsonRpcProvider(JOULE_RPC_URL, undefined, { polling: true, pollingInterval: 50, cacheTimeout: -1 });
const wallet = new Wallet(JOULE_RPC_KEY, provider);
const payee = "0x00000000000000000000000000000000000000aa";
const abi = [
  "function openChannel(address payee) payable",
  "function finaliseChannel(address client, uint64 clientNonce)",
  "event ChannelOpened(address indexed client, uint64 indexed clientNonce, address indexed payee, uint128 deposit)",
  "error ChannelNotFound(address client, uint64 nonce)",
];
const channels = new Contract("0x0000000000000000000000000000000000008003", abi, wallet);

assert.equal((await provider.getNetwork()).chainId, BigInt(JOULE_RPC_CHAIN_ID));
const before = await provider.getBalance(wallet);
assert.ok(before > parseEther("1"));

const transfer = await (await wallet.sendTransaction({ to: payee, value: 5n })).wait();
assert.equal(transfer.status, 1);
assert.equal(before - (await provider.getBalance(wallet)), 5n + transfer.fee);

const opened = await (await channels.openChannel(payee, { value: 7n })).wait();
assert.equal(opened.logs[0].fragment.name, "ChannelOpened");
const found = await channels.queryFilter(channels.filters.ChannelOpened(wallet), opened.blockNumber);
assert.equal(found[0].args.deposit, 7n);
assert.equal(await channels.openChannel.estimateGas(payee, { value: 1n }), opened.gasUsed);

const rejection = await channels.finaliseChannel.staticCall(wallet, 99n).then(() => null, (error) => error);
assert.ok(isCallException(rejection), String(rejection));
assert.equal(rejection.revert.name, "ChannelNotFound");
const estimate = await channels.finaliseChannel(wallet, 99n).then(() => null, (error) => error);
assert.ok(isCallException(estimate), String(estimate));
// Sent all the same, it is in a block with status 0.
const sent = await channels.finaliseChannel(wallet, 99n, { gasLimit: 60_000n });
const failed = await sent.wait().then(() => null, (error) => error);
assert.ok(isCallException(failed) && failed.receipt.status === 0, String(failed));

const poor = new Wallet(`0x${"22".repeat(32)}`, provider);
const refused = await poor.sendTransaction({ to: payee, value: 1n, gasLimit: 21_000n }).then(() => null, (error) => error);
assert.ok(isError(refused, "INSUFFICIENT_FUNDS"), String(refused));
const low = await wallet.sendTransaction({ to: payee, value: 1n, nonce: 0 }).then(() => null, (error) => error);
assert.ok(isError(low, "NONCE_EXPIRED"), String(low));

// Views of system contracts, many in one call.
const aggregator = new Contract(
  "0xcA11bde05977b3631167028862bE2a173976CA11",
  [
    "function aggregate3((address target, bool allowFailure, bytes callData)[] calls) payable returns ((bool success, bytes returnData)[])",
    "function tryBlockAndAggregate(bool requireSuccess, (address target, bytes callData)[] calls) payable returns (uint256, bytes32, (bool success, bytes returnData)[])",
    "function getEthBalance(address) view returns (uint256)",
  ],
  provider,
);
const views = new Contract(
  channels.target,
  [
    "function getChannel(address client, uint64 clientNonce) view returns ((address payee, uint128 deposit, uint128 paid, uint64 closingTime, uint8 status))",
    "error ChannelNotFound(address client, uint64 nonce)",
  ],
  provider,
);
const openedNonce = (await provider.getTransaction(opened.hash)).nonce;
const calls = [openedNonce, 99].map((nonce) => ({
  target: views.target,
  allowFailure: true,
  callData: views.interface.encodeFunctionData("getChannel", [wallet.address, nonce]),
}));
const [there, missing] = await aggregator.aggregate3.staticCall(calls);
assert.equal(views.interface.decodeFunctionResult("getChannel", there.returnData)[0].deposit, 7n);
assert.equal(missing.success, false);
assert.equal(views.interface.parseError(missing.returnData).name, "ChannelNotFound");
const [at, , results] = await aggregator.tryBlockAndAggregate.staticCall(false, calls);
assert.ok(at >= BigInt(opened.blockNumber) && results[0].success && !results[1].success);
const strict = await aggregator.tryBlockAndAggregate.staticCall(true, calls).then(() => null, (error) => error);
assert.ok(isCallException(strict), String(strict));
assert.equal(await aggregator.getEthBalance(wallet), await provider.getBalance(wallet));
assert.equal((await views.getChannel(wallet, openedNonce)).payee.toLowerCase(), payee);
const noView = await views.getChannel(wallet, 99).then(() => null, (error) => error);
assert.equal(noView.revert.name, "ChannelNotFound");
// A constructor that returns something, and code that the caller brings.
const fortyTwo = "0x602a5f5260205ff3";
assert.equal(BigInt(await provider.call({ data: fortyTwo })), 42n);
const overridden = await provider.send("eth_call", [{ to: payee }, "latest", { [payee]: { code: fortyTwo } }]);
assert.equal(BigInt(overridden), 42n);

const block = await provider.getBlock(opened.blockNumber, true);
assert.equal(block.prefetchedTransactions[0].hash, opened.hash);
for (let number = 0; number <= block.number; number++) {
  const any = await provider.getBlock(number, true);
  for (const transaction of any.prefetchedTransactions) {
    assert.ok(await provider.getTransactionReceipt(transaction.hash));
  }
}
const history = await provider.send("eth_feeHistory", ["0x2", "latest", [50]]);
assert.equal(history.baseFeePerGas.length, 3);

const live = new WebSocketProvider(JOULE_RPC_WEBSOCKET_URL);
const watched = channels.connect(live);
const event = new Promise((resolve) => watched.once("ChannelOpened", (...args) => resolve(args.at(-1))));
await watched.listeners("ChannelOpened");
await live.getBlockNumber();
const again = await channels.openChannel(payee, { value: 9n });
assert.equal((await event).log.transactionHash, again.hash);
console.log("ethers: all well");
process.exit(0);
