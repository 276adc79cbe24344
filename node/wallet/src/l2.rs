//! The chain's node, over plain JSON-RPC.

use std::path::Path;

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256},
    rpc::{
        client::RpcClient,
        json_rpc::{RpcRecv, RpcSend},
        types::TransactionReceipt,
    },
    signers::local::PrivateKeySigner,
    transports::http::reqwest::Url,
};
use joule_protocol::{self as protocol, Call, CallKind, Native, Unsigned, encode_eip1559, gas_of};
use joule_rpc::wire::{Genesis, L1Contracts, ObjectId, StateProof, address_of, protocol_address};
use serde::Deserialize;
use serde_json::json;

use crate::{Report, WalletError, keys::sign};

/// A receipt, and why its transaction did nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Included {
    #[serde(flatten)]
    receipt: TransactionReceipt,
    #[serde(default)]
    revert_message: Option<String>,
}

/// A node, and the network it must be of.
#[derive(Debug)]
pub(crate) struct L2 {
    client: RpcClient,
    url: String,
    genesis: Genesis,
}

impl L2 {
    /// Connects, and compares the node's network with the network file, if there is one.
    ///
    /// # Errors
    /// `MalformedUrl`, `Unreachable`, `OtherNetwork`, `MalformedFile`.
    pub(crate) async fn connect(url: &str, network: Option<&Path>) -> Result<Self, WalletError> {
        let parsed = url.parse::<Url>().map_err(|_| WalletError::MalformedUrl { text: url.to_owned() })?;
        let client = RpcClient::new_http(parsed);
        let genesis = client.request_noparams::<Genesis>("joule_genesis").await;
        let genesis = genesis.map_err(|error| WalletError::rpc(url, error))?;
        if let Some(path) = network {
            check_network(&genesis, path)?;
        }
        Ok(Self { client, url: url.to_owned(), genesis })
    }

    /// What the chain started from.
    pub(crate) fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Where the contracts are on L1.
    ///
    /// # Errors
    /// `NotSettled`.
    pub(crate) fn contracts(&self) -> Result<L1Contracts, WalletError> {
        self.genesis.contracts.ok_or(WalletError::NotSettled)
    }

    /// Asks the node.
    pub(crate) async fn ask<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, WalletError> {
        self.client.request(method, params).await.map_err(|error| WalletError::rpc(&self.url, error))
    }

    /// An account's balance.
    pub(crate) async fn balance(&self, address: Address) -> Result<U256, WalletError> {
        self.ask("eth_getBalance", (address, "latest")).await
    }

    /// An account's next nonce, what waits in the pool included.
    pub(crate) async fn nonce(&self, address: Address) -> Result<u64, WalletError> {
        self.ask::<_, U64>("eth_getTransactionCount", (address, "pending")).await.map(|nonce| nonce.to())
    }

    /// Proof of an object in the last executed state, not yet checked.
    pub(crate) async fn state_proof(&self, id: ObjectId) -> Result<StateProof, WalletError> {
        self.ask("joule_getStateProof", (id,)).await
    }

    /// Calls a system contract.
    pub(crate) async fn call(
        &self,
        signer: &PrivateKeySigner,
        value: u128,
        call: &Call,
    ) -> Result<Report, WalletError> {
        let (to, data) = call.encode();
        self.send(signer, to, value, data, call.kind()).await
    }

    /// Sends base token.
    pub(crate) async fn transfer(
        &self,
        signer: &PrivateKeySigner,
        to: Address,
        value: u128,
    ) -> Result<Report, WalletError> {
        self.send(signer, protocol_address(to), value, Vec::new(), CallKind::Transfer).await
    }

    /// Signs, sends and waits. What would do nothing is found out before anybody pays for it.
    async fn send(
        &self,
        signer: &PrivateKeySigner,
        to: protocol::Address,
        value: u128,
        data: Vec<u8>,
        kind: CallKind,
    ) -> Result<Report, WalletError> {
        let from = signer.address();
        let base_fee = self.ask::<_, U256>("eth_gasPrice", ()).await?;
        // Room for the base fee to double before the transaction is in a block; what is not needed is not paid.
        let fee_max = u128::try_from(base_fee).unwrap_or(u128::MAX).saturating_mul(2);
        let dry_run = json!({
            "from": from,
            "to": address_of(to),
            "value": U256::from(value),
            "data": Bytes::copy_from_slice(&data),
            "maxFeePerGas": U256::from(fee_max),
        });
        self.ask::<_, U256>("eth_estimateGas", (dry_run,)).await?;
        let nonce = self.nonce(from).await?;
        let fields = Unsigned {
            chain_id: self.genesis.chain_id,
            nonce,
            fee_max,
            gas_limit: gas_of(kind),
            to,
            value,
            data: &data,
        };
        let bytes = Bytes::from(encode_eip1559::<Native>(&fields, |digest| sign(signer, &digest)));
        let included: Included = self.ask("eth_sendRawTransactionSync", (bytes,)).await?;
        let hash = included.receipt.transaction_hash;
        if !included.receipt.status() {
            let reason = included.revert_message.unwrap_or_else(|| "the node does not say why".into());
            return Err(WalletError::Rejected { hash, reason });
        }
        let fee = u128::from(included.receipt.gas_used).saturating_mul(included.receipt.effective_gas_price);
        Ok(Report::new()
            .with("transactionHash", hash)
            .with("block", included.receipt.block_number)
            .with("from", from)
            .with("nonce", nonce)
            .with("feeWei", fee.to_string()))
    }

    /// Whether a hash is one of a transaction or request in a block.
    pub(crate) async fn block_of(&self, hash: B256) -> Result<Option<u64>, WalletError> {
        let receipt: Option<Included> = self.ask("eth_getTransactionReceipt", (hash,)).await?;
        Ok(receipt.and_then(|included| included.receipt.block_number))
    }
}

/// Compares what a node says of its network with what a file says: an address of a contract to send money to must not be the node's word alone.
fn check_network(genesis: &Genesis, path: &Path) -> Result<(), WalletError> {
    let text = std::fs::read(path).map_err(WalletError::file(path))?;
    let malformed = |error| WalletError::MalformedFile { path: path.to_owned(), what: "network file", error };
    let expected: Genesis = serde_json::from_slice(&text).map_err(malformed)?;
    let differs = |field, got: String, expected: String| Err(WalletError::OtherNetwork { field, got, expected });
    if genesis.id != expected.id {
        return differs("genesis", genesis.id.to_string(), expected.id.to_string());
    }
    if genesis.contracts != expected.contracts {
        return differs("contracts", format!("{:?}", genesis.contracts), format!("{:?}", expected.contracts));
    }
    if genesis != &expected {
        return differs("configuration", format!("{genesis:?}"), format!("{expected:?}"));
    }
    Ok(())
}
