"""web3.py against a running server."""

import os

from web3 import Web3
from web3.exceptions import ContractCustomError, TransactionNotFound, Web3RPCError

url, key = os.environ["JOULE_RPC_URL"], os.environ["JOULE_RPC_KEY"]
web3 = Web3(Web3.HTTPProvider(url))
assert web3.is_connected()
assert web3.eth.chain_id == int(os.environ["JOULE_RPC_CHAIN_ID"])
assert web3.client_version
account = web3.eth.account.from_key(key)
payee = Web3.to_checksum_address("0x" + "00" * 19 + "aa")


def argument(kind, name, indexed=None):
    field = {"name": name, "type": kind}
    return field if indexed is None else {**field, "indexed": indexed}


ABI = [
    {"type": "function", "name": "openChannel", "stateMutability": "payable", "inputs": [argument("address", "payee")], "outputs": []},
    {
        "type": "function",
        "name": "finaliseChannel",
        "stateMutability": "nonpayable",
        "inputs": [argument("address", "client"), argument("uint64", "clientNonce")],
        "outputs": [],
    },
    {
        "type": "event",
        "name": "ChannelOpened",
        "anonymous": False,
        "inputs": [
            argument("address", "client", True),
            argument("uint64", "clientNonce", True),
            argument("address", "payee", True),
            argument("uint128", "deposit", False),
        ],
    },
]
channels = web3.eth.contract(address="0x0000000000000000000000000000000000008003", abi=ABI)


def send(transaction):
    signed = account.sign_transaction(transaction)
    return web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(signed.raw_transaction), poll_latency=0.05)


def head(**fields):
    return {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address, "pending"), **fields}


before = web3.eth.get_balance(account.address)
receipt = send(
    head(to=payee, value=5, gas=21_000, chainId=web3.eth.chain_id, maxFeePerGas=2 * web3.eth.gas_price, maxPriorityFeePerGas=web3.eth.max_priority_fee)
)
assert receipt.status == 1
assert before - web3.eth.get_balance(account.address) == 5 + receipt.gasUsed * receipt.effectiveGasPrice

events = channels.events.ChannelOpened.create_filter(from_block="latest")
receipt = send(channels.functions.openChannel(payee).build_transaction(head(value=7)))
assert receipt.status == 1
assert channels.events.ChannelOpened().process_receipt(receipt)[0].args.deposit == 7
assert len(events.get_new_entries()) == 1
logs = channels.events.ChannelOpened().get_logs(from_block=receipt.blockNumber)
assert logs[0].args.payee == Web3.to_checksum_address(payee)
assert channels.functions.openChannel(payee).estimate_gas({"from": account.address, "value": 1}) == receipt.gasUsed

try:
    channels.functions.finaliseChannel(account.address, 99).call({"from": account.address})
    raise AssertionError("a channel that does not exist was finalised")
except ContractCustomError as error:
    selector = Web3.keccak(text="ChannelNotFound(address,uint64)")[:4].hex()
    assert selector.removeprefix("0x") in str(error.data), error

# Views of system contracts: one by one, as a batch of requests, and as one call.
BYTES = argument("bytes", "callData")
CALL = {"name": "calls", "type": "tuple[]", "components": [argument("address", "target"), argument("bool", "allowFailure"), BYTES]}
RESULT = {"name": "", "type": "tuple[]", "components": [argument("bool", "success"), argument("bytes", "returnData")]}
aggregator = web3.eth.contract(
    address="0xcA11bde05977b3631167028862bE2a173976CA11",
    abi=[{"type": "function", "name": "aggregate3", "stateMutability": "payable", "inputs": [CALL], "outputs": [RESULT]}],
)
CHANNEL = [argument("address", "payee"), argument("uint128", "deposit"), argument("uint128", "paid"), argument("uint64", "closingTime"), argument("uint8", "status")]
views = web3.eth.contract(
    address=channels.address,
    abi=[
        {
            "type": "function",
            "name": "getChannel",
            "stateMutability": "view",
            "inputs": [argument("address", "client"), argument("uint64", "clientNonce")],
            "outputs": [{"name": "", "type": "tuple", "components": CHANNEL}],
        }
    ],
)
nonce = web3.eth.get_transaction(receipt.transactionHash).nonce
assert views.functions.getChannel(account.address, nonce).call()[1] == 7
asked = [(views.address, True, views.encode_abi("getChannel", args=[account.address, number])) for number in (nonce, 99)]
results = aggregator.functions.aggregate3(asked).call()
assert [success for success, _ in results] == [True, False], results
missing = Web3.keccak(text="ChannelNotFound(address,uint64)")[:4]
assert bytes(results[1][1][:4]) == bytes(missing), results
with web3.batch_requests() as batch:
    batch.add(views.functions.getChannel(account.address, nonce))
    batch.add(web3.eth.get_balance(account.address))
    batch.add(aggregator.functions.aggregate3(asked[:1]))
    answers = batch.execute()
assert answers[0][1] == 7 and answers[1] == web3.eth.get_balance(account.address) and answers[2][0][0] is True, answers
code = {"code": "0x602a5f5260205ff3"}
assert int.from_bytes(web3.eth.call({"to": payee}, "latest", {payee: code}), "big") == 42

poor = web3.eth.account.create()
try:
    fields = {"to": payee, "value": 1, "gas": 21_000, "nonce": 0, "chainId": web3.eth.chain_id, "gasPrice": web3.eth.gas_price}
    web3.eth.send_raw_transaction(poor.sign_transaction(fields).raw_transaction)
    raise AssertionError("an empty account has sent")
except Web3RPCError as error:
    assert "insufficient funds" in str(error), error

block = web3.eth.get_block(receipt.blockNumber, full_transactions=True)
assert block.transactions[0].hash == receipt.transactionHash
for number in range(block.number + 1):
    web3.eth.get_block(number, full_transactions=True)
    web3.eth.get_block_receipts(number)
history = web3.eth.fee_history(2, "latest", [50])
assert len(history.baseFeePerGas) == 3
assert web3.eth.get_block("safe").number == 0
try:
    web3.eth.get_transaction_receipt("0x" + "ab" * 32)
    raise AssertionError("a receipt of nothing")
except TransactionNotFound:
    pass
print("web3.py: all well")
