//! Reading L1.

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::Ethereum,
    primitives::{Address, B256, Bytes},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::{Filter, Header},
};
use joule_contracts::{DataCommittee, Rollup};

use crate::{L1Error, L1Event, Located};

/// A block by number and hash: what a reorg is noticed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, unix seconds.
    pub timestamp_s: u64,
}

impl From<&Header> for BlockRef {
    fn from(header: &Header) -> Self {
        Self { number: header.number, hash: header.hash, timestamp_s: header.timestamp }
    }
}

/// Where the contracts are. The rollup names the others itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contracts {
    /// `Rollup`.
    pub rollup: Address,
    /// `Bridge`.
    pub bridge: Address,
    /// `DataCommittee`.
    pub committee: Address,
    /// `VerifierRouter`.
    pub router: Address,
    /// L1 block of the rollup's deployment; nothing is looked for below.
    pub deployed_at: u64,
}

/// What the contracts were built with and never changes. All times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constants {
    /// The L1's chain id.
    pub l1_chain_id: u64,
    /// The L2's chain id.
    pub l2_chain_id: u64,
    /// A request older than this lets anyone freeze the chain.
    pub queue_expiry_s: u64,
    /// A request older than this makes the operator late.
    pub late_after_s: u64,
    /// A batch unproven for longer makes the operator late.
    pub proof_deadline_s: u64,
    /// A proven batch gets this long to be executed before it may be dropped.
    pub execution_window_s: u64,
    /// A batch's time may be this far ahead of L1's.
    pub timestamp_skew_s: u64,
    /// A certificate must outlive the block of its commit by this.
    pub certificate_remaining_min_s: u64,
    /// No certificate may outlive the block of its commit by more: so long is the stake of its signers locked.
    pub certificate_remaining_max_s: u64,
}

/// A connection to L1 and the contracts found there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct L1Client {
    provider: DynProvider,
    contracts: Contracts,
    constants: Constants,
}

impl L1Client {
    /// Connects to a node over HTTP and finds the contracts from the rollup's address.
    ///
    /// # Errors
    /// A URL that is none, a node that cannot be reached, another chain, or no rollup there.
    pub async fn connect(url: &str, l1_chain_id: u64, rollup: Address, deployed_at: u64) -> Result<Self, L1Error> {
        let parsed = url.parse().map_err(|error| L1Error::Url { url: url.to_owned(), reason: format!("{error}") })?;
        // No fillers: nonces, fees and gas are set by the outbox, which writes them down first.
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_http(parsed).erased();
        Self::with_provider(provider, l1_chain_id, rollup, deployed_at).await
    }

    /// As [`L1Client::connect`], over a provider that is there already.
    ///
    /// # Errors
    /// As [`L1Client::connect`].
    pub async fn with_provider(
        provider: DynProvider,
        l1_chain_id: u64,
        rollup: Address,
        deployed_at: u64,
    ) -> Result<Self, L1Error> {
        let chain_id = provider.get_chain_id().await?;
        if chain_id != l1_chain_id {
            return Err(L1Error::WrongChain { expected: l1_chain_id, got: chain_id });
        }
        if provider.get_code_at(rollup).await?.is_empty() {
            return Err(L1Error::NoRollup { address: rollup, chain_id });
        }
        let contract = Rollup::new(rollup, &provider);
        let committee = contract.committee().call().await?;
        let contracts = Contracts {
            rollup,
            bridge: contract.bridge().call().await?,
            committee,
            router: contract.router().call().await?,
            deployed_at,
        };
        let constants = Constants {
            l1_chain_id,
            l2_chain_id: contract.l2ChainId().call().await?,
            queue_expiry_s: contract.queueExpiry().call().await?,
            late_after_s: contract.lateAfter().call().await?,
            proof_deadline_s: contract.proofDeadline().call().await?,
            execution_window_s: contract.executionWindow().call().await?,
            timestamp_skew_s: contract.timestampSkew().call().await?,
            certificate_remaining_min_s: DataCommittee::new(committee, &provider).remainingMin().call().await?,
            certificate_remaining_max_s: DataCommittee::new(committee, &provider).stakeLock().call().await?,
        };
        Ok(Self { provider, contracts, constants })
    }

    /// Where the contracts are.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// What the contracts were built with.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// The provider, for what this type has no word for.
    pub fn provider(&self) -> &DynProvider {
        &self.provider
    }

    /// The rollup.
    pub fn rollup(&self) -> Rollup::RollupInstance<&DynProvider> {
        Rollup::new(self.contracts.rollup, &self.provider)
    }

    /// The latest block.
    ///
    /// # Errors
    /// The node could not be asked.
    pub async fn head(&self) -> Result<BlockRef, L1Error> {
        let header = self.header(BlockNumberOrTag::Latest).await?.ok_or(L1Error::BlockGone { number: u64::MAX })?;
        Ok((&header).into())
    }

    /// The block with a number on the canonical chain; `None` if the node does not have it yet.
    ///
    /// # Errors
    /// The node could not be asked.
    pub async fn block(&self, number: u64) -> Result<Option<BlockRef>, L1Error> {
        Ok(self.header(number.into()).await?.as_ref().map(BlockRef::from))
    }

    pub(crate) async fn header(&self, number: BlockNumberOrTag) -> Result<Option<Header>, L1Error> {
        Ok(self.provider.get_block_by_number(number).await?.map(|block| block.header))
    }

    /// The contracts' events in the blocks `from..=to`, in order. The caller checks that the blocks are still the chain's.
    ///
    /// # Errors
    /// The node could not be asked, or answers with logs that the contracts never wrote.
    pub async fn events(&self, from: u64, to: u64) -> Result<Vec<Located>, L1Error> {
        let filter =
            Filter::new().address(vec![self.contracts.rollup, self.contracts.committee]).from_block(from).to_block(to);
        let logs = self.provider.get_logs(&filter).await?;
        let mut events = Vec::with_capacity(logs.len());
        for log in &logs {
            if let Some(event) = L1Event::locate(log, &self.contracts)? {
                if !(from..=to).contains(&event.block_number) {
                    return Err(L1Error::Malformed { what: "a log of another block", transaction: event.transaction });
                }
                events.push(event);
            }
        }
        events.sort_by_key(|event| (event.block_number, event.log_index));
        Ok(events)
    }

    /// The accumulator over the first `count` requests.
    ///
    /// # Errors
    /// The node could not be asked.
    pub async fn acc_at(&self, count: u64, at: &BlockRef) -> Result<B256, L1Error> {
        Ok(self.rollup().accAt(count).block(BlockId::hash(at.hash)).call().await?)
    }

    /// Bytes of batch data posted between two accumulators; zero if not all of it was.
    ///
    /// # Errors
    /// The node could not be asked.
    pub async fn posted_bytes(&self, start: B256, to: B256, at: &BlockRef) -> Result<u64, L1Error> {
        Ok(self.rollup().postedBytes(start, to).block(BlockId::hash(at.hash)).call().await?)
    }

    /// The input of a transaction and whether it was sent to the rollup itself; `None` if the node does not know it.
    ///
    /// # Errors
    /// The node could not be asked.
    pub async fn input_to_rollup(&self, transaction: B256) -> Result<Option<Bytes>, L1Error> {
        let call = self.call_of(transaction).await?;
        Ok(call.filter(|(to, _)| *to == Some(self.contracts.rollup)).map(|(_, input)| input))
    }

    /// Whom a transaction called and with what; `None` if the node has no such transaction.
    ///
    /// # Errors
    /// The node could not be asked.
    pub async fn call_of(&self, transaction: B256) -> Result<Option<(Option<Address>, Bytes)>, L1Error> {
        use alloy::consensus::Transaction as _;
        let found = Provider::<Ethereum>::get_transaction_by_hash(&self.provider, transaction).await?;
        Ok(found.map(|transaction| (transaction.to(), transaction.input().clone())))
    }
}
