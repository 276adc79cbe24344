//! Where missing blocks come from: peers, and the committee's members. Both are believed nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::primitives::Address;
use joule_committee_client::{Committee, FetchError, checkpoint_hash};
use joule_follow::{
    Applied, BlockRefused, ChainError, ExecuteError, RebuildError, SignedBlock, TakeError, chunks_of, l1::L1View,
};
use joule_l1::{AvailableAt, History, HistoryError, L1Client};
use joule_p2p::{ANSWER_BLOCKS_MAX, Answer, Network, Offence, PeerId, Question};
use thiserror::Error;
use tokio::sync::watch;

use super::Followed;

/// Answers taken from one peer in one go; then the next one has its turn.
const ANSWERS_MAX: usize = 256;

/// Who may have signed blocks: the sequencer as of the last confirmed L1 block, and as of the latest. They differ only while its key is changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequencers {
    pub(crate) confirmed: Address,
    pub(crate) latest: Address,
    /// The last block that L1 has committed. Up to here blocks may carry the signature of an earlier key.
    pub(crate) committed: u64,
}

/// Why a block of a peer's answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotTaken {
    /// It may be what it was asked for, and this node cannot tell: nobody's fault.
    Unknown,
    /// Nobody honest serves it.
    Lie(Offence),
}

impl Sequencers {
    /// Reads a block that one of them signed.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<SignedBlock, BlockRefused> {
        let address = |of: Address| joule_protocol::Address(of.into_array());
        SignedBlock::read(bytes, &address(self.confirmed)).or_else(|error| match self.latest == self.confirmed {
            true => Err(error),
            false => SignedBlock::read(bytes, &address(self.latest)),
        })
    }

    /// Reads what a peer answered when it was asked for block `expected`.
    fn read_answer(&self, expected: u64, bytes: &[u8]) -> Result<SignedBlock, NotTaken> {
        match self.read(bytes) {
            Ok(block) if block.number() == expected => Ok(block),
            Ok(_) => Err(NotTaken::Lie(Offence::WrongAnswer)),
            // The sequencer's key may have been another when the block was signed, and whoever has followed since then keeps it as it was. What L1 has of it comes from the committee.
            Err(BlockRefused::NotSequencer { number, .. }) if number == expected && number <= self.committed => {
                Err(NotTaken::Unknown)
            }
            Err(_) => Err(NotTaken::Lie(Offence::Rejected)),
        }
    }
}

/// Why a batch is still missing.
#[derive(Debug, Error)]
pub(crate) enum MissingError {
    /// Nobody serves its blocks.
    #[error("{error}{hint}")]
    Fetch {
        /// What each of the members did.
        error: FetchError,
        /// What helps, if something does.
        hint: &'static str,
    },
    /// Its data could not be read.
    #[error(transparent)]
    Data(#[from] RebuildError),
    /// What was served is not it.
    #[error("nobody serves batch {number} as L1 has it; the last one tried: {error}")]
    NotServed {
        /// The batch.
        number: u64,
        /// Why the last offer was not taken.
        error: TakeError,
    },
    /// The data that L1 has the hash of says the same as what is here, and its checkpoint does not.
    #[error("the data of batch {number} is what is here, L1's checkpoint is not: L1's answers do not fit together")]
    Unexplained {
        /// The batch.
        number: u64,
    },
    /// Peers did not have it, and there is nobody else.
    #[error("no peer has the blocks of batch {number}, and `committee.members` is empty")]
    NoCommittee {
        /// The batch.
        number: u64,
    },
    /// L1, as far as it has been read, does not reach up to the state that this node began with.
    #[error("L1 has not been read up to the state that this node began with")]
    NotRead,
    /// The chain has halted, or the disk failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Data on L1 has the state and not the transactions.
fn hint(available_at: &AvailableAt) -> &'static str {
    match available_at {
        AvailableAt::L1 => {
            "; its data is on L1: a node with an empty disk and full.start = \"data\" begins behind it once it is executed"
        }
        AvailableAt::Committee { .. } => "",
    }
}

/// Peers and committee.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) network: Option<Network>,
    pub(crate) committee: Arc<Committee>,
    pub(crate) client: L1Client,
    pub(crate) limit: Duration,
    pub(crate) sequencers: watch::Receiver<Option<Sequencers>>,
    turn: Arc<AtomicUsize>,
}

/// What came of asking one peer.
enum FromPeer {
    /// It had nothing more.
    Done,
    /// It showed that it lies.
    Liar(Offence),
    /// This node waits for L1, or has halted: asking others does not help.
    Enough,
}

impl Source {
    pub(crate) fn new(
        network: Option<Network>,
        committee: Arc<Committee>,
        client: L1Client,
        limit: Duration,
        sequencers: watch::Receiver<Option<Sequencers>>,
    ) -> Self {
        Self { network, committee, client, limit, sequencers, turn: Arc::default() }
    }

    /// Asks peers for the blocks behind the head, up to `last`, and returns whether any came.
    pub(crate) async fn sync(&self, followed: &Followed, last: u64) -> bool {
        let (Some(network), Some(sequencers)) = (&self.network, *self.sequencers.borrow()) else { return false };
        let mut peers: Vec<PeerId> = network.peers().borrow().iter().copied().collect();
        if peers.is_empty() {
            return false;
        }
        // Another one first each time, so that a peer that says nothing does not hold everything up for good.
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % peers.len();
        peers.rotate_left(first);
        let before = followed.with(|chain| chain.head()).await;
        for peer in peers {
            match self.ask_peer(network, followed, sequencers, peer, last).await {
                FromPeer::Done => {}
                FromPeer::Liar(offence) => {
                    tracing::warn!(%peer, ?offence, "a peer serves what it must not");
                    network.blame(peer, offence).await;
                }
                FromPeer::Enough => break,
            }
        }
        followed.with(|chain| chain.head()).await > before
    }

    async fn ask_peer(
        &self,
        network: &Network,
        followed: &Followed,
        sequencers: Sequencers,
        peer: PeerId,
        last: u64,
    ) -> FromPeer {
        let Ok(Answer::Head { number: claimed, .. }) = network.ask(peer, Question::Head).await else {
            return FromPeer::Done;
        };
        for _ in 0..ANSWERS_MAX {
            let head = followed.with(|chain| chain.head()).await;
            // What it claims is worth a question and nothing more.
            let count = claimed.min(last).saturating_sub(head).min(ANSWER_BLOCKS_MAX as u64) as u16;
            if count == 0 {
                return FromPeer::Done;
            }
            let Ok(Answer::Blocks(blocks)) = network.ask(peer, Question::Blocks { from: head + 1, count }).await else {
                return FromPeer::Done;
            };
            // A node that began at a later state has no earlier blocks, honestly.
            if blocks.is_empty() {
                return FromPeer::Done;
            }
            let mut read = Vec::with_capacity(blocks.len());
            for (expected, bytes) in (head + 1..).zip(&blocks) {
                match sequencers.read_answer(expected, bytes) {
                    Ok(block) => read.push(block),
                    Err(NotTaken::Unknown) => break,
                    Err(NotTaken::Lie(offence)) => return FromPeer::Liar(offence),
                }
            }
            if read.is_empty() {
                return FromPeer::Done;
            }
            followed.is_signed(head + read.len() as u64);
            let applied = followed.with(move |chain| {
                for block in read {
                    match chain.apply(&block)? {
                        Applied::Taken | Applied::Known => {}
                        other => return Ok(other),
                    }
                }
                Ok::<_, ChainError>(Applied::Taken)
            });
            match applied.await {
                Ok(Applied::Taken | Applied::Known) => {}
                // Signed by the sequencer, so nobody's fault here; L1 decides.
                Ok(Applied::OtherParent | Applied::Ahead) => return FromPeer::Done,
                Ok(Applied::AwaitsRequests) => return FromPeer::Enough,
                Err(error) => {
                    super::note(&error);
                    return FromPeer::Enough;
                }
            }
        }
        FromPeer::Done
    }

    /// Gets the blocks of a batch that L1 has committed: from peers if they have them, from the committee otherwise.
    pub(crate) async fn blocks(&self, followed: &Followed, l1: &Arc<L1View>, number: u64) -> Result<(), MissingError> {
        let Some(batch) = l1.batch(number) else { return Ok(()) };
        let last = batch.checkpoint.block_number;
        self.sync(followed, last).await;
        let head = followed.with(|chain| chain.head()).await;
        // Whether they are L1's shows when they are compared with it.
        if head >= last {
            return Ok(());
        }
        if self.committee.members().is_empty() {
            return Err(MissingError::NoCommittee { number });
        }
        // A member that serves blocks which do not execute is noticed only by executing them: then the next one has its turn.
        let mut tries = self.committee.members().len();
        loop {
            tries -= 1;
            let offer = self.committee.offer(number, checkpoint_hash(&batch.checkpoint), self.limit).await;
            let offer = offer.map_err(|error| MissingError::Fetch { error, hint: hint(&batch.available_at) })?;
            let view = l1.clone();
            match followed.with(move |chain| chain.take(&view, number, &offer)).await {
                Ok(()) => return Ok(()),
                // Blocks that are here are not the batch's, or the member says so: the data decides.
                Err(error @ TakeError::Blocks(ExecuteError::Conflicts { .. })) => {
                    match self.compare(followed, l1, number).await {
                        // The data is what is here, so the member lied.
                        Err(MissingError::Unexplained { .. }) if tries > 0 => {
                            tracing::warn!(number, %error, "a member's batch was not what it must be");
                        }
                        result => return result,
                    }
                }
                Err(TakeError::Chain(error)) => return Err(error.into()),
                Err(error) if tries == 0 => return Err(MissingError::NotServed { number, error }),
                Err(error) => tracing::warn!(number, %error, "a member's batch was not what it must be"),
            }
        }
    }

    /// Compares the data that L1 has the hash of with the blocks that are here.
    pub(crate) async fn compare(&self, followed: &Followed, l1: &Arc<L1View>, number: u64) -> Result<(), MissingError> {
        let Some(batch) = l1.batch(number).cloned() else { return Ok(()) };
        let genesis = followed.with(|chain| *chain.database().genesis()).await;
        let history = match batch.available_at {
            AvailableAt::L1 => {
                let end = self.client.head().await.map_err(HistoryError::from).map_err(RebuildError::from)?;
                let start = joule_follow::genesis_checkpoint(&genesis);
                History::read(&self.client, start, end).await.map_err(RebuildError::from)?
            }
            AvailableAt::Committee { .. } => History::new(joule_follow::genesis_checkpoint(&genesis)),
        };
        let chunks = chunks_of(&batch, &self.client, &history, &self.committee, self.limit).await?;
        let view = l1.clone();
        match followed.with(move |chain| chain.compare(&view, number, &chunks)).await? {
            Some(_) => {
                followed.metrics.equivocations.inc();
                Ok(())
            }
            None => Err(MissingError::Unexplained { number }),
        }
    }
}

#[cfg(test)]
mod tests {
    use joule_protocol::Native;
    use joule_state::BlockItems;
    use joule_storage::{BlockRecord, Database};
    use joule_workload::{Chain, GENESIS_SECONDS};

    use super::*;
    use crate::BlockKey;

    #[test]
    fn blocks_of_an_earlier_key_are_nobodys_fault_where_l1_has_committed_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path(), &Chain::test_genesis()).expect("opens");
        let requests = vec![Chain::deposit(&joule_protocol::Address([3; 20]), 9)];
        let items = BlockItems { timestamp: GENESIS_SECONDS, base_fee: 1, requests, transactions: Vec::new() };
        let executed = database.execution().expect("a state").replay(&items).expect("a block");
        let key = |byte| BlockKey::from_secret([byte; 32]).expect("a key");
        let signed_by = |key: &BlockKey| {
            let signature = key.sign_block(&executed.sealed.block.header.hash::<Native>(), &items.encode());
            SignedBlock::of(&BlockRecord::new(&executed, Some(signature))).expect("signed").encode()
        };
        let (before, now) = (key(1), key(2));
        let address = Address::new(now.address().0);
        let sequencers = |committed| Sequencers { confirmed: address, latest: address, committed };
        assert!(sequencers(0).read_answer(1, &signed_by(&now)).is_ok());
        assert_eq!(sequencers(1).read_answer(1, &signed_by(&before)), Err(NotTaken::Unknown));
        // What L1 does not have is signed with the key that it names, and garbage never is.
        assert_eq!(sequencers(0).read_answer(1, &signed_by(&before)), Err(NotTaken::Lie(Offence::Rejected)));
        assert_eq!(sequencers(1).read_answer(1, b"garbage"), Err(NotTaken::Lie(Offence::Rejected)));
        assert_eq!(sequencers(2).read_answer(2, &signed_by(&now)), Err(NotTaken::Lie(Offence::WrongAnswer)));
        assert_eq!(sequencers(2).read_answer(2, &signed_by(&before)), Err(NotTaken::Lie(Offence::Rejected)));
    }
}
