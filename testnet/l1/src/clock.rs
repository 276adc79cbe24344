//! Chain time: how the time given from outside becomes block timestamps, and how tests move it.

use crate::error::ChainError;

/// The last timestamp that may be asked for. Far beyond any use, and far enough from the end of 64 bits that blocks
/// can still follow.
const TIMESTAMP_MAX: u64 = u64::MAX / 2;

/// The offset between the time given and chain time, and the timestamp promised to the next block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChainClock {
    offset_s: i128,
    next_s: Option<u64>,
}

impl ChainClock {
    /// A clock that shows `chain_s` when the time given is `now_s`.
    pub(crate) fn starting(now_s: u64, chain_s: u64) -> Self {
        Self { offset_s: i128::from(chain_s) - i128::from(now_s), next_s: None }
    }

    /// The timestamp of a block made at `now_s` on a parent of `parent_s`: as promised, or what the clock shows,
    /// but always after the parent, as consensus demands.
    pub(crate) fn timestamp(&self, now_s: u64, parent_s: u64) -> u64 {
        self.next_s.unwrap_or_else(|| self.chain_s(now_s)).max(parent_s.saturating_add(1))
    }

    /// Makes the clock continue from a block that kept a promise.
    pub(crate) fn block_made(&mut self, now_s: u64, timestamp_s: u64) {
        if self.next_s.take().is_some() {
            *self = Self::starting(now_s, timestamp_s);
        }
    }

    /// Promises the next block's timestamp.
    pub(crate) fn promise(&mut self, timestamp_s: u64, parent_s: u64) -> Result<(), ChainError> {
        if timestamp_s <= parent_s {
            return Err(ChainError::TimestampInPast { latest: parent_s, got: timestamp_s });
        }
        if timestamp_s > TIMESTAMP_MAX {
            return Err(ChainError::TimestampOverflow { now: parent_s, by: timestamp_s - parent_s });
        }
        self.next_s = Some(timestamp_s);
        Ok(())
    }

    /// Moves the clock forward. Returns the whole offset from the time given, in seconds.
    pub(crate) fn advance(&mut self, by_s: u64, now_s: u64) -> Result<i128, ChainError> {
        let overflow = ChainError::TimestampOverflow { now: self.chain_s(now_s), by: by_s };
        self.chain_s(now_s).checked_add(by_s).filter(|time| *time <= TIMESTAMP_MAX).ok_or(overflow)?;
        self.offset_s += i128::from(by_s);
        Ok(self.offset_s)
    }

    fn chain_s(&self, now_s: u64) -> u64 {
        u64::try_from(i128::from(now_s) + self.offset_s).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_given_time_and_never_stands_still() {
        let clock = ChainClock::starting(1000, 5000);
        assert_eq!(clock.timestamp(1010, 5000), 5010);
        assert_eq!(clock.timestamp(1010, 6000), 6001);
        assert_eq!(clock.timestamp(0, 10), 4000, "an outside clock that jumps back does not underflow");
    }

    #[test]
    fn a_promise_is_kept_once_and_time_goes_on_from_there() {
        let mut clock = ChainClock::starting(1000, 1000);
        assert_eq!(clock.promise(1000, 1000), Err(ChainError::TimestampInPast { latest: 1000, got: 1000 }));
        clock.promise(9000, 1000).expect("in the future");
        assert_eq!(clock.timestamp(1001, 1000), 9000);
        clock.block_made(1001, 9000);
        assert_eq!(clock.timestamp(1005, 9000), 9004);
    }

    #[test]
    fn advancing_adds_up_and_cannot_overflow() {
        let mut clock = ChainClock::starting(0, 0);
        clock.advance(60, 0).expect("fits");
        assert_eq!(clock.advance(40, 0), Ok(100));
        assert_eq!(clock.timestamp(5, 0), 105);
        assert!(matches!(clock.advance(u64::MAX, 0), Err(ChainError::TimestampOverflow { .. })));
    }
}
