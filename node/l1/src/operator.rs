//! Sending transactions: the outbox at work.

use std::{collections::BTreeMap, error::Error as StdError};

use alloy::{
    consensus::{TxEip1559, TypedTransaction},
    eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718},
    network::{Ethereum, EthereumWallet, NetworkWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, TxKind, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
};
use joule_protocol::limits::L1_TRANSACTION_GAS_MAX;
use thiserror::Error;

use crate::{
    AccountView, Attempt, BlockRef, Entry, FeePolicy, Fees, L1Client, L1Error, Outbox, OutboxAction, OutboxPolicy,
    Refusal, TAG_BYTES_MAX,
    entry::{ATTEMPTS_MAX, RAW_BYTES_MAX},
    error::message,
};

/// Added to an estimate, percent: the state may have moved when the transaction runs.
const GAS_MARGIN_PERCENT: u64 = 20;
const TRANSFER_GAS: u64 = 21_000;

/// Where the outbox is kept. Each change is durable before the call returns; the order of changes is kept.
pub trait OutboxStore {
    /// What can go wrong below.
    type Error: StdError + Send + Sync + 'static;

    /// All entries. Whoever cannot read one refuses: a forgotten transaction could be sent twice under two nonces.
    ///
    /// # Errors
    /// The store failed, or holds bytes that are no entry.
    fn entries(&self) -> Result<Vec<Entry>, Self::Error>;

    /// Writes an entry down, in the place of the one with its nonce.
    ///
    /// # Errors
    /// The store failed; nothing may be sent then.
    fn put(&self, entry: &Entry) -> Result<(), Self::Error>;

    /// Removes the entry of a nonce.
    ///
    /// # Errors
    /// The store failed.
    fn remove(&self, nonce: u64) -> Result<(), Self::Error>;
}

/// How much gas a transaction gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gas {
    /// What the node estimates and a margin. A call that would fail is refused instead of sent.
    Estimate,
    /// This much: for calls that rest on others still under way, which no node can estimate.
    Limit(u64),
}

/// Something that a person should look at. The node goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperatorAlarm {
    /// Somebody else used nonces of this account: a second node with the same key, or a stolen key.
    ForeignNonces {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A transaction written down here was displaced by one that is not.
    Displaced {
        /// Its nonce.
        nonce: u64,
    },
    /// A transaction ran and failed.
    Failed {
        /// Its nonce.
        nonce: u64,
        /// The transaction.
        hash: B256,
    },
    /// A transaction waits, and a better offer would pass the most allowed.
    FeesAtMost {
        /// Its nonce.
        nonce: u64,
        /// What the policy allows, wei per gas.
        cap_max: u128,
    },
    /// The node does not take a transaction.
    NotAccepted {
        /// Its nonce.
        nonce: u64,
        /// The node's words.
        reason: String,
    },
}

/// A transaction whose nonce L1 has not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub tag: Vec<u8>,
    /// Whether its last version does nothing; an earlier one may still get into a block.
    pub is_cancelled: bool,
}

/// What an observation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Transactions that may still happen, by nonce.
    pub pending: Vec<Pending>,
    /// Tags of transactions that ran and failed since the last report.
    pub failed: Vec<Vec<u8>>,
    /// What a person should look at.
    pub alarms: Vec<OperatorAlarm>,
}

/// Why nothing was sent. No nonce was taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The contract would refuse it.
    #[error("L1 would refuse the transaction: {0}")]
    Refused(Refusal),
    /// L1 could not be asked.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// It could not be written down.
    #[error("the outbox could not be written: {0}")]
    Store(#[source] Box<dyn StdError + Send + Sync>),
    /// Too many transactions wait already.
    #[error("{pending} transactions wait for a block already")]
    Full {
        /// How many.
        pending: usize,
    },
    /// Longer than is kept or relayed.
    #[error("{got} bytes of {what}; the most is {most}")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
        /// How many.
        got: usize,
    },
    /// It needs more gas than one transaction may ask for.
    #[error("the transaction needs {got} gas; one may ask for {L1_TRANSACTION_GAS_MAX} (EIP-7825)")]
    TooMuchGas {
        /// Gas needed.
        got: u64,
    },
    /// The key did not sign.
    #[error("the operator's key did not sign: {0}")]
    Signer(#[from] alloy::signers::Error),
    /// No such transaction waits.
    #[error("no transaction with nonce {nonce} waits")]
    NotPending {
        /// The nonce.
        nonce: u64,
    },
}

fn store(error: impl StdError + Send + Sync + 'static) -> SendError {
    SendError::Store(Box::new(error))
}

/// An account on L1 that transactions are sent from, and from nowhere else.
#[derive(Debug)]
pub struct Operator<S> {
    client: L1Client,
    wallet: EthereumWallet,
    address: Address,
    store: S,
    fees: FeePolicy,
    confirmations: u64,
    outbox: Outbox,
    /// The account's next nonce and L1's head at the last observation.
    view: AccountView,
    /// Highest next nonce seen: nonces below were accounted for.
    seen: u64,
    /// Used nonces whose receipts were read, until they are settled.
    read: BTreeMap<u64, bool>,
    /// What was found and not reported yet: an observation that fails in the middle reports nothing, and nothing is found twice.
    failed: Vec<Vec<u8>>,
    alarms: Vec<OperatorAlarm>,
}

impl<S: OutboxStore> Operator<S> {
    /// Takes up the account with what was written down. Nonces count as settled `confirmations` blocks below the head.
    ///
    /// # Errors
    /// The store failed, or L1 could not be asked.
    pub async fn open(
        client: L1Client,
        wallet: EthereumWallet,
        store: S,
        fees: FeePolicy,
        policy: OutboxPolicy,
        confirmations: u64,
    ) -> Result<Self, SendError> {
        let address = NetworkWallet::<Ethereum>::default_signer_address(&wallet);
        let outbox = Outbox::new(policy, store.entries().map_err(self::store)?);
        let head = client.head().await?;
        let mut operator = Self {
            client,
            wallet,
            address,
            store,
            fees,
            confirmations,
            outbox,
            view: AccountView { head: head.number, used: 0, settled: 0 },
            seen: 0,
            read: BTreeMap::new(),
            failed: Vec::new(),
            alarms: Vec::new(),
        };
        operator.view = operator.account(&head).await?;
        operator.seen = operator.view.used;
        Ok(operator)
    }

    /// The account.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Where the outbox is kept.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The connection.
    pub fn client(&self) -> &L1Client {
        &self.client
    }

    /// Writes a transaction down and sends it. From then on it is sent until a block has it, over restarts too.
    ///
    /// # Errors
    /// The contract would refuse it, or it could not be written down: no nonce is taken and nothing sent. A node that cannot be reached
    /// after the writing is no error: the next observation sends it.
    pub async fn send(&mut self, tag: Vec<u8>, to: Address, input: Bytes, gas: Gas) -> Result<u64, SendError> {
        for (what, most, got) in [("tag", TAG_BYTES_MAX, tag.len()), ("input", RAW_BYTES_MAX - 1_024, input.len())] {
            if got > most {
                return Err(SendError::TooLong { what, most, got });
            }
        }
        if !self.outbox.has_room(self.view.used) {
            return Err(SendError::Full { pending: self.outbox.pending(self.view.used).count() });
        }
        let gas = match gas {
            Gas::Limit(gas) => gas,
            Gas::Estimate => self.estimate(to, &input).await?,
        };
        if gas > L1_TRANSACTION_GAS_MAX {
            return Err(SendError::TooMuchGas { got: gas });
        }
        let (base_fee, tip) = self.market().await?;
        let nonce = self.outbox.next_nonce(self.view.used);
        let entry = Entry { nonce, tag, to, input, gas, attempts: Vec::new(), raw: Bytes::new() };
        self.sign_and_send(entry, self.fees.offer(base_fee, tip)).await?;
        Ok(nonce)
    }

    /// Replaces a transaction that waits by one that does nothing. An earlier version may still win.
    ///
    /// # Errors
    /// No such transaction, fees at their most, or it could not be written down.
    pub async fn cancel(&mut self, nonce: u64) -> Result<(), SendError> {
        let entry = self.outbox.entry(nonce).filter(|entry| entry.nonce >= self.view.used);
        let mut entry = entry.cloned().ok_or(SendError::NotPending { nonce })?;
        let (base_fee, tip) = self.market().await?;
        let Some(fees) = self.fees.raise(entry.last().fees, base_fee, tip) else {
            return Err(SendError::NotPending { nonce });
        };
        (entry.to, entry.input, entry.gas) = (self.address, Bytes::new(), TRANSFER_GAS);
        self.sign_and_send(entry, fees).await.map(drop)
    }

    /// Compares the outbox with L1 at a block, and does what is needed: sends again, pays more, forgets what is settled.
    ///
    /// # Errors
    /// L1 could not be asked, or the store failed. Nothing is lost; the next observation goes on.
    pub async fn observe(&mut self, at: &BlockRef) -> Result<Report, SendError> {
        self.view = self.account(at).await?;
        let view = self.view;
        let foreign: Vec<u64> = (self.seen..view.used).filter(|&nonce| self.outbox.entry(nonce).is_none()).collect();
        if let (Some(&first), Some(&last)) = (foreign.first(), foreign.last()) {
            self.alarm(OperatorAlarm::ForeignNonces { first, last });
        }
        self.seen = self.seen.max(view.used);

        self.read.retain(|&nonce, _| nonce < view.used);
        let used: Vec<Entry> = self.outbox.entries().filter(|entry| entry.nonce < view.used).cloned().collect();
        for entry in used {
            if self.read.contains_key(&entry.nonce) {
                continue;
            }
            if let Some((hash, success)) = self.outcome(&entry).await? {
                self.read.insert(entry.nonce, success);
                if !success {
                    self.alarm(OperatorAlarm::Failed { nonce: entry.nonce, hash });
                    self.failed.push(entry.tag);
                }
            }
        }
        for action in self.outbox.observe(&view) {
            match action {
                OutboxAction::Forget { nonce } => {
                    if self.read.remove(&nonce).is_none() {
                        self.alarm(OperatorAlarm::Displaced { nonce });
                    }
                    self.store.remove(nonce).map_err(store)?;
                    self.outbox.remove(nonce);
                }
                OutboxAction::Send { nonce } => {
                    let Some(entry) = self.outbox.entry(nonce) else { continue };
                    let raw = entry.raw.clone();
                    if let Some(reason) = self.broadcast(&raw).await {
                        self.alarm(OperatorAlarm::NotAccepted { nonce, reason });
                    }
                }
                OutboxAction::Raise { nonce } => {
                    let Some(entry) = self.outbox.entry(nonce).cloned() else { continue };
                    let (base_fee, tip) = self.market().await?;
                    match self.fees.raise(entry.last().fees, base_fee, tip) {
                        Some(fees) => {
                            if let Some(reason) = self.sign_and_send(entry, fees).await? {
                                self.alarm(OperatorAlarm::NotAccepted { nonce, reason });
                            }
                        }
                        None => {
                            self.alarm(OperatorAlarm::FeesAtMost { nonce, cap_max: self.fees.cap_max });
                            // Dear or not, the pool may have lost it.
                            let _ = self.broadcast(&entry.raw).await;
                        }
                    }
                }
                OutboxAction::Fill { nonce } => {
                    let (base_fee, tip) = self.market().await?;
                    let entry = Entry {
                        nonce,
                        tag: Vec::new(),
                        to: self.address,
                        input: Bytes::new(),
                        gas: TRANSFER_GAS,
                        attempts: Vec::new(),
                        raw: Bytes::new(),
                    };
                    self.sign_and_send(entry, self.fees.offer(base_fee, tip)).await?;
                }
            }
        }
        let pending = self.outbox.pending(view.used).map(|entry| Pending {
            nonce: entry.nonce,
            tag: entry.tag.clone(),
            is_cancelled: entry.to == self.address,
        });
        let pending = pending.collect();
        Ok(Report { pending, failed: std::mem::take(&mut self.failed), alarms: std::mem::take(&mut self.alarms) })
    }

    fn alarm(&mut self, alarm: OperatorAlarm) {
        // The same one each time while observations fail is one alarm.
        if !self.alarms.contains(&alarm) {
            self.alarms.push(alarm);
        }
    }

    async fn account(&self, at: &BlockRef) -> Result<AccountView, L1Error> {
        let provider = self.client.provider();
        let used = provider.get_transaction_count(self.address).block_id(BlockId::hash(at.hash)).await?;
        let settled_at = at.number.saturating_sub(self.confirmations);
        let settled = provider.get_transaction_count(self.address).block_id(settled_at.into()).await?;
        Ok(AccountView { head: at.number, used, settled: settled.min(used) })
    }

    /// Which version is in a block, and whether it succeeded. The last one first: it is the likeliest.
    async fn outcome(&self, entry: &Entry) -> Result<Option<(B256, bool)>, L1Error> {
        for attempt in entry.attempts.iter().rev() {
            if let Some(receipt) = self.client.provider().get_transaction_receipt(attempt.hash).await? {
                return Ok(Some((attempt.hash, receipt.status())));
            }
        }
        Ok(None)
    }

    async fn estimate(&self, to: Address, input: &Bytes) -> Result<u64, SendError> {
        let request = TransactionRequest::default().with_from(self.address).with_to(to).with_input(input.clone());
        match self.client.provider().estimate_gas(request).block(BlockId::latest()).await {
            Ok(gas) => {
                let with_margin = gas.saturating_add(gas / 100 * GAS_MARGIN_PERCENT);
                Ok(if gas <= L1_TRANSACTION_GAS_MAX { with_margin.min(L1_TRANSACTION_GAS_MAX) } else { gas })
            }
            Err(error) => match Refusal::from_transport(&error) {
                Some(refusal) => Err(SendError::Refused(refusal)),
                None => Err(L1Error::from(error).into()),
            },
        }
    }

    /// Base fee and suggested tip.
    async fn market(&self) -> Result<(u64, u128), L1Error> {
        let header = self.client.header(BlockNumberOrTag::Latest).await?;
        let base_fee = header.and_then(|header| header.base_fee_per_gas).unwrap_or_default();
        // Not every node suggests tips; the policy has a least one.
        let tip = self.client.provider().get_max_priority_fee_per_gas().await.unwrap_or_default();
        Ok((base_fee, tip))
    }

    /// Signs a version, writes it down, and only then sends it. Returns the node's words if it does not take it.
    async fn sign_and_send(&mut self, mut entry: Entry, fees: Fees) -> Result<Option<String>, SendError> {
        let transaction = TypedTransaction::Eip1559(TxEip1559 {
            chain_id: self.client.constants().l1_chain_id,
            nonce: entry.nonce,
            gas_limit: entry.gas,
            max_fee_per_gas: fees.cap,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(entry.to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: entry.input.clone(),
        });
        let signed = NetworkWallet::<Ethereum>::sign_transaction_from(&self.wallet, self.address, transaction).await?;
        entry.raw = signed.encoded_2718().into();
        if entry.raw.len() > RAW_BYTES_MAX {
            return Err(SendError::TooLong { what: "transaction", most: RAW_BYTES_MAX, got: entry.raw.len() });
        }
        if entry.attempts.len() == ATTEMPTS_MAX {
            entry.attempts.remove(0);
        }
        entry.attempts.push(Attempt { fees, hash: *signed.tx_hash(), block: self.view.head });
        self.store.put(&entry).map_err(store)?;
        let raw = entry.raw.clone();
        self.outbox.put(entry);
        Ok(self.broadcast(&raw).await)
    }

    /// Sends bytes that are written down. Whatever comes of it, the next observation looks at L1 itself; the node's words are returned
    /// if they say more than that it has the transaction already or that the nonce is used.
    async fn broadcast(&self, raw: &Bytes) -> Option<String> {
        let error = self.client.provider().send_raw_transaction(raw).await.err()?;
        let Some(words) = message(&error) else {
            tracing::warn!(%error, "a transaction could not be sent and will be again");
            return None;
        };
        let is_harmless =
            ["already known", "already imported", "nonce too low"].iter().any(|harmless| words.contains(harmless));
        (!is_harmless).then(|| words.to_owned())
    }
}
