//! Payments whose every one is acknowledged, and must be in a block afterwards.

use std::{collections::VecDeque, time::Duration};

use alloy::{
    primitives::{B256, Bytes},
    providers::Provider as _,
};
use anyhow::Context as _;
use joule_protocol::Amount;
use joule_workload::payments;

use crate::{Client, world::World};

/// What each wallet deposits.
pub(crate) const DEPOSIT: Amount = 1 << 64;
/// Payments that a scenario has at hand.
const COUNT: usize = 2_000;
const RECEIPT_WAIT: Duration = Duration::from_secs(30);

/// A stream of payments of every sort, and what was acknowledged of it.
#[derive(Debug)]
pub(crate) struct Payer {
    left: VecDeque<Vec<u8>>,
    acknowledged: Vec<B256>,
}

impl Payer {
    /// Deposits for all wallets on L1, and makes their payments.
    pub(crate) async fn fund(world: &World) -> anyhow::Result<Self> {
        for wallet in 0..world.population.wallets.len() {
            world.deposit(wallet, DEPOSIT).await?;
        }
        let now = world.client().await?.head().await?.timestamp_s;
        let stream = payments(&world.population, now, 1_000_000_000, COUNT);
        let left = stream.setup.into_iter().chain(stream.payments.into_iter().map(|(_, bytes)| bytes)).collect();
        Ok(Self { left, acknowledged: Vec::new() })
    }

    /// Sends so many. Returns early, without an error, when the sequencer does not answer: what it did not acknowledge is sent again next time.
    pub(crate) async fn pay(&mut self, client: &Client, count: usize) -> anyhow::Result<usize> {
        for sent in 0..count {
            let bytes = Bytes::from(self.left.front().context("no payments are left")?.clone());
            let hash = alloy::primitives::keccak256(&bytes);
            let answer: Result<B256, _> = client.provider().client().request("eth_sendRawTransaction", [bytes]).await;
            match answer {
                Ok(_) => {}
                // It was durable before the acknowledgement was lost.
                Err(error) if error.as_error_resp().is_some_and(|error| is_known(&error.message)) => {}
                Err(error) if error.is_transport_error() => return Ok(sent),
                Err(error) => return Err(error).context("a payment was refused"),
            }
            self.acknowledged.push(hash);
            self.left.pop_front();
        }
        Ok(count)
    }

    /// Waits until everything that was ever acknowledged is in a block, and succeeded.
    pub(crate) async fn settled(&self, client: &Client) -> anyhow::Result<usize> {
        for hash in &self.acknowledged {
            tokio::time::timeout(RECEIPT_WAIT, client.receipt(*hash))
                .await
                .with_context(|| format!("{hash} was acknowledged and is in no block"))??;
        }
        Ok(self.acknowledged.len())
    }
}

/// Whether the sequencer says that it has the transaction: its nonce is used, or it waits in the pool.
fn is_known(message: &str) -> bool {
    message.contains("nonce") || message.contains("known")
}
