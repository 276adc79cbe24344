//! Transactions on their way to the sequencer. Nothing is acknowledged here that the sequencer has not made durable.

use std::time::Duration;

use joule_p2p::{Kind, Network};
use joule_protocol::Hash;
use joule_rpc::{NodeEvent, SubmitError};
use joule_sequencer::CheckedTransaction;
use joule_storage::{Database, StorageError};
use jsonrpsee::{
    core::client::{ClientT, Error as ClientError},
    http_client::{HttpClient, HttpClientBuilder},
    rpc_params,
};
use tokio::{
    sync::{Semaphore, broadcast},
    time::{Instant, timeout_at},
};

/// Longest wait for the sequencer's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Transactions on their way at once.
const UNDER_WAY_MAX: usize = 1_024;

/// The way to the sequencer.
#[derive(Debug)]
enum Way {
    /// Its JSON-RPC, which answers when the transaction is durable.
    Rpc(HttpClient),
    /// Gossip, which answers nothing: a block that the sequencer signed is the acknowledgement.
    Gossip { network: Network, events: broadcast::Sender<NodeEvent>, within: Duration },
    /// None.
    Nowhere,
}

/// Passes transactions on.
#[derive(Debug)]
pub(crate) struct Forward {
    way: Way,
    under_way: Semaphore,
}

fn unavailable(reason: impl Into<String>) -> SubmitError {
    SubmitError::Unavailable { reason: reason.into() }
}

fn disk(error: &StorageError) -> SubmitError {
    unavailable(format!("its disk cannot be read: {error}"))
}

impl Forward {
    /// By JSON-RPC where a URL is known, by gossip otherwise.
    ///
    /// # Errors
    /// A URL that is none.
    pub(crate) fn new(
        sequencer_rpc: Option<&str>,
        network: Option<Network>,
        events: broadcast::Sender<NodeEvent>,
        within: Duration,
    ) -> Result<Self, ClientError> {
        let way = match (sequencer_rpc, network) {
            (Some(url), _) => Way::Rpc(HttpClientBuilder::default().request_timeout(ANSWER_WITHIN).build(url)?),
            (None, Some(network)) => Way::Gossip { network, events, within },
            (None, None) => Way::Nowhere,
        };
        Ok(Self { way, under_way: Semaphore::new(UNDER_WAY_MAX) })
    }

    /// Checks what needs no sequencer, passes the transaction on, and returns when it is durable there.
    ///
    /// # Errors
    /// [`SubmitError`]; `Unavailable` also where nobody can say whether the sequencer has it.
    pub(crate) async fn submit(&self, database: &Database, bytes: Vec<u8>) -> Result<Hash, SubmitError> {
        let hash = CheckedTransaction::check(&bytes, database.genesis().chain_id)?.hash();
        let Ok(_permit) = self.under_way.try_acquire() else {
            return Err(unavailable("too many transactions are on their way; try again"));
        };
        match &self.way {
            Way::Rpc(client) => by_rpc(client, hash, &bytes).await,
            Way::Gossip { network, events, within } => {
                by_gossip(database, network, events.subscribe(), *within, hash, bytes).await
            }
            Way::Nowhere => Err(unavailable("it follows without peers; set `full.sequencer_rpc` or `p2p.bootnodes`")),
        }
    }
}

async fn by_rpc(client: &HttpClient, hash: Hash, bytes: &[u8]) -> Result<Hash, SubmitError> {
    let raw = format!("0x{}", hex::encode(bytes));
    match client.request::<String, _>("eth_sendRawTransaction", rpc_params![raw]).await {
        Ok(answer) if answer == hash.to_string() => Ok(hash),
        Ok(_) => Err(unavailable("the sequencer answered with the hash of another transaction")),
        Err(ClientError::Call(error)) => {
            Err(SubmitError::Upstream { code: error.code(), message: error.message().to_owned() })
        }
        Err(error) => Err(unavailable(format!("the sequencer did not acknowledge it, and may have it: {error}"))),
    }
}

async fn by_gossip(
    database: &Database,
    network: &Network,
    mut events: broadcast::Receiver<NodeEvent>,
    within: Duration,
    hash: Hash,
    bytes: Vec<u8>,
) -> Result<Hash, SubmitError> {
    let is_in_block = || {
        let view = database.view().map_err(|error| disk(&error))?;
        Ok::<_, SubmitError>(view.transaction_place(&hash).map_err(|error| disk(&error))?.is_some())
    };
    if is_in_block()? {
        return Err(SubmitError::AlreadyKnown { hash });
    }
    let until = Instant::now() + within;
    // Sent to nobody, because nobody is there or because it was sent before; in the second case the block may still come.
    let is_sent = network.publish(Kind::Transaction, bytes).await;
    if !is_sent && network.audience().borrow().is_empty() {
        return Err(unavailable("no peer is connected to pass it on to"));
    }
    loop {
        if is_in_block()? {
            return Ok(hash);
        }
        match timeout_at(until, events.recv()).await {
            Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => {}
            Ok(Err(broadcast::error::RecvError::Closed)) => return Err(unavailable("it is stopping")),
            Err(_) => {
                let waited = within.as_millis();
                return Err(unavailable(format!(
                    "it gossiped the transaction, and no block had it within {waited} ms: whether the sequencer has it is not known"
                )));
            }
        }
    }
}
