//! What filters see: a bounded list of chain events, and a cursor into it for each filter.

use crate::{block::Block, config::ChainLimits, error::ChainError};
use alloy::{primitives::B256, rpc::types as rpc};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Something that a filter may report.
#[derive(Debug, Clone)]
pub(crate) enum ChainEvent {
    /// A block joined the canonical chain.
    Added(Arc<Block>),
    /// A reorg took a block away.
    Removed(Arc<Block>),
    /// A transaction entered the pool.
    Submitted(B256),
}

/// What a filter reports.
#[derive(Debug, Clone)]
pub enum FilterKind {
    /// Logs that match, and, marked as removed, those that a reorg took away.
    Logs(Box<rpc::Filter>),
    /// Hashes of new blocks.
    Blocks,
    /// Hashes of transactions that entered the pool.
    PendingTransactions,
}

#[derive(Debug)]
struct Installed {
    kind: FilterKind,
    /// The number of the first event not yet reported.
    cursor: u64,
    /// When it was last polled, in polls of any filter.
    polled: u64,
}

/// The installed filters and the events they have not all seen.
#[derive(Debug)]
pub(crate) struct Filters {
    events: VecDeque<ChainEvent>,
    /// The number of the event at the front.
    first: u64,
    installed: HashMap<u64, Installed>,
    made: u64,
    polls: u64,
    filters_max: usize,
    events_max: usize,
    logs_max: usize,
}

impl Filters {
    pub(crate) fn new(limits: &ChainLimits) -> Self {
        Self {
            events: VecDeque::new(),
            first: 0,
            installed: HashMap::new(),
            made: 0,
            polls: 0,
            filters_max: limits.filters_max,
            events_max: limits.filter_events_max,
            logs_max: limits.logs_max,
        }
    }

    pub(crate) fn record(&mut self, event: ChainEvent) {
        self.events.push_back(event);
        while self.events.len() > self.events_max {
            self.events.pop_front();
            self.first += 1;
        }
    }

    /// Installs a filter, in place of the one polled longest ago if there are too many.
    pub(crate) fn install(&mut self, kind: FilterKind) -> u64 {
        if self.installed.len() >= self.filters_max {
            let idle = self.installed.iter().min_by_key(|(id, filter)| (filter.polled, **id)).map(|(id, _)| *id);
            if let Some(idle) = idle {
                self.installed.remove(&idle);
            }
        }
        self.made += 1;
        self.polls += 1;
        let cursor = self.first + self.events.len() as u64;
        self.installed.insert(self.made, Installed { kind, cursor, polled: self.polls });
        self.made
    }

    pub(crate) fn uninstall(&mut self, id: u64) -> bool {
        self.installed.remove(&id).is_some()
    }

    pub(crate) fn log_filter(&self, id: u64) -> Result<&rpc::Filter, ChainError> {
        match &self.installed.get(&id).ok_or(ChainError::UnknownFilter)?.kind {
            FilterKind::Logs(filter) => Ok(filter),
            FilterKind::Blocks | FilterKind::PendingTransactions => Err(ChainError::NotALogFilter { id }),
        }
    }

    /// What happened since the filter was last polled. A filter that lags further than the events kept is removed:
    /// its client must learn that it missed something.
    pub(crate) fn poll(&mut self, id: u64) -> Result<rpc::FilterChanges, ChainError> {
        let first = self.first;
        if self.installed.get(&id).is_some_and(|filter| filter.cursor < first) {
            self.installed.remove(&id);
        }
        let filter = self.installed.get_mut(&id).ok_or(ChainError::UnknownFilter)?;
        self.polls += 1;
        filter.polled = self.polls;
        let seen = usize::try_from(filter.cursor - first).unwrap_or(usize::MAX);
        let unseen = self.events.iter().skip(seen);
        let changes = match &filter.kind {
            FilterKind::Logs(filter) => {
                let logs: Vec<_> = unseen
                    .flat_map(|event| match event {
                        ChainEvent::Added(block) => Some((block, false)),
                        ChainEvent::Removed(block) => Some((block, true)),
                        ChainEvent::Submitted(_) => None,
                    })
                    .filter(|(block, _)| in_numbers(filter, block.number()))
                    .flat_map(|(block, removed)| block.matching_logs(filter, removed))
                    .take(self.logs_max + 1)
                    .collect();
                if logs.len() > self.logs_max {
                    return Err(ChainError::TooManyLogs { most: self.logs_max });
                }
                rpc::FilterChanges::Logs(logs)
            }
            FilterKind::Blocks => rpc::FilterChanges::Hashes(
                unseen
                    .filter_map(|event| match event {
                        ChainEvent::Added(block) => Some(block.hash()),
                        ChainEvent::Removed(_) | ChainEvent::Submitted(_) => None,
                    })
                    .collect(),
            ),
            FilterKind::PendingTransactions => rpc::FilterChanges::Hashes(
                unseen
                    .filter_map(|event| match event {
                        ChainEvent::Submitted(hash) => Some(*hash),
                        ChainEvent::Added(_) | ChainEvent::Removed(_) => None,
                    })
                    .collect(),
            ),
        };
        filter.cursor = first + self.events.len() as u64;
        Ok(changes)
    }
}

/// Numbers in a polled filter bound what it reports; tags do not, because they move with the chain.
fn in_numbers(filter: &rpc::Filter, number: u64) -> bool {
    filter.get_from_block().is_none_or(|from| from <= number) && filter.get_to_block().is_none_or(|to| number <= to)
}
