//! The way out of a frozen chain. Any node that has the last executed state can give the paths; each is checked before it is sent.

use alloy::primitives::Address;
use joule_rpc::wire::{ObjectId, ObjectKind};

use super::{Session, read_json};
use crate::{
    Report, SignedReceipt, SignedVoucher, WalletError,
    arguments::{EscapeCommand, JobName},
};

pub(super) async fn run(session: &Session, command: EscapeCommand) -> Result<Report, WalletError> {
    let signer = session.signer()?;
    let own = signer.address();
    let l2 = session.l2().await?;
    let l1 = session.l1(&l2, Some(signer)).await?;
    let id = |kind, address, nonce| ObjectId { kind, address, nonce };
    match command {
        EscapeCommand::Freeze => l1.freeze().await,
        EscapeCommand::Open => {
            // Any proof of the last executed state carries its checkpoint.
            let proof = l2.state_proof(id(ObjectKind::Chain, Address::ZERO, 0)).await?;
            l1.open_escape(&proof).await
        }
        EscapeCommand::Account { owner } => {
            let proof = l2.state_proof(id(ObjectKind::Account, owner.unwrap_or(own), 0)).await?;
            l1.leave(&proof).await
        }
        EscapeCommand::Device { device } => {
            let proof = l2.state_proof(id(ObjectKind::Device, device, 0)).await?;
            l1.leave(&proof).await
        }
        EscapeCommand::Job(JobName { client, nonce }) => {
            let proof = l2.state_proof(id(ObjectKind::Job, client, nonce)).await?;
            l1.leave(&proof).await
        }
        EscapeCommand::Channel { client, nonce } => {
            let proof = l2.state_proof(id(ObjectKind::Channel, client, nonce)).await?;
            l1.leave(&proof).await
        }
        EscapeCommand::Receipt { signed } => {
            let signed: SignedReceipt = read_json(&signed, "signed compute receipt")?;
            let receipt = &signed.receipt;
            let job = l2.state_proof(id(ObjectKind::Job, receipt.client, receipt.client_nonce)).await?;
            let device = l2.state_proof(id(ObjectKind::Device, receipt.device, 0)).await?;
            l1.present_receipt(&job, &device, &signed).await
        }
        EscapeCommand::Voucher { voucher } => {
            let signed: SignedVoucher = read_json(&voucher, "signed voucher")?;
            let channel = l2.state_proof(id(ObjectKind::Channel, signed.client, signed.client_nonce)).await?;
            l1.present_voucher(&channel, &signed).await
        }
        EscapeCommand::Refund { index } => l1.refund(index).await,
        EscapeCommand::Collect { owner } => l1.collect(owner.unwrap_or(own)).await,
    }
}
