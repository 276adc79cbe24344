//! Jobs.

use alloy::primitives::{Address, U64};
use joule_protocol::{self as protocol, Call};
use joule_rpc::wire::{ComputeReceipt, Job, JobStatus, Listing, Page, protocol_address, protocol_hash};

use super::{Session, now, read_json};
use crate::{
    Report, SignedReceipt, WalletError,
    arguments::{JobCommand, JobName},
    l2::L2,
    statements::{receipt_digest, sign_receipt, signature},
};

pub(super) async fn run(session: &Session, command: JobCommand) -> Result<Report, WalletError> {
    match command {
        JobCommand::Post { model, input_hash, unit_price, unit_limit, deadline_in, tier, device, bond } => {
            let call = Call::PostJob {
                model: protocol_hash(model),
                input_hash: protocol_hash(input_hash),
                unit_price: unit_price.0,
                unit_limit,
                deadline: now()?.saturating_add(deadline_in),
                minimum_tier: tier,
                device: protocol_address(device.unwrap_or_default()),
                bond: bond.0,
            };
            // A product that overflows is over every limit; the node says which.
            let escrow = unit_price.0.saturating_mul(unit_limit.into());
            Ok(session.call(escrow, &call).await?.with("escrowWei", escrow.to_string()))
        }
        JobCommand::Claim { job, device } => {
            let (client, client_nonce) = name(job);
            session.call(0, &Call::ClaimJob { client, client_nonce, device: protocol_address(device) }).await
        }
        JobCommand::Release(job) => {
            let (client, client_nonce) = name(job);
            session.call(0, &Call::ReleaseJob { client, client_nonce }).await
        }
        JobCommand::Sign { receipt } => {
            let receipt: ComputeReceipt = read_json(&receipt, "compute receipt")?;
            let signer = session.signer()?;
            let l2 = session.l2().await?;
            Ok(Report::whole(sign_receipt(&signer, l2.genesis(), receipt)?))
        }
        JobCommand::Settle { signed } => {
            let signed: SignedReceipt = read_json(&signed, "signed compute receipt")?;
            let l2 = session.l2().await?;
            let call = Call::SettleJob {
                receipt: protocol::ComputeReceipt::from(&signed.receipt),
                signature: Some(signature(&signed.signature)?),
            };
            let digest = receipt_digest(l2.genesis(), &signed.receipt);
            Ok(session.call(0, &call).await?.with("receiptDigest", digest))
        }
        JobCommand::Cancel { nonce } => session.call(0, &Call::CancelJob { client_nonce: nonce }).await,
        JobCommand::Expire(job) => {
            let (client, client_nonce) = name(job);
            session.call(0, &Call::ExpireJob { client, client_nonce }).await
        }
        JobCommand::Show(JobName { client, nonce }) => show(&session.l2().await?, client, nonce).await,
        JobCommand::Open => {
            let listing = Listing { status: Some(JobStatus::Open), ..Listing::default() };
            let page: Page<Job> = session.l2().await?.ask("joule_listJobs", (listing,)).await?;
            Ok(Report::whole(page))
        }
    }
}

fn name(job: JobName) -> (protocol::Address, u64) {
    (protocol_address(job.client), job.nonce)
}

async fn show(l2: &L2, client: Address, nonce: u64) -> Result<Report, WalletError> {
    let job: Option<Job> = l2.ask("joule_getJob", (client, U64::from(nonce))).await?;
    let not_found = || WalletError::NotFound(format!("{client} has posted no job with nonce {nonce}"));
    job.map(Report::whole).ok_or_else(not_found)
}
