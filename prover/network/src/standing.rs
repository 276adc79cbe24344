//! How a prover has done, and the bar it is held to.

use crate::{
    coordinator::Refused,
    wire::{Reader, Wire, WireError},
};

/// Where a newcomer starts.
const START: i32 = 50;
/// No record is better than this: a good past buys one wrong proof, not many.
const BEST: i32 = 100;
/// Below this a prover is suspended.
const NEEDED: i32 = 20;
/// An accepted result.
const ACCEPTED: i32 = 2;
/// A lease that was left to lapse.
const MISSED: i32 = -6;
/// A task given up.
const FAILED: i32 = -4;
/// A wrong proof. Machines that work right make none.
const REFUSED: i32 = -40;
/// The first suspension; each further one without an accepted result between is twice as long.
const SUSPENSION_MS: u64 = 10 * 60 * 1_000;
/// Suspensions stop doubling here: ten minutes · 2^7 is most of a day.
const DOUBLINGS_MAX: u32 = 7;

/// A prover's standing. It decides who is asked first and who is not asked for a while, and nothing else: no money is taken for it, because L1 cannot judge a
/// missed heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    score: i32,
    suspended_until_ms: u64,
    suspensions: u32,
    accepted: u64,
    missed: u64,
    failed: u64,
    refused: u64,
}

impl Default for Standing {
    fn default() -> Self {
        Self { score: START, suspended_until_ms: 0, suspensions: 0, accepted: 0, missed: 0, failed: 0, refused: 0 }
    }
}

impl Standing {
    /// The score, from 0 to 100.
    #[must_use]
    pub const fn score(&self) -> i32 {
        self.score
    }

    /// The score that is needed to be offered work.
    #[must_use]
    pub const fn needed() -> i32 {
        NEEDED
    }

    /// Whether it is offered nothing at this time.
    #[must_use]
    pub const fn is_suspended(&self, now_ms: u64) -> bool {
        now_ms < self.suspended_until_ms
    }

    /// Until when it is suspended, in Unix milliseconds; 0 if it never was.
    #[must_use]
    pub const fn suspended_until_ms(&self) -> u64 {
        self.suspended_until_ms
    }

    /// Results accepted, leases left to lapse, tasks given up, and wrong proofs.
    #[must_use]
    pub const fn counts(&self) -> [u64; 4] {
        [self.accepted, self.missed, self.failed, self.refused]
    }

    /// Whether a result of its was ever accepted. Identities are free, and this is what one of them has to work for.
    #[must_use]
    pub const fn has_record(&self) -> bool {
        self.accepted > 0
    }

    /// Whether nothing is held against it.
    #[must_use]
    pub(crate) const fn is_clean(&self) -> bool {
        self.score >= START && self.suspensions == 0
    }

    pub(crate) const fn refusal(&self) -> Refused {
        Refused::Suspended { until_ms: self.suspended_until_ms, score: self.score, needed: NEEDED }
    }

    pub(crate) fn accepted(&mut self) {
        self.accepted += 1;
        self.suspensions = 0;
        self.score = (self.score + ACCEPTED).min(BEST);
    }

    pub(crate) fn missed(&mut self, now_ms: u64) {
        self.missed += 1;
        self.lower(MISSED, now_ms);
    }

    pub(crate) fn failed(&mut self, now_ms: u64) {
        self.failed += 1;
        self.lower(FAILED, now_ms);
    }

    pub(crate) fn refused(&mut self, now_ms: u64) {
        self.refused += 1;
        self.lower(REFUSED, now_ms);
    }

    fn lower(&mut self, by: i32, now_ms: u64) {
        self.score += by;
        if self.score < NEEDED {
            self.suspended_until_ms = now_ms + (SUSPENSION_MS << self.suspensions.min(DOUBLINGS_MAX));
            self.suspensions += 1;
            // Back at the bar when it is over: one more chance.
            self.score = NEEDED;
        }
    }
}

impl Wire for Standing {
    const WHAT: &'static str = "standing";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.score.to_be_bytes());
        out.extend_from_slice(&self.suspended_until_ms.to_be_bytes());
        out.extend_from_slice(&self.suspensions.to_be_bytes());
        self.counts().iter().for_each(|count| out.extend_from_slice(&count.to_be_bytes()));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let score = i32::from_be_bytes(input.array()?);
        if !(NEEDED..=BEST).contains(&score) {
            return Err(WireError::OutOfRange { what: "score of a standing", got: score.unsigned_abs().into() });
        }
        let (suspended_until_ms, suspensions) = (input.u64()?, input.u32()?);
        let [accepted, missed, failed, refused] = [input.u64()?, input.u64()?, input.u64()?, input.u64()?];
        Ok(Self { score, suspended_until_ms, suspensions, accepted, missed, failed, refused })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_proof_suspends_a_newcomer_and_not_a_veteran() {
        let mut newcomer = Standing::default();
        newcomer.refused(1_000);
        assert!(newcomer.is_suspended(1_001));
        assert!(!newcomer.is_suspended(1_000 + SUSPENSION_MS));
        let mut veteran = Standing::default();
        (0..100).for_each(|_| veteran.accepted());
        assert_eq!(veteran.score(), BEST);
        veteran.refused(1_000);
        assert!(!veteran.is_suspended(1_001));
        veteran.refused(1_000);
        veteran.refused(1_000);
        assert!(veteran.is_suspended(1_001));
    }

    #[test]
    fn suspensions_double_until_something_is_accepted() {
        let mut standing = Standing::default();
        let mut lengths = Vec::new();
        for _ in 0..12 {
            standing.refused(0);
            lengths.push(standing.suspended_until_ms());
        }
        assert!(lengths.windows(2).all(|pair| pair[1] == 2 * pair[0] || pair[1] == SUSPENSION_MS << DOUBLINGS_MAX));
        standing.accepted();
        standing.refused(0);
        assert_eq!(standing.suspended_until_ms(), SUSPENSION_MS);
    }
}
