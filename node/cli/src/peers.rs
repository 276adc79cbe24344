//! Taking part in gossip: identity, what peers ask, and the sequencer's side of it.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use joule_follow::SignedBlock;
use joule_p2p::{ANSWER_BLOCKS_MAX, ANSWER_BYTES_MAX, Answer, Asked, Event, Gossip, Keypair, Kind, Multiaddr, Network};
use joule_p2p::{NetworkConfig, NetworkError, PeerId, Question, Verdict};
use joule_protocol::Hash;
use joule_rpc::{Node, NodeEvent, SubmitError};
use joule_storage::{Database, StorageError};
use tokio::{
    sync::{Semaphore, broadcast::error::RecvError, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{KeyFileError, Metrics, PeerPlan, keys, node::SequencerNode};

/// Messages that wait to be judged. Each may be as long as a block.
const EVENTS_MAX: usize = 256;
/// Answers that are read from the disk at once.
const ANSWERS_MAX: usize = 4;
/// Gossiped transactions that wait for the disk at once; more are not passed on from here.
const SUBMISSIONS_MAX: usize = 512;

/// How many peers are connected, now.
#[derive(Clone, Debug)]
pub(crate) struct PeerCount(watch::Receiver<BTreeSet<PeerId>>);

impl PeerCount {
    pub(crate) fn of(network: &Network) -> Self {
        Self(network.peers())
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.borrow().len() as u32
    }
}

/// The identity in a file, made if the file is not there.
///
/// # Errors
/// A file that holds none, or that others can read.
pub fn identity(path: &Path) -> Result<Keypair, KeyFileError> {
    let malformed = || KeyFileError::Malformed { path: path.to_owned() };
    match keys::read_secret(path) {
        Ok(secret) => Keypair::ed25519_from_bytes(secret).map_err(|_| malformed()),
        Err(KeyFileError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            let made = Keypair::generate_ed25519();
            let secret = made.clone().try_into_ed25519().map_err(|_| malformed())?.secret();
            let bytes = secret.as_ref().try_into().map_err(|_| malformed())?;
            keys::write_secret(path, &bytes)?;
            Ok(made)
        }
        Err(error) => Err(error),
    }
}

/// What a started network is: its handle, what comes from peers, and its task.
pub(crate) type Started = (Network, mpsc::Receiver<Event>, JoinHandle<()>);

/// Starts to listen and to connect.
///
/// # Errors
/// Addresses that cannot be used.
pub(crate) fn start(plan: PeerPlan, keys: Keypair, genesis: Hash) -> Result<Started, NetworkError> {
    let PeerPlan { listen, bootnodes, peers_max, .. } = plan;
    Network::start(NetworkConfig { keys, genesis, listen, bootnodes, peers_max, events_max: EVENTS_MAX })
}

/// Keeps the gauge of peers until the network ends.
pub(crate) async fn count(network: Network, metrics: Metrics, stop: CancellationToken) {
    let mut peers = network.peers();
    loop {
        metrics.peers.set(peers.borrow_and_update().len() as i64);
        tokio::select! {
            changed = peers.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// Answers peers from the disk, a few at a time; who asks when all are busy is not answered.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    database: Database,
    turns: Arc<Semaphore>,
}

impl Answers {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, turns: Arc::new(Semaphore::new(ANSWERS_MAX)) }
    }

    pub(crate) fn answer(&self, asked: Asked) {
        let Ok(turn) = self.turns.clone().try_acquire_owned() else { return };
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || {
            match answer(&database, asked.question) {
                Ok(answer) => asked.answer(answer),
                Err(error) => tracing::warn!(%error, "a peer's question could not be answered"),
            }
            drop(turn);
        });
    }
}

fn answer(database: &Database, question: Question) -> Result<Answer, StorageError> {
    let view = database.view()?;
    match question {
        Question::Head => {
            let head = view.head();
            Ok(Answer::Head { number: head.block_number, hash: head.block_hash })
        }
        Question::Blocks { from, count } => {
            let (mut blocks, mut bytes) = (Vec::new(), 0);
            for number in from..from.saturating_add(count.into()) {
                // A block that was taken from what L1 committed has no signature, and whoever asks could not judge it.
                let Some(block) = view.block(number)?.as_ref().and_then(SignedBlock::of) else { break };
                let encoded = block.encode();
                bytes += encoded.len();
                blocks.push(encoded);
                if bytes > ANSWER_BYTES_MAX || blocks.len() == ANSWER_BLOCKS_MAX {
                    break;
                }
            }
            Ok(Answer::blocks(blocks))
        }
    }
}

/// The sequencer's side: what it builds goes out, and transactions come in.
pub(crate) async fn sequence(
    node: Arc<SequencerNode>,
    network: Network,
    mut events: mpsc::Receiver<Event>,
    stop: CancellationToken,
) {
    let answers = Answers::new(node.database().clone());
    let submissions = Arc::new(Semaphore::new(SUBMISSIONS_MAX));
    let mut blocks = node.subscribe();
    loop {
        tokio::select! {
            block = blocks.recv() => match block {
                Ok(NodeEvent::Block { number }) => publish(&node, &network, number).await,
                Ok(NodeEvent::Reverted { .. } | NodeEvent::Pending { .. }) => {}
                // Whoever missed a block asks for it.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            event = events.recv() => match event {
                Some(Event::Asked(asked)) => answers.answer(asked),
                Some(Event::Gossip(gossip)) => match gossip.kind {
                    Kind::Transaction => submit(&node, gossip, &submissions),
                    // Nobody but this node makes blocks. Its own come back from peers that were slow.
                    Kind::Block => gossip.judge(Verdict::Ignore),
                },
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}

async fn publish(node: &Arc<SequencerNode>, network: &Network, number: u64) {
    let database = node.database().clone();
    let read = tokio::task::spawn_blocking(move || {
        let block = database.view()?.block(number)?;
        Ok::<_, StorageError>(block.as_ref().and_then(SignedBlock::of).map(|block| block.encode()))
    });
    match read.await {
        Ok(Ok(Some(bytes))) => drop(network.publish(Kind::Block, bytes).await),
        // Undone meanwhile.
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::error!(%error, number, "a block could not be read for gossip"),
        Err(error) => tracing::error!(%error, number, "a block could not be read for gossip"),
    }
}

fn submit(node: &Arc<SequencerNode>, gossip: Gossip, submissions: &Arc<Semaphore>) {
    let Ok(permit) = submissions.clone().try_acquire_owned() else { return };
    let node = node.clone();
    tokio::spawn(async move {
        let verdict = match node.submit(gossip.bytes.clone()).await {
            Ok(_) => Verdict::Accept,
            Err(SubmitError::Refused(refusal)) if is_never_good(&refusal) => Verdict::Reject,
            Err(_) => Verdict::Ignore,
        };
        gossip.judge(verdict);
        drop(permit);
    });
}

/// Whether a transaction is refused whatever the state: who passes it on has not looked at it.
pub(crate) fn is_never_good(refusal: &joule_protocol::Refusal) -> bool {
    use joule_protocol::{Fault, Refusal};
    refusal.fault() != Fault::Nobody && !matches!(refusal, Refusal::NonceTooLow { .. })
}

/// Where a network listens, once it does.
pub(crate) async fn listening(network: &Network) -> Vec<Multiaddr> {
    let mut listening = network.listening();
    match listening.wait_for(|addresses| !addresses.is_empty()).await {
        Ok(addresses) => addresses.clone(),
        Err(_) => Vec::new(),
    }
}
