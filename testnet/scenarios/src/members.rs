//! A member of the committee in this process.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use joule_committee::EcdsaSecretKey;
use joule_committee_client::{Committee, Endpoint};
use joule_dac::{
    api,
    http::{self, HttpLimits},
    keys::MemberKeys,
    l1::Watcher,
    member::Member,
    rules::Promises,
    sync::{self, SyncConfig},
};
use joule_l1::L1Client;
use joule_protocol::{Genesis, Native};
use joule_state::{MemoryStore, StateTree};
use joule_storage::Database;
use joule_testnet_support::CERTIFICATE_LIFETIME_S;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// What makes a member.
#[derive(Debug)]
pub struct MemberSetup<'a> {
    /// Its key, whose address is its account too.
    pub key: EcdsaSecretKey,
    /// Its disk.
    pub database: PathBuf,
    /// The chain.
    pub genesis: &'a Genesis,
    /// Its view of L1.
    pub l1: L1Client,
    /// Everybody in the committee; itself it does not ask.
    pub committee: &'a [Endpoint],
    /// How often it looks at L1.
    pub poll: Duration,
}

/// A member that runs: follows L1 and its peers, signs and serves.
pub struct RunningMember {
    member: Arc<Member>,
    stop: CancellationToken,
    syncing: JoinHandle<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl fmt::Debug for RunningMember {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunningMember").finish_non_exhaustive()
    }
}

impl RunningMember {
    /// Starts it on `listener`, with `before` in front of what it serves.
    ///
    /// # Errors
    /// Its disk, or addresses that are none.
    pub fn start(
        setup: MemberSetup<'_>,
        listener: TcpListener,
        before: impl FnOnce(Router) -> Router,
    ) -> anyhow::Result<Self> {
        let MemberSetup { key, database, genesis, l1, committee, poll } = setup;
        let account = key.address();
        let database = Database::open(database, genesis)?;
        let promises = Promises { expiry_ahead_max_s: 2 * CERTIFICATE_LIFETIME_S };
        let rollup = l1.contracts().rollup;
        let keys = MemberKeys::new(account, Some(key), None)?;
        let member = Member::open(database, keys, genesis.l1_chain_id, rollup, promises)?;
        let tree = StateTree::genesis(MemoryStore::default(), genesis)?;
        let watcher = Watcher::new(l1, genesis.checkpoint::<Native>(tree.root()), 0);
        let peers = committee.iter().filter(|peer| peer.account != account).cloned().collect();
        let config = SyncConfig {
            poll,
            peer_limit: Duration::from_secs(10),
            snapshot_every: Duration::ZERO,
            retention_s: CERTIFICATE_LIFETIME_S,
        };
        let stop = CancellationToken::new();
        let syncing = sync::run(member.clone(), watcher, Arc::new(Committee::new(peers)?), config, stop.clone());
        let router = before(api::router(member.clone()));
        let serving = http::serve(listener, router, HttpLimits::default(), stop.clone().cancelled_owned());
        Ok(Self { member, stop, syncing: tokio::spawn(syncing), serving: tokio::spawn(serving) })
    }

    /// Ends it. Its disk is closed when this returns, so that it can be opened again.
    ///
    /// # Errors
    /// A task of it panicked, or its listener failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { mut member, stop, syncing, serving } = self;
        stop.cancel();
        syncing.await?;
        serving.await??;
        // The last task that reads the disk may still be ending.
        while let Err(shared) = Arc::try_unwrap(member).map(drop) {
            member = shared;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
