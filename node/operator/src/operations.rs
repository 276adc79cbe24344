//! Settlement at work in this process.

use alloy::{network::EthereumWallet, signers::local::PrivateKeySigner};
use joule_l1::{FeePolicy, L1Client, Operator, OutboxPolicy, SendError};
use joule_settlement::{Driver, DriverConfig, DriverError, Handle, Notice, ProofSource, Publisher, SettlementStore};
use joule_storage::{BatchRecord, Database, StorageError};
use thiserror::Error;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// What settling takes.
#[derive(Debug)]
pub struct OperationsSetup<P, Q> {
    /// The node's disk.
    pub database: Database,
    /// L1.
    pub l1: L1Client,
    /// The sequencer's key, which commits batches; nobody else sends with it.
    pub key: PrivateKeySigner,
    /// What transactions may cost.
    pub fees: FeePolicy,
    /// How transactions wait.
    pub outbox: OutboxPolicy,
    /// How settlement is driven.
    pub driver: DriverConfig,
    /// Where certificates come from.
    pub publisher: P,
    /// Where proofs come from.
    pub proofs: Q,
}

/// Why settling did not start, or ended.
#[derive(Debug, Error)]
pub enum OperationsError {
    /// The sending account.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Settlement.
    #[error(transparent)]
    Settlement(#[from] DriverError),
    /// A task of ours panicked.
    #[error("settling ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Settlement that runs. Dropping it ends its tasks at their next wait, and with the driver what it has asked committee and provers for; that is what a kill would do, and nothing is lost by it.
#[derive(Debug)]
pub struct Operations {
    handle: Handle,
    notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
    driver: Ended,
    feeder: Ended,
}

/// A task that is aborted when nobody waits for it any more.
#[derive(Debug)]
struct Ended(JoinHandle<Result<(), DriverError>>);

impl Ended {
    async fn wait(mut self) -> Result<(), OperationsError> {
        Ok((&mut self.0).await??)
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Operations {
    /// Starts to settle what the database holds and every batch whose number comes over `sealed`.
    ///
    /// # Errors
    /// The disk is damaged, or L1 cannot be asked.
    pub async fn start<P: Publisher, Q: ProofSource>(
        setup: OperationsSetup<P, Q>,
        mut sealed: broadcast::Receiver<u64>,
    ) -> Result<Self, OperationsError> {
        let store = SettlementStore::new(setup.database.clone());
        let wallet = EthereumWallet::from(setup.key);
        let confirmations = setup.driver.confirmations;
        let operator = Operator::open(setup.l1, wallet, store, setup.fees, setup.outbox, confirmations).await?;
        // Opening takes up a bounded number of batches, so all that are not executed are told: the same one told twice is nothing new.
        let mut next = 1;
        let (driver, handle, notices) = Driver::open(setup.driver, operator, setup.publisher, setup.proofs).await?;
        let stop = CancellationToken::new();
        let feeder = tokio::spawn({
            let (handle, stop, database) = (handle.clone(), stop.clone(), setup.database);
            async move {
                loop {
                    // Told or not (a slow listener misses some): what counts is what the database holds.
                    let (first, last) = unsettled(&database).map_err(|error| DriverError::Store(error.into()))?;
                    next = next.max(first);
                    while next <= last {
                        tokio::select! {
                            told = handle.sealed(next) => told?,
                            () = stop.cancelled() => return Ok(()),
                        }
                        next += 1;
                    }
                    tokio::select! {
                        told = sealed.recv() => match told {
                            // Sealed again under its number: settlement has dropped the other, or raises an alarm.
                            Ok(number) => next = next.min(number),
                            // Any of those missed may have been sealed again.
                            Err(RecvError::Lagged(_)) => next = 0,
                            Err(RecvError::Closed) => return Ok(()),
                        },
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        });
        let driver = tokio::spawn(driver.run(stop.clone().cancelled_owned()));
        Ok(Self { handle, notices, stop, driver: Ended(driver), feeder: Ended(feeder) })
    }

    /// For requests to settlement.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The next thing that settlement has to say; `None` once it has ended.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// Ends in order.
    ///
    /// # Errors
    /// Why settling had ended before.
    pub async fn stop(self) -> Result<(), OperationsError> {
        self.stop.cancel();
        let Self { driver, feeder, .. } = self;
        // Both, also where the first had failed: nothing is left running.
        let (feeder, driver) = (feeder.wait().await, driver.wait().await);
        driver.and(feeder)
    }
}

/// The first batch that is not executed, and the last one.
fn unsettled(database: &Database) -> Result<(u64, u64), StorageError> {
    let view = database.view()?;
    let number = |batch: Option<BatchRecord>| batch.map_or(0, |batch| batch.number);
    Ok((number(view.executed_batch()?) + 1, number(view.last_batch()?)))
}
