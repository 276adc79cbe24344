//! A wallet's view of the node: plain JSON-RPC, as MetaMask would use it.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionReceipt,
};
use anyhow::{Context, ensure};
use joule_protocol::{Address as L2Address, Amount, Call};
use joule_workload::{Key, sign_call};

/// How long a transaction may take to get into a block before something is wrong.
const RECEIPT_WAIT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// A connection to the node.
#[derive(Clone, Debug)]
pub struct Client {
    provider: DynProvider,
    chain_id: u64,
    fee_max: u128,
}

impl Client {
    /// Connects, and learns the chain's id and what gas costs.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let provider = ProviderBuilder::new().connect_http(url.parse()?).erased();
        let (chain_id, fee_max) = (provider.get_chain_id().await?, provider.get_gas_price().await?);
        Ok(Self { provider, chain_id, fee_max })
    }

    /// The connection.
    pub fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// An account's balance in wei.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn balance(&self, address: &L2Address) -> anyhow::Result<U256> {
        Ok(self.provider.get_balance(Address::new(address.0)).await?)
    }

    /// The next nonce of an account, what waits in the pool included.
    ///
    /// # Errors
    /// The node does not answer.
    pub async fn nonce(&self, key: &Key) -> anyhow::Result<u64> {
        Ok(self.provider.get_transaction_count(Address::new(key.address.0)).pending().await?)
    }

    /// Signs and sends; returns the nonce and the hash, once the node has acknowledged it.
    ///
    /// # Errors
    /// The node does not answer, or refuses it.
    pub async fn send(
        &self,
        key: &Key,
        to: &L2Address,
        value: Amount,
        call: Option<&Call>,
    ) -> anyhow::Result<(u64, B256)> {
        let nonce = self.nonce(key).await?;
        let bytes = sign_call(self.chain_id, key, nonce, self.fee_max, to, value, call);
        let sent: B256 = self.provider.client().request("eth_sendRawTransaction", [Bytes::from(bytes)]).await?;
        Ok((nonce, sent))
    }

    /// Waits for a transaction's receipt, which must be of a success.
    ///
    /// # Errors
    /// It is in no block after a minute, or was rejected.
    pub async fn receipt(&self, hash: B256) -> anyhow::Result<TransactionReceipt> {
        let wait = async {
            loop {
                if let Some(receipt) = self.provider.get_transaction_receipt(hash).await? {
                    return anyhow::Ok(receipt);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let receipt = tokio::time::timeout(RECEIPT_WAIT, wait)
            .await
            .with_context(|| format!("transaction {hash} is in no block after {RECEIPT_WAIT:?}"))??;
        ensure!(receipt.status(), "transaction {hash} was rejected");
        Ok(receipt)
    }

    /// Sends and waits; returns the nonce and the receipt.
    ///
    /// # Errors
    /// As [`Client::send`] and [`Client::receipt`].
    pub async fn run(
        &self,
        key: &Key,
        to: &L2Address,
        value: Amount,
        call: Option<&Call>,
    ) -> anyhow::Result<(u64, TransactionReceipt)> {
        let (nonce, hash) = self.send(key, to, value, call).await?;
        Ok((nonce, self.receipt(hash).await?))
    }

    /// Waits until `holds` says so, at most `limit`.
    ///
    /// # Errors
    /// It did not find anything, or could not look.
    pub async fn until<T>(
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let wait = async {
            loop {
                if let Some(found) = look().await? {
                    return anyhow::Ok(found);
                }
                tokio::time::sleep(POLL * 4).await;
            }
        };
        tokio::time::timeout(limit, wait).await.with_context(|| format!("{what}: not after {limit:?}"))?
    }
}
