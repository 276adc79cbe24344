//! Who has misbehaved, without clock or network: time enters as an argument.

use std::collections::HashMap;
use std::hash::Hash;

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Passed on a message that is none, or that nobody honest would have passed on.
    Rejected,
    /// Sent bytes that are no question or answer.
    Malformed,
    /// Answered something that was not asked.
    WrongAnswer,
    /// Did not answer in time.
    Silent,
}

impl Offence {
    /// Points it costs. A hundred are the end: five lies in quick succession, or fifty unanswered questions.
    fn points(self) -> u32 {
        match self {
            Self::Rejected | Self::Malformed | Self::WrongAnswer => 20,
            Self::Silent => 2,
        }
    }
}

/// Points of peers. They fade, so that a peer with a bad connection is not shut out for good, and nobody's are kept beyond a bound.
#[derive(Clone, Debug)]
pub struct Standings<P> {
    peers: HashMap<P, Standing>,
    peers_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    points: u32,
    at_s: u64,
}

impl Standing {
    fn points_at(&self, now_s: u64) -> u32 {
        let faded = now_s.saturating_sub(self.at_s) / Standings::<()>::SECONDS_PER_POINT;
        self.points.saturating_sub(u32::try_from(faded).unwrap_or(u32::MAX))
    }
}

impl<P> Standings<P> {
    /// Points at which a peer is shut out.
    pub const POINTS_MAX: u32 = 100;
    /// Seconds after which a point is forgotten.
    pub const SECONDS_PER_POINT: u64 = 6;
}

impl<P: Copy + Eq + Hash> Standings<P> {
    /// Nobody has done anything. At most `peers_max` peers are remembered.
    pub fn new(peers_max: usize) -> Self {
        Self { peers: HashMap::new(), peers_max }
    }

    /// Notes an offence, and says whether the peer is to be shut out.
    pub fn blame(&mut self, peer: P, offence: Offence, now_s: u64) -> bool {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.peers_max {
            // The one with the best name makes room: whoever fills the table with fresh names cannot wash his own.
            let best = self.peers.iter().min_by_key(|(_, standing)| (standing.points_at(now_s), standing.at_s));
            if let Some(best) = best.map(|(peer, _)| *peer) {
                self.peers.remove(&best);
            }
        }
        let before = self.peers.get(&peer).map_or(0, |standing| standing.points_at(now_s));
        let points = before.saturating_add(offence.points());
        self.peers.insert(peer, Standing { points, at_s: now_s });
        points >= Self::POINTS_MAX
    }

    /// Points of a peer now.
    pub fn points(&self, peer: &P, now_s: u64) -> u32 {
        self.peers.get(peer).map_or(0, |standing| standing.points_at(now_s))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn five_lies_are_too_many_and_time_heals() {
        let mut standings = Standings::new(10);
        for _ in 0..4 {
            assert!(!standings.blame(1, Offence::Rejected, 100));
        }
        assert_eq!(standings.points(&1, 100), 80);
        assert_eq!(standings.points(&1, 100 + 80 * 6), 0);
        assert!(!standings.clone().blame(1, Offence::Rejected, 100 + 80 * 6));
        assert!(standings.blame(1, Offence::Rejected, 100));
        assert_eq!(standings.points(&2, 100), 0, "of nobody else");
    }

    proptest! {
        #[test]
        fn the_table_is_bounded_and_the_worst_stay(names in prop::collection::vec(10u32..10_000, 0..200)) {
            let mut standings = Standings::new(8);
            for _ in 0..4 {
                standings.blame(1, Offence::Malformed, 0);
            }
            for name in names {
                standings.blame(name, Offence::Silent, 1);
            }
            prop_assert!(standings.peers.len() <= 8);
            prop_assert_eq!(standings.points(&1, 1), 80);
        }
    }
}
