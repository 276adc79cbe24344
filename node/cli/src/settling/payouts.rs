//! Payouts to provers go through this node's own mempool.

use joule_operator::Submit;
use joule_rpc::SubmitError;

use crate::EngineHandle;

impl Submit for EngineHandle {
    async fn submit(&self, transaction: Vec<u8>) -> Result<(), String> {
        match Self::submit(self, &transaction).await {
            Ok(_) | Err(SubmitError::AlreadyKnown { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
