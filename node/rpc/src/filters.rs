//! Looking for logs, and filters that clients poll.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use alloy::{
    primitives::{B256, U256},
    rpc::types::{Filter, FilterBlockOption, FilterChanges, Log},
};
use joule_storage::{LOG_BLOCKS_MAX, LOGS_MAX, LogFilter, View};

use crate::{
    RpcError,
    lookup::{number_of, require},
    views::BlockView,
    wire::{protocol_address, protocol_hash},
};

/// Addresses, or topics of one place, that a filter may name.
const ALTERNATIVES_MAX: usize = 1_024;

/// Hashes of transactions that the pool took last, for filters that are polled later.
const PENDING_KEPT: usize = 8_192;

/// Checks a filter's size and makes storage's out of it, for the blocks `first` to `last`.
pub(crate) fn log_filter(filter: &Filter, first: u64, last: u64) -> Result<LogFilter, RpcError> {
    let within = |what, got: usize| match got <= ALTERNATIVES_MAX {
        true => Ok(()),
        false => Err(RpcError::LimitExceeded {
            what,
            got: got as u64,
            limit: ALTERNATIVES_MAX as u64,
            advice: "; ask in several requests",
        }),
    };
    within("addresses in the filter", filter.address.len())?;
    for topics in &filter.topics {
        within("topics in one place of the filter", topics.len())?;
    }
    Ok(LogFilter {
        from_block: first,
        to_block: last,
        addresses: filter.address.iter().map(|&address| protocol_address(address)).collect(),
        topics: std::array::from_fn(|place| filter.topics[place].iter().map(|&topic| protocol_hash(topic)).collect()),
    })
}

/// The blocks a filter spans: from the last block, if it does not say.
fn range(view: &View<'_>, filter: &Filter) -> Result<(u64, u64), RpcError> {
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => require(view, Some(hash.into())).map(|number| (number, number)),
        FilterBlockOption::Range { from_block, to_block } => {
            let first = number_of(view, from_block.unwrap_or_default())?;
            let last = number_of(view, to_block.unwrap_or_default())?;
            if first > last {
                return Err(RpcError::InvalidParams(format!("fromBlock {first} is after toBlock {last}")));
            }
            Ok((first, last))
        }
    }
}

/// Logs by rising block and place.
///
/// # Errors
/// `LimitExceeded` for a range or an answer over the limits, `UnknownBlock`, `InvalidParams`.
pub(crate) fn logs(view: &View<'_>, filter: &Filter) -> Result<Vec<Log>, RpcError> {
    let (first, last) = range(view, filter)?;
    logs_between(view, filter, first, last)
}

fn logs_between(view: &View<'_>, filter: &Filter, first: u64, last: u64) -> Result<Vec<Log>, RpcError> {
    let wanted = log_filter(filter, first, last)?;
    let last = last.min(view.head().block_number);
    let first = first.max(view.first_block()?);
    if first > last {
        return Ok(Vec::new());
    }
    let got = last - first + 1;
    if got > LOG_BLOCKS_MAX {
        let advice = "; ask for fewer blocks at a time";
        return Err(RpcError::LimitExceeded { what: "blocks to search for logs", got, limit: LOG_BLOCKS_MAX, advice });
    }
    let mut logs = Vec::new();
    for number in first..=last {
        if !view.bloom(number)?.is_some_and(|bloom| wanted.may_be_in(&bloom)) {
            continue;
        }
        let Some(record) = view.block(number)? else { continue };
        let block = BlockView::new(&record);
        logs.extend(record.log_entries(&wanted).iter().map(|entry| block.log_entry(entry)));
        if logs.len() > LOGS_MAX {
            let (got, limit) = (logs.len() as u64, LOGS_MAX as u64);
            let advice = "; ask for fewer blocks at a time";
            return Err(RpcError::LimitExceeded { what: "logs in one answer", got, limit, advice });
        }
    }
    Ok(logs)
}

/// What a filter waits for.
#[derive(Clone, Debug)]
enum Waiting {
    Logs { filter: Box<Filter>, next_block: u64 },
    Blocks { next_block: u64 },
    Pending { next: u64 },
}

#[derive(Debug)]
struct Entry {
    waiting: Waiting,
    polled_at: Duration,
}

/// What a poll has to look up, and has already been counted as seen.
#[derive(Debug)]
pub(crate) enum Poll {
    /// Logs of these blocks.
    Logs { filter: Box<Filter>, first: u64, last: u64 },
    /// Hashes of these blocks.
    Blocks { first: u64, last: u64 },
    /// These transactions.
    Pending(Vec<B256>),
}

/// All polled filters: a bounded table whose entries expire. Pure; the caller brings ids and the time.
#[derive(Debug)]
pub(crate) struct FilterTable {
    entries: HashMap<U256, Entry>,
    pending: VecDeque<B256>,
    /// Sequence number of the first of `pending`.
    pending_first: u64,
    filters_max: usize,
    idle_max: Duration,
}

impl FilterTable {
    pub(crate) fn new(filters_max: usize, idle_max: Duration) -> Self {
        Self { entries: HashMap::new(), pending: VecDeque::new(), pending_first: 0, filters_max, idle_max }
    }

    fn insert(&mut self, id: U256, waiting: Waiting, now: Duration) -> Result<(), RpcError> {
        if self.entries.len() >= self.filters_max {
            let idle_max = self.idle_max;
            self.entries.retain(|_, entry| now.saturating_sub(entry.polled_at) <= idle_max);
        }
        if self.entries.len() >= self.filters_max {
            return Err(RpcError::LimitExceeded {
                what: "filters of all clients",
                got: self.entries.len() as u64 + 1,
                limit: self.filters_max as u64,
                advice: "; uninstall filters, or subscribe over WebSocket",
            });
        }
        self.entries.insert(id, Entry { waiting, polled_at: now });
        Ok(())
    }

    /// Adds a filter for logs of blocks behind `head`.
    pub(crate) fn add_logs(&mut self, id: U256, filter: Filter, head: u64, now: Duration) -> Result<(), RpcError> {
        log_filter(&filter, 0, 0)?;
        self.insert(id, Waiting::Logs { filter: Box::new(filter), next_block: head + 1 }, now)
    }

    /// Adds a filter for blocks behind `head`.
    pub(crate) fn add_blocks(&mut self, id: U256, head: u64, now: Duration) -> Result<(), RpcError> {
        self.insert(id, Waiting::Blocks { next_block: head + 1 }, now)
    }

    /// Adds a filter for transactions that the pool takes from now on.
    pub(crate) fn add_pending(&mut self, id: U256, now: Duration) -> Result<(), RpcError> {
        let next = self.pending_first + self.pending.len() as u64;
        self.insert(id, Waiting::Pending { next }, now)
    }

    /// Removes a filter; whether it was there.
    pub(crate) fn remove(&mut self, id: &U256) -> bool {
        self.entries.remove(id).is_some()
    }

    /// The pool took a transaction.
    pub(crate) fn pending(&mut self, hash: B256) {
        if self.pending.len() == PENDING_KEPT {
            self.pending.pop_front();
            self.pending_first += 1;
        }
        self.pending.push_back(hash);
    }

    /// Blocks behind `to` were undone: those in their place are new to every filter.
    pub(crate) fn reverted(&mut self, to: u64) {
        for entry in self.entries.values_mut() {
            match &mut entry.waiting {
                Waiting::Logs { next_block, .. } | Waiting::Blocks { next_block } => {
                    *next_block = (*next_block).min(to + 1);
                }
                Waiting::Pending { .. } => {}
            }
        }
    }

    fn entry(&mut self, id: &U256, now: Duration) -> Result<&mut Entry, RpcError> {
        let idle_max = self.idle_max;
        if self.entries.get(id).is_some_and(|entry| now.saturating_sub(entry.polled_at) > idle_max) {
            self.entries.remove(id);
        }
        let not_found = RpcError::FilterNotFound { idle_seconds_max: idle_max.as_secs() };
        let entry = self.entries.get_mut(id).ok_or(not_found)?;
        entry.polled_at = now;
        Ok(entry)
    }

    /// What is new since the last poll. Of many blocks a poll takes as many as a search may span; the next one goes on.
    pub(crate) fn poll(&mut self, id: &U256, head: u64, now: Duration) -> Result<Poll, RpcError> {
        let (pending_first, pending_end) = (self.pending_first, self.pending_first + self.pending.len() as u64);
        let entry = self.entry(id, now)?;
        let advance = |next_block: &mut u64| {
            let first = *next_block;
            let last = head.min(first.saturating_add(LOG_BLOCKS_MAX - 1));
            *next_block = first.max(last + 1);
            (first, last)
        };
        Ok(match &mut entry.waiting {
            Waiting::Logs { filter, next_block } => {
                let (first, last) = advance(next_block);
                Poll::Logs { filter: filter.clone(), first, last }
            }
            Waiting::Blocks { next_block } => {
                let (first, last) = advance(next_block);
                Poll::Blocks { first, last }
            }
            Waiting::Pending { next } => {
                let skip = next.saturating_sub(pending_first) as usize;
                *next = pending_end;
                Poll::Pending(self.pending.iter().skip(skip).copied().collect())
            }
        })
    }

    /// The filter for logs under an id, as it was given.
    pub(crate) fn logs_of(&mut self, id: &U256, now: Duration) -> Result<Filter, RpcError> {
        match &self.entry(id, now)?.waiting {
            Waiting::Logs { filter, .. } => Ok((**filter).clone()),
            Waiting::Blocks { .. } | Waiting::Pending { .. } => {
                Err(RpcError::InvalidParams("the filter is not one for logs".into()))
            }
        }
    }
}

impl Poll {
    /// Looks up what the poll found.
    pub(crate) fn answer(self, view: &View<'_>) -> Result<FilterChanges, RpcError> {
        Ok(match self {
            Self::Logs { filter, first, last } => {
                let (first, last) = match filter.block_option {
                    FilterBlockOption::AtBlockHash(_) => (first, last),
                    FilterBlockOption::Range { from_block, to_block } => {
                        let from = from_block.and_then(|tag| tag.as_number()).unwrap_or(0);
                        let to = to_block.and_then(|tag| tag.as_number()).unwrap_or(u64::MAX);
                        (first.max(from), last.min(to))
                    }
                };
                FilterChanges::Logs(if first <= last { logs_between(view, &filter, first, last)? } else { Vec::new() })
            }
            Self::Blocks { first, last } => {
                let mut hashes = Vec::new();
                for number in first..=last {
                    hashes.extend(view.checkpoint(number)?.map(|checkpoint| B256::new(checkpoint.block_hash.0)));
                }
                FilterChanges::Hashes(hashes)
            }
            Self::Pending(hashes) => FilterChanges::Hashes(hashes),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLE: Duration = Duration::from_secs(300);

    fn id(number: u8) -> U256 {
        U256::from(number)
    }

    fn hash(number: u8) -> B256 {
        B256::repeat_byte(number)
    }

    fn blocks(poll: Poll) -> (u64, u64) {
        match poll {
            Poll::Blocks { first, last } => (first, last),
            other => panic!("not blocks: {other:?}"),
        }
    }

    #[test]
    fn a_poll_sees_each_block_once() {
        let mut table = FilterTable::new(4, IDLE);
        let now = Duration::ZERO;
        table.add_blocks(id(1), 10, now).expect("room");
        assert_eq!(blocks(table.poll(&id(1), 12, now).expect("there")), (11, 12));
        let (first, last) = blocks(table.poll(&id(1), 12, now).expect("there"));
        assert!(first > last, "nothing is new");
        assert_eq!(blocks(table.poll(&id(1), 13, now).expect("there")), (13, 13));
        table.reverted(11);
        assert_eq!(blocks(table.poll(&id(1), 12, now).expect("there")), (12, 12));
    }

    #[test]
    fn a_long_absence_is_caught_up_in_steps() {
        let mut table = FilterTable::new(4, IDLE);
        table.add_blocks(id(1), 0, Duration::ZERO).expect("room");
        let head = LOG_BLOCKS_MAX + 5;
        assert_eq!(blocks(table.poll(&id(1), head, Duration::ZERO).expect("there")), (1, LOG_BLOCKS_MAX));
        assert_eq!(blocks(table.poll(&id(1), head, Duration::ZERO).expect("there")), (LOG_BLOCKS_MAX + 1, head));
    }

    #[test]
    fn filters_are_bounded_and_expire() {
        let mut table = FilterTable::new(2, IDLE);
        let late = IDLE + Duration::from_secs(1);
        table.add_blocks(id(1), 0, Duration::ZERO).expect("room");
        table.add_pending(id(2), late).expect("room");
        assert!(matches!(table.poll(&id(1), 5, late), Err(RpcError::FilterNotFound { idle_seconds_max: 300 })));
        table.add_blocks(id(3), 0, late).expect("the expired one made room");
        assert!(matches!(table.add_blocks(id(4), 0, late), Err(RpcError::LimitExceeded { limit: 2, .. })));
        table.add_blocks(id(4), 0, late + late).expect("both have expired");
        assert!(table.remove(&id(4)));
        assert!(!table.remove(&id(4)));
    }

    #[test]
    fn pending_transactions_are_kept_for_a_while() {
        let mut table = FilterTable::new(2, IDLE);
        table.pending(hash(9));
        table.add_pending(id(1), Duration::ZERO).expect("room");
        table.pending(hash(8));
        match table.poll(&id(1), 0, Duration::ZERO).expect("there") {
            Poll::Pending(hashes) => assert_eq!(hashes, [hash(8)]),
            other => panic!("not pending: {other:?}"),
        }
        for _ in 0..PENDING_KEPT + 7 {
            table.pending(hash(7));
        }
        match table.poll(&id(1), 0, Duration::ZERO).expect("there") {
            Poll::Pending(hashes) => assert_eq!(hashes.len(), PENDING_KEPT),
            other => panic!("not pending: {other:?}"),
        }
    }

    #[test]
    fn filters_as_clients_write_them() {
        let parse = |json: &str| serde_json::from_str::<Filter>(json);
        assert!(
            parse(r#"{"topics":[null,["0x0000000000000000000000000000000000000000000000000000000000000001"]]}"#)
                .is_ok()
        );
        assert!(
            parse(r#"{"address":"0x0000000000000000000000000000000000008001","fromBlock":"0x1","toBlock":"latest"}"#)
                .is_ok()
        );
        assert!(parse(r#"{"fromBlock":"-1"}"#).is_err());
        assert!(parse(r#"{"topics":[null,null,null,null,null]}"#).is_err());
        let both =
            r#"{"blockHash":"0x0000000000000000000000000000000000000000000000000000000000000001","fromBlock":"0x1"}"#;
        assert!(parse(both).is_err());
    }

    proptest! {
        #[test]
        fn polls_cover_every_block(heads in prop::collection::vec(0_u64..40_000, 1..20)) {
            let mut table = FilterTable::new(1, IDLE);
            table.add_blocks(id(1), 0, Duration::ZERO).expect("room");
            let mut seen = 0;
            let mut heads = heads;
            heads.sort_unstable();
            for head in heads {
                let (first, last) = blocks(table.poll(&id(1), head, Duration::ZERO).expect("there"));
                prop_assert_eq!(first, seen + 1);
                prop_assert!(last <= head);
                seen = seen.max(last);
            }
        }
    }
}
