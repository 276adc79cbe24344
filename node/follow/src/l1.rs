//! What a member must know of L1 before it signs, and the watcher that finds it out.

use std::{future::Future, sync::Arc};

use alloy_primitives::{Address, B256};
use joule_committee_client::checkpoint_hash;
use joule_l1::{
    BatchOnL1, BlockRef, FollowConfig, Followed, Follower, History, HistoryError, L1Client, L1Error, L1Event, StageOnL1,
};
use joule_protocol::Checkpoint;
use thiserror::Error;

/// Rounds of reading after which one look is given up, so that a node that invents blocks cannot keep it going.
const POLLS_MAX: usize = 100_000;

/// L1 at one moment, as far as a member's rules need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1View {
    /// L1's chain id.
    pub l1_chain_id: u64,
    /// The rollup.
    pub rollup: Address,
    /// Time of the latest block, unix seconds. Not of the confirmed one: time does not reorganise.
    pub time_s: u64,
    /// A batch's time may be this far ahead of L1's.
    pub timestamp_skew_s: u64,
    /// A certificate must outlive its use by this.
    pub remaining_min_s: u64,
    /// Who signs blocks and commits batches.
    pub sequencer: Address,
    /// Whether anyone may settle in the operator's place.
    pub is_late: bool,
    /// Whether the chain has ended.
    pub is_frozen: bool,
    /// Times that committed batches were dropped.
    pub revert_count: u64,
    /// The version that new batches must have.
    pub protocol_version: u32,
    /// The ECDSA keyset in force.
    pub ecdsa_keyset: Option<B256>,
    /// The BLS keyset in force.
    pub bls_keyset: Option<B256>,
    /// All batches that were not dropped, from number 1.
    pub batches: Arc<Vec<BatchOnL1>>,
    /// The accumulator after each number of requests, from none on.
    pub request_accs: Arc<Vec<B256>>,
}

impl L1View {
    /// Batches committed.
    pub fn committed(&self) -> u64 {
        self.batches.len() as u64
    }

    /// Batches executed.
    pub fn executed(&self) -> u64 {
        self.batches.iter().take_while(|batch| batch.stage == StageOnL1::Executed).count() as u64
    }

    /// A batch by its number.
    pub fn batch(&self, number: u64) -> Option<&BatchOnL1> {
        self.batches.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The number of the executed batch that leads to a checkpoint.
    pub fn executed_batch_of(&self, checkpoint: B256) -> Option<u64> {
        let leads_there = |batch: &&BatchOnL1| checkpoint_hash(&batch.checkpoint) == checkpoint;
        self.batches[..self.executed() as usize].iter().rev().find(leads_there).map(|batch| batch.number)
    }

    /// The last executed batch that ends no later than this block.
    pub fn last_executed_up_to(&self, block: u64) -> Option<&BatchOnL1> {
        let executed = &self.batches[..self.executed() as usize];
        executed.iter().rev().find(|batch| batch.checkpoint.block_number <= block)
    }
}

/// Why L1 could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The node could not be asked, or answers nonsense.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// Events that do not fit together.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The node's answers at one block contradict each other.
    #[error("L1's state counts {state} committed batches and its events {events}; it is being read again")]
    Inconsistent {
        /// By the contract's counter.
        state: u64,
        /// By the events.
        events: u64,
    },
    /// Blocks without end.
    #[error("L1 has no end after {polls} rounds of reading")]
    Endless {
        /// Rounds.
        polls: usize,
    },
}

/// Where views of L1 come from.
pub trait L1Source: Send + 'static {
    /// Looks once. `None` while L1 has no confirmed block with the rollup on it.
    fn look(&mut self) -> impl Future<Output = Result<Option<L1View>, WatchError>> + Send;
}

/// Follows the contracts at a depth of confirmations.
///
/// Batches and request accumulators of the whole chain are held in memory, 0.5 KiB a batch and 32 bytes a request, and are read again from
/// the rollup's deployment when the member starts.
#[derive(Debug)]
pub struct Watcher {
    client: L1Client,
    config: FollowConfig,
    genesis: Checkpoint,
    follower: Follower,
    history: History,
    request_accs: Vec<B256>,
    reached: Option<BlockRef>,
}

impl Watcher {
    /// Begins at the rollup's deployment.
    pub fn new(client: L1Client, genesis: Checkpoint, confirmations: u64) -> Self {
        let config = FollowConfig { confirmations, ..FollowConfig::default() };
        let follower = Follower::new(client.clone(), config, []);
        let history = History::new(genesis);
        Self { client, config, genesis, follower, history, request_accs: vec![B256::ZERO], reached: None }
    }

    /// What L1 has told so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The connection.
    pub fn client(&self) -> &L1Client {
        &self.client
    }

    /// A history has no way back: after a reorg it is read again.
    fn start_again(&mut self) {
        *self = Self::new(self.client.clone(), self.genesis, self.config.confirmations);
    }

    async fn read_events(&mut self) -> Result<(), WatchError> {
        for _ in 0..POLLS_MAX {
            let followed = self.follower.poll().await?;
            if followed.is_empty() {
                return Ok(());
            }
            for item in followed {
                match item {
                    Followed::Event(located) => {
                        if let Err(error) = self.history.take(&located) {
                            self.start_again();
                            return Err(error.into());
                        }
                        if let L1Event::PriorityRequest { acc, .. } = located.event {
                            self.request_accs.push(acc);
                        }
                    }
                    Followed::Reorg { .. } => {
                        self.start_again();
                        break;
                    }
                    Followed::Reached(block) => self.reached = Some(block),
                }
            }
        }
        Err(WatchError::Endless { polls: POLLS_MAX })
    }
}

impl L1Source for Watcher {
    async fn look(&mut self) -> Result<Option<L1View>, WatchError> {
        self.read_events().await?;
        let Some(reached) = self.reached else { return Ok(None) };
        let state = self.client.state(reached).await?;
        let head = self.client.head().await?;
        let batches = self.history.batches();
        // Both are of one block, so they agree unless the node serves a state that is not that block's.
        if state.committed != batches.len() as u64 {
            let events = batches.len() as u64;
            self.start_again();
            return Err(WatchError::Inconsistent { state: state.committed, events });
        }
        let constants = self.client.constants();
        Ok(Some(L1View {
            l1_chain_id: constants.l1_chain_id,
            rollup: self.client.contracts().rollup,
            time_s: head.timestamp_s.max(reached.timestamp_s),
            timestamp_skew_s: constants.timestamp_skew_s,
            remaining_min_s: constants.certificate_remaining_min_s,
            sequencer: state.sequencer,
            is_late: state.is_late,
            is_frozen: state.frozen_at_s.is_some(),
            revert_count: state.revert_count,
            protocol_version: state.protocol_version,
            ecdsa_keyset: state.ecdsa_keyset,
            bls_keyset: state.bls_keyset,
            batches: Arc::new(batches.to_vec()),
            request_accs: Arc::new(self.request_accs.clone()),
        }))
    }
}
