//! Compute receipts.

use alloy::primitives::{Address, B256};
use joule_rpc::{
    bundle::verify_bundle,
    wire::{ReceiptBundle, ReceiptId},
};

use super::{Session, read_json};
use crate::{Report, WalletError, arguments::ReceiptCommand};

pub(super) async fn run(session: &Session, command: ReceiptCommand) -> Result<Report, WalletError> {
    match command {
        ReceiptCommand::Show { id, nonce } => {
            let bundle: ReceiptBundle =
                session.l2().await?.ask("joule_getComputeReceipt", (receipt_id(&id, nonce)?,)).await?;
            Ok(Report::whole(bundle))
        }
        ReceiptCommand::Verify { bundle, checkpoint } => {
            let bundle: ReceiptBundle = read_json(&bundle, "compute receipt's bundle")?;
            // L1's word is asked for only if nobody has brought a checkpoint along.
            let executed = match checkpoint {
                Some(checkpoint) => Some(checkpoint),
                None if session.has_l1() => {
                    let l2 = session.l2().await?;
                    Some(session.l1(&l2, None).await?.executed_checkpoint().await?)
                }
                None => None,
            };
            let verified = verify_bundle(&bundle, executed)?;
            let remains = match executed {
                Some(_) => "nothing",
                None => "that L1 has executed this checkpoint: name one with --checkpoint, or --l1-rpc",
            };
            Ok(Report::new()
                .with("receiptDigest", verified.digest)
                .with("device", verified.device)
                .with("client", bundle.receipt.client)
                .with("units", bundle.receipt.units)
                .with("paidWei", verified.paid.to_string())
                .with("checkpointHash", verified.checkpoint_hash)
                .with("remainsToCheck", remains))
        }
    }
}

/// A settling transaction, or a client with a nonce.
fn receipt_id(id: &str, nonce: Option<u64>) -> Result<ReceiptId, WalletError> {
    let unclear = || WalletError::NotFound(format!("{id} is neither a transaction's hash nor, with a nonce, a client"));
    match nonce {
        None => Ok(ReceiptId::Transaction { transaction_hash: id.parse::<B256>().map_err(|_| unclear())? }),
        Some(client_nonce) => {
            Ok(ReceiptId::Job { client: id.parse::<Address>().map_err(|_| unclear())?, client_nonce })
        }
    }
}
