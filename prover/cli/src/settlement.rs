//! A batch of sample payments that L1 can settle: it starts at a genesis, its deposits are L1's, and a withdrawal leaves it.

use anyhow::{Context, ensure};
use joule_protocol::{Address, Amount, Call, Checkpoint, Native, PriorityKind, PriorityRequest};
use joule_prover_engine::SegmentInput;
use joule_state::{BlockItems, witness_segment};
use joule_workload::{Chain, GENESIS_SECONDS, Key, Payments, Population, payments, sign_call};
use serde::{Deserialize, Serialize};

use crate::sample::{BASE_FEE, cut, machine_witness};

/// Who deposits: the first of the accounts that every development L1 funds (Hardhat's, anvil's and ours).
const DEPOSITOR: Address = Address([
    0xf3, 0x9f, 0xd6, 0xe5, 0x1a, 0xad, 0x88, 0xf6, 0xf4, 0xce, 0x6a, 0xb8, 0x82, 0x72, 0x79, 0xcf, 0xff, 0xb9, 0x22,
    0x66,
]);
/// What each wallet is given: 10 ETH.
const DEPOSIT: Amount = 10_000_000_000_000_000_000;
/// What is withdrawn: 3 ETH.
const WITHDRAWAL: Amount = 3_000_000_000_000_000_000;
/// Whom it is paid to on L1.
const RECIPIENT: Address = Address([0xb0; 20]);

/// When the first deposit is made, seconds after genesis: L1 has time to deploy the contracts. Each further one is a second later.
const FIRST_DEPOSIT_SECONDS: u64 = 1_000;

/// A deposit as it must be made on L1 before the batch is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deposit {
    /// Who sends it.
    pub(crate) sender: String,
    /// Whom it credits.
    pub(crate) to: String,
    /// Wei, in decimal: JSON's numbers are too small.
    pub(crate) amount: String,
    /// Timestamp of the L1 block that takes it.
    pub(crate) timestamp: u64,
}

/// A withdrawal as it can be claimed on L1 once the batch is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Withdrawal {
    /// Its index on the chain.
    pub(crate) index: u64,
    /// Whom it pays.
    pub(crate) recipient: String,
    /// Wei, in decimal.
    pub(crate) amount: String,
}

/// What L1 needs of a batch besides its proof. Bytes are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settlement {
    /// Payments in the batch, without deposits, registrations and the withdrawal.
    pub(crate) payments: u32,
    /// The L2's chain id.
    pub(crate) chain_id: u64,
    /// Digest of the genesis configuration.
    pub(crate) genesis_id: String,
    /// The checkpoint it starts from, encoded.
    pub(crate) parent: String,
    /// The checkpoint it reaches, encoded.
    pub(crate) checkpoint: String,
    /// Length of its data.
    pub(crate) data_bytes: u64,
    /// Its deposits, in order.
    pub(crate) deposits: Vec<Deposit>,
    /// Its withdrawals, in order.
    pub(crate) withdrawals: Vec<Withdrawal>,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"))
}

/// Transactions in a block, unless segments of a number of transactions are asked for.
const BLOCK: u32 = 64;

/// A batch from genesis: deposits and registrations, payments, and a withdrawal. In as few segments as hold it, or in segments of one block with at most
/// `segment` transactions.
pub(crate) fn batch(
    count: u32,
    segment: Option<u32>,
    wallets: u32,
    seed: u64,
) -> anyhow::Result<(Vec<SegmentInput>, Settlement)> {
    let mut chain = Chain::new(Chain::test_genesis());
    let genesis = chain.genesis;
    let (parent, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
    let population = Population::new(seed, &genesis, wallets.into(), wallets.div_ceil(4).into());
    let withdrawer = Key::derive("withdrawer", seed, 0);
    let now = GENESIS_SECONDS + FIRST_DEPOSIT_SECONDS + u64::from(wallets) + 60;
    let Payments { setup, payments, .. } = payments(&population, now, BASE_FEE.into(), count as usize);

    let addresses = population.wallets.iter().map(|wallet| wallet.address).chain([withdrawer.address]);
    let requests: Vec<PriorityRequest> = addresses
        .zip(GENESIS_SECONDS + FIRST_DEPOSIT_SECONDS..)
        .map(|(to, timestamp)| PriorityRequest {
            kind: PriorityKind::Deposit as u8,
            sender: DEPOSITOR,
            to,
            amount: DEPOSIT,
            timestamp,
            data: Vec::new(),
        })
        .collect();

    let mut blocks = Vec::new();
    let mut data_bytes = 0;
    let mut messages = Vec::new();
    let mut execute = |chain: &mut Chain, requests: &[Vec<u8>], waiting: &[Vec<u8>]| -> anyhow::Result<usize> {
        let block = chain.block(now, BASE_FEE, requests, waiting).context("a block of the sample")?;
        let taken = block.items.transactions.len();
        // What found no room is at the end, and goes into the next block.
        ensure!(requests.len() + taken > 0 && block.items.transactions == waiting[..taken], "a payment was refused");
        data_bytes += block.sealed.block.chunk.bytes().len() as u64;
        messages.extend(block.sealed.block.messages.iter().copied());
        blocks.push(block.items);
        Ok(taken)
    };
    for requests in requests.chunks(32) {
        let encoded: Vec<_> = requests.iter().map(PriorityRequest::encode).collect();
        execute(&mut chain, &encoded, &[])?;
    }
    let withdraw = Call::Withdraw { l1_recipient: RECIPIENT, amount: WITHDRAWAL };
    let (chain_id, none) = (genesis.chain_id, Address::ZERO);
    let withdraw = sign_call(chain_id, &withdrawer, 0, BASE_FEE.into(), &none, WITHDRAWAL, Some(&withdraw));
    let transactions: Vec<Vec<u8>> =
        setup.into_iter().chain(payments.into_iter().map(|(_, bytes)| bytes)).chain([withdraw]).collect();
    let mut waiting = transactions.as_slice();
    while !waiting.is_empty() {
        let offered = waiting.len().min(segment.unwrap_or(BLOCK) as usize);
        let taken = execute(&mut chain, &[], &waiting[..offered])?;
        waiting = &waiting[taken..];
    }

    let inputs = match segment {
        Some(_) => segments(&mut tree, chain_id, &parent, blocks)?,
        None => cut(&mut tree, chain_id, &parent, &blocks)?,
    };
    let settlement = Settlement {
        payments: count,
        chain_id,
        genesis_id: hex(&genesis.id::<Native>().0),
        parent: hex(&parent.encode()),
        checkpoint: hex(&chain.execution.checkpoint().encode()),
        data_bytes,
        deposits: requests
            .iter()
            .map(|request| Deposit {
                sender: hex(&request.sender.0),
                to: hex(&request.to.0),
                amount: request.amount.to_string(),
                timestamp: request.timestamp,
            })
            .collect(),
        withdrawals: messages
            .iter()
            .zip(0..)
            .map(|(message, index)| Withdrawal {
                index,
                recipient: hex(&message.recipient.0),
                amount: message.amount.to_string(),
            })
            .collect(),
    };
    ensure!(settlement.withdrawals.len() == 1, "the sample has {} withdrawals, not one", settlement.withdrawals.len());
    Ok((inputs, settlement))
}

/// One segment to a block, but for blocks without transactions, which go with the block behind them.
fn segments(
    tree: &mut joule_state::StateTree<joule_state::MemoryStore>,
    chain_id: u64,
    parent: &Checkpoint,
    blocks: Vec<BlockItems>,
) -> anyhow::Result<Vec<SegmentInput>> {
    let mut checkpoint = *parent;
    let mut inputs = Vec::new();
    let mut waiting = Vec::new();
    for block in blocks {
        let is_full = !block.transactions.is_empty();
        waiting.push(block);
        if is_full {
            let blocks = std::mem::take(&mut waiting);
            let (witness, to) =
                witness_segment(tree, chain_id, &checkpoint, &blocks).context("witnessing a segment")?;
            inputs.push(machine_witness(witness));
            checkpoint = to;
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use joule_machine::{Limits, kernel_image, run};

    use super::*;

    #[test]
    fn the_image_goes_from_checkpoint_to_checkpoint() {
        let (inputs, settlement) = batch(9, Some(8), 4, 1).unwrap();
        assert!(inputs.len() > 1);
        let mut hash = None;
        for input in &inputs {
            let outcome = run(kernel_image(), input, Limits::default()).unwrap();
            let words = outcome.committed.unwrap();
            assert_eq!((outcome.exit_code, u64::from(words[0])), (0, settlement.chain_id));
            assert!(hash.is_none_or(|hash| hash == words[2..10]), "segments are neighbours");
            hash = Some(words[10..].to_vec());
        }
        let bytes: Vec<u8> = (2..settlement.checkpoint.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&settlement.checkpoint[at..at + 2], 16).unwrap())
            .collect();
        let checkpoint = Checkpoint::decode(&bytes.try_into().unwrap()).unwrap().unwrap();
        assert_eq!(hash.unwrap(), checkpoint.hash::<Native>().to_words());
        assert_eq!(checkpoint.priority_count, settlement.deposits.len() as u64);

        // The same chain in as few segments as hold it.
        let (fewer, same) = batch(9, None, 4, 1).unwrap();
        assert_eq!((fewer.len(), same.parent), (1, settlement.parent));
    }
}
