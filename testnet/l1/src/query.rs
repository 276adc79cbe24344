//! Reading the chain.

use crate::{
    block::Block,
    chain::Chain,
    error::ChainError,
    filters::FilterKind,
    produce::{self, Contents},
};
use alloy::{
    consensus::Transaction as _,
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U256},
    rpc::types as rpc,
};
use revm::Database as _;
use std::{ops::RangeInclusive, sync::Arc};

impl Chain {
    /// The canonical block that an id names. `pending` names none: it is not made yet.
    #[must_use]
    pub fn block(&self, at: BlockId) -> Option<&Arc<Block>> {
        let number = match at {
            BlockId::Hash(hash) => *self.numbers.get(&hash.block_hash)?,
            BlockId::Number(tag) => self.number(tag)?,
        };
        self.blocks.get(usize::try_from(number).ok()?)
    }

    fn number(&self, tag: BlockNumberOrTag) -> Option<u64> {
        let latest = self.latest().number();
        match tag {
            BlockNumberOrTag::Latest => Some(latest),
            BlockNumberOrTag::Safe => Some(latest.saturating_sub(self.config.safe_depth)),
            BlockNumberOrTag::Finalized => Some(latest.saturating_sub(self.config.finalized_depth)),
            BlockNumberOrTag::Earliest => Some(0),
            BlockNumberOrTag::Number(number) => Some(number),
            BlockNumberOrTag::Pending => None,
        }
    }

    /// A block as `eth_getBlockBy…` shows it. The pending block has no hash, nonce or state root yet.
    ///
    /// # Errors
    /// Only a broken invariant.
    pub fn block_view(&self, at: BlockId, full: bool, now_s: u64) -> Result<Option<rpc::Block>, ChainError> {
        if at.is_pending() {
            let draft = self.draft(now_s, Contents::Pool)?;
            return Ok(Some(produce::seal(draft.header, draft.included).view(full)));
        }
        Ok(self.block(at).map(|block| block.view(full)))
    }

    /// The block and index of a transaction on the canonical chain.
    #[must_use]
    pub fn position(&self, hash: B256) -> Option<(&Arc<Block>, usize)> {
        let (number, index) = *self.positions.get(&hash)?;
        Some((self.blocks.get(usize::try_from(number).ok()?)?, index))
    }

    /// A transaction, in a block or in the pool, as `eth_getTransactionByHash` shows it.
    #[must_use]
    pub fn transaction_view(&self, hash: B256) -> Option<rpc::Transaction> {
        match self.position(hash) {
            Some((block, index)) => block.transaction_view(index),
            None => Some(self.pool.get(hash)?.pending_view()),
        }
    }

    /// The receipt of a transaction on the canonical chain.
    #[must_use]
    pub fn receipt(&self, hash: B256) -> Option<rpc::TransactionReceipt> {
        let (block, index) = self.position(hash)?;
        block.receipt_view(index)
    }

    /// An account's balance, in wei.
    ///
    /// # Errors
    /// The block is unknown.
    pub fn balance(&self, address: Address, at: BlockId, now_s: u64) -> Result<U256, ChainError> {
        let (overlay, _) = self.overlay_at(at, now_s)?;
        Ok(overlay.account(address).map_or(U256::ZERO, |account| account.balance))
    }

    /// An account's next nonce; for `pending`, the one after its run of pooled transactions.
    ///
    /// # Errors
    /// The block is unknown.
    pub fn nonce(&self, address: Address, at: BlockId, now_s: u64) -> Result<u64, ChainError> {
        if at.is_pending() {
            return Ok(self.pool.nonce_after(address, self.next_nonce(address)));
        }
        let (overlay, _) = self.overlay_at(at, now_s)?;
        Ok(overlay.account(address).map_or(0, |account| account.nonce))
    }

    /// An account's code; empty for an ordinary account.
    ///
    /// # Errors
    /// The block is unknown.
    pub fn code(&self, address: Address, at: BlockId, now_s: u64) -> Result<Bytes, ChainError> {
        let (mut overlay, _) = self.overlay_at(at, now_s)?;
        let Some(account) = overlay.account(address) else { return Ok(Bytes::new()) };
        let code = overlay.code_by_hash(account.code_hash).map_err(|error| ChainError::Internal(error.to_string()))?;
        Ok(code.original_bytes())
    }

    /// A word of an account's storage.
    ///
    /// # Errors
    /// The block is unknown.
    pub fn storage(&self, address: Address, slot: U256, at: BlockId, now_s: u64) -> Result<B256, ChainError> {
        let (mut overlay, _) = self.overlay_at(at, now_s)?;
        let word = overlay.storage(address, slot).map_err(|error| ChainError::Internal(error.to_string()))?;
        Ok(word.into())
    }

    /// How many transactions wait in the pool.
    #[must_use]
    pub fn pool_len(&self) -> usize {
        self.pool.len()
    }

    /// The logs that match, oldest first.
    ///
    /// # Errors
    /// An unknown block hash, a range that is backwards or too long, or too many matches.
    pub fn logs(&self, filter: &rpc::Filter) -> Result<Vec<rpc::Log>, ChainError> {
        let numbers = self.log_range(filter)?;
        let logs_max = self.config.limits.logs_max;
        let mut logs = Vec::new();
        for number in numbers {
            let Some(block) = usize::try_from(number).ok().and_then(|number| self.blocks.get(number)) else { break };
            logs.extend(block.matching_logs(filter, false).take(logs_max + 1));
            if logs.len() > logs_max {
                return Err(ChainError::TooManyLogs { most: logs_max });
            }
        }
        Ok(logs)
    }

    /// The canonical blocks that a query spans, none beyond the latest.
    fn log_range(&self, filter: &rpc::Filter) -> Result<RangeInclusive<u64>, ChainError> {
        let (from, to) = match filter.block_option {
            rpc::FilterBlockOption::AtBlockHash(hash) => {
                let number = *self.numbers.get(&hash).ok_or(ChainError::UnknownBlock)?;
                return Ok(number..=number);
            }
            rpc::FilterBlockOption::Range { from_block, to_block } => {
                (from_block.unwrap_or_default(), to_block.unwrap_or_default())
            }
        };
        let from = self.number(from).ok_or(ChainError::PendingLogs)?;
        let to = self.number(to).ok_or(ChainError::PendingLogs)?;
        if from > to {
            return Err(ChainError::InvalidBlockRange);
        }
        let to = to.min(self.latest().number());
        let most = self.config.limits.log_blocks_max;
        let got = to.saturating_sub(from).saturating_add(1);
        if from <= to && got > most {
            return Err(ChainError::TooMany { what: "block range", most, got });
        }
        Ok(from..=to)
    }

    /// Installs a filter. Beyond the configured number, the one polled longest ago is removed.
    ///
    /// # Errors
    /// A log filter whose range is backwards or names the pending block.
    pub fn install_filter(&mut self, kind: FilterKind) -> Result<u64, ChainError> {
        if let FilterKind::Logs(filter) = &kind
            && let rpc::FilterBlockOption::Range { from_block, to_block } = filter.block_option
        {
            if [from_block, to_block].contains(&Some(BlockNumberOrTag::Pending)) {
                return Err(ChainError::PendingLogs);
            }
            if let (Some(from), Some(to)) = (filter.get_from_block(), filter.get_to_block())
                && from > to
            {
                return Err(ChainError::InvalidBlockRange);
            }
        }
        Ok(self.filters.install(kind))
    }

    /// Removes a filter. `false` if there is none.
    pub fn uninstall_filter(&mut self, id: u64) -> bool {
        self.filters.uninstall(id)
    }

    /// What a filter has not reported yet.
    ///
    /// # Errors
    /// The filter is unknown, or lagged too far behind and is gone; more logs than one answer holds.
    pub fn poll_filter(&mut self, id: u64) -> Result<rpc::FilterChanges, ChainError> {
        self.filters.poll(id)
    }

    /// All logs that an installed filter matches, whether reported or not.
    ///
    /// # Errors
    /// As [`Chain::logs`]; also if the filter is unknown or selects no logs.
    pub fn filter_logs(&self, id: u64) -> Result<Vec<rpc::Log>, ChainError> {
        self.logs(self.filters.log_filter(id)?)
    }

    /// Base fees, fullness and tips of the `count` blocks that end at `newest` (`eth_feeHistory`). `percentiles`
    /// ascend from 0 to 100 and weigh each block's transactions by gas.
    ///
    /// # Errors
    /// An unknown block, or percentiles that do not ascend within 0 to 100, or more than 100 of them.
    pub fn fee_history(
        &self,
        count: u64,
        newest: BlockNumberOrTag,
        percentiles: &[f64],
    ) -> Result<rpc::FeeHistory, ChainError> {
        let in_order = percentiles.windows(2).all(|pair| pair[0] <= pair[1]);
        let in_range = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
        if percentiles.len() > 100 || !in_order || !in_range {
            return Err(ChainError::InvalidPercentiles);
        }
        // Its fees are known only once the pending block is made, so it counts as the latest here.
        let tag = if newest.is_pending() { BlockNumberOrTag::Latest } else { newest };
        let newest = self.block(tag.into()).ok_or(ChainError::UnknownBlock)?.number();
        let count = count.min(self.config.limits.fee_history_blocks_max).min(newest + 1);
        if count == 0 {
            return Ok(rpc::FeeHistory::default());
        }
        let oldest = newest + 1 - count;
        let (Ok(start), Ok(end)) = (usize::try_from(oldest), usize::try_from(newest)) else {
            return Err(ChainError::UnknownBlock);
        };
        let blocks = &self.blocks[start..=end];
        let mut base_fees: Vec<_> = blocks.iter().map(|block| u128::from(block.base_fee())).collect();
        let next = self.blocks.get(end + 1).map_or_else(|| self.next_base_fee(), |block| block.base_fee());
        base_fees.push(u128::from(next));
        let fullness =
            blocks.iter().map(|block| block.header().gas_used as f64 / block.header().gas_limit as f64).collect();
        let rewards = (!percentiles.is_empty())
            .then(|| blocks.iter().map(|block| tips_at_percentiles(block, percentiles)).collect());
        Ok(rpc::FeeHistory {
            base_fee_per_gas: base_fees,
            gas_used_ratio: fullness,
            // No blobs are carried: their base fee stays at its floor.
            base_fee_per_blob_gas: vec![1; blocks.len() + 1],
            blob_gas_used_ratio: vec![0.0; blocks.len()],
            oldest_block: oldest,
            reward: rewards,
        })
    }
}

/// The tip paid at each percentile of a block's gas, cheapest transactions first.
fn tips_at_percentiles(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let base_fee = block.base_fee();
    let mut tips: Vec<_> = block
        .included()
        .iter()
        .map(|included| {
            (included.transaction.envelope().effective_tip_per_gas(base_fee).unwrap_or_default(), included.gas_used)
        })
        .collect();
    tips.sort_unstable();
    percentiles
        .iter()
        .map(|percentile| {
            let threshold = (block.header().gas_used as f64 * percentile / 100.0) as u64;
            let mut gas = 0;
            let reached = tips.iter().find(|(_, gas_used)| {
                gas += gas_used;
                gas >= threshold
            });
            reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
        })
        .collect()
}
