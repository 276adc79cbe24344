//! Looking for logs.

use joule_kernel::Log;
use joule_protocol::{Address, Hash};

use crate::{BlockRecord, Bloom, StorageError, View};

/// Blocks that one question may span: 2.5 MB of bloom filters.
pub const LOG_BLOCKS_MAX: u64 = 10_000;

/// Logs that one answer may hold.
pub const LOGS_MAX: usize = 10_000;

/// Which logs are wanted, as `eth_getLogs` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// First block.
    pub from_block: u64,
    /// Last block.
    pub to_block: u64,
    /// Any of these addresses; all, if empty.
    pub addresses: Vec<Address>,
    /// For each place any of these topics; all, if empty.
    pub topics: [Vec<Hash>; 4],
}

/// What made a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// The block's priority request at this place.
    Request {
        /// Place among the block's requests, from 0.
        index: u32,
    },
    /// The block's transaction at this place.
    Transaction {
        /// Place among the block's transactions, from 0.
        index: u32,
        /// Its hash.
        hash: Hash,
    },
}

/// A log and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The block.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: Hash,
    /// Its time, unix seconds.
    pub timestamp: u64,
    /// What made it.
    pub source: LogSource,
    /// Place among the block's logs, requests' first.
    pub index: u32,
    /// The log.
    pub log: Log,
}

impl LogFilter {
    /// Whether a log is wanted; its block is not looked at.
    pub fn wants(&self, log: &Log) -> bool {
        let address = self.addresses.is_empty() || self.addresses.contains(&log.address);
        let topic = |(place, wanted): (usize, &Vec<Hash>)| {
            wanted.is_empty() || log.topics.get(place).is_some_and(|topic| wanted.contains(topic))
        };
        address && self.topics.iter().enumerate().all(topic)
    }

    /// Whether a block with this filter may hold a log that is wanted; false is certain.
    pub fn may_be_in(&self, bloom: &Bloom) -> bool {
        let any = |mut wanted: &mut dyn Iterator<Item = &[u8]>| {
            let mut is_empty = true;
            let found = Iterator::any(&mut wanted, |item| {
                is_empty = false;
                bloom.may_contain(item)
            });
            found || is_empty
        };
        any(&mut self.addresses.iter().map(|address| address.0.as_slice()))
            && self.topics.iter().all(|topics| any(&mut topics.iter().map(|topic| topic.0.as_slice())))
    }
}

impl BlockRecord {
    /// The block's logs in order: those of its requests, then those of its transactions.
    pub fn logs(&self) -> impl Iterator<Item = (LogSource, &Log)> {
        let requests = (0..).zip(&self.requests);
        let transactions = (0..).zip(&self.transactions);
        let of_requests =
            requests.flat_map(|(index, done)| done.logs.iter().map(move |log| (LogSource::Request { index }, log)));
        let of_transactions = transactions.flat_map(|(index, done)| {
            let source = LogSource::Transaction { index, hash: done.hash };
            done.logs.iter().map(move |log| (source, log))
        });
        of_requests.chain(of_transactions)
    }

    /// The block's logs that `filter` wants.
    pub fn log_entries(&self, filter: &LogFilter) -> Vec<LogEntry> {
        let entries = (0..).zip(self.logs()).filter(|(_, (_, log))| filter.wants(log));
        entries
            .map(|(index, (source, log))| LogEntry {
                block_number: self.header.number,
                block_hash: self.hash(),
                timestamp: self.header.timestamp,
                source,
                index,
                log: log.clone(),
            })
            .collect()
    }
}

impl View<'_> {
    /// Logs by rising block and place.
    ///
    /// # Errors
    /// `TooMuch` for a range over [`LOG_BLOCKS_MAX`] or an answer over [`LOGS_MAX`].
    pub fn logs(&self, filter: &LogFilter) -> Result<Vec<LogEntry>, StorageError> {
        let last = filter.to_block.min(self.head().block_number);
        let first = filter.from_block.max(self.first_block()?);
        if first > last {
            return Ok(Vec::new());
        }
        let blocks = last - first + 1;
        if blocks > LOG_BLOCKS_MAX {
            return Err(StorageError::TooMuch {
                what: "blocks to search for logs",
                got: blocks,
                limit: LOG_BLOCKS_MAX,
            });
        }
        let mut entries = Vec::new();
        for number in first..=last {
            if !self.bloom(number)?.is_some_and(|bloom| filter.may_be_in(&bloom)) {
                continue;
            }
            let block = self.block(number)?.ok_or(StorageError::Missing { what: "block", number })?;
            entries.extend(block.log_entries(filter));
            if entries.len() > LOGS_MAX {
                let (got, limit) = (entries.len() as u64, LOGS_MAX as u64);
                return Err(StorageError::TooMuch { what: "logs in one answer", got, limit });
            }
        }
        Ok(entries)
    }
}
