//! What runs beside the coordinator of provers: KEDA's answers, and payouts.

use joule_operator::{Payouts, PayoutsSetup};
use joule_prover_network::CoordinatorHandle;
use joule_prover_scaler::{keda, operations};
use joule_rpc::Node as _;
use joule_storage::Database;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{SettlingError, signer};
use crate::{ProversPlan, SequencerNode};

/// Services that run; [`ProverServices::stop`] ends them in order.
#[derive(Debug)]
pub struct ProverServices {
    payouts: Option<Payouts>,
    keda: Option<JoinHandle<std::io::Result<()>>>,
    /// Cancelled when this is dropped, which ends what listens; payouts end with their own handle.
    stop: DropGuard,
}

impl ProverServices {
    /// Starts what the plan names for this coordinator: answers to KEDA, and payments through this node's mempool.
    ///
    /// # Errors
    /// A port that is taken, a key that is not the fee recipient's.
    pub async fn start(
        plan: &ProversPlan,
        coordinator: &CoordinatorHandle,
        node: &SequencerNode,
        database: Database,
    ) -> Result<Self, SettlingError> {
        let token = CancellationToken::new();
        let stop = token.clone().drop_guard();
        let keda = match plan.keda {
            None => None,
            Some(address) => {
                let failed = |error| SettlingError::Keda { address, error };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                // The looking ends when nobody listens.
                let (snapshots, _) = operations::snapshots(coordinator.clone());
                Some(tokio::spawn(keda::serve(listener, snapshots, token)))
            }
        };
        let payouts = match &plan.payout_key_file {
            None => {
                tracing::warn!(
                    "`proofs.payout_key_file` is empty: what provers are owed is written down, and nobody is paid"
                );
                None
            }
            Some(path) => {
                let setup = PayoutsSetup {
                    database,
                    coordinator: coordinator.clone(),
                    key: signer(path)?,
                    node: node.engine().clone(),
                };
                Some(Payouts::start(setup, node.subscribe())?)
            }
        };
        Ok(Self { payouts, keda, stop })
    }

    /// Ends them.
    ///
    /// # Errors
    /// Why one had ended before.
    pub async fn stop(self) -> Result<(), SettlingError> {
        self.stop.disarm().cancel();
        if let Some(payouts) = self.payouts {
            payouts.stop().await?;
        }
        if let Some(keda) = self.keda
            && let Err(error) = keda.await?
        {
            tracing::warn!(%error, "KEDA was not answered to the end");
        }
        Ok(())
    }
}
