//! Settlement against an L1 that misbehaves, replayed from a seed.
//!
//! A run has a safety phase, in which L1 reorganises, transactions get lost, the committee loses its quorum, proofs are late, strangers use their
//! rights against a late operator, and the node dies at every point; and a liveness phase without faults, at the end of which everything
//! sealed must be executed for good. What a run checks on the way is in [`node::Node`].

mod l1;
mod node;

use std::collections::BTreeSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::{
    l1::L1,
    node::{Committee, Node},
};

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
struct Faults {
    /// The node may lose its disk and rebuild from L1 alone.
    disk_loss: bool,
}

const SAFETY_TURNS: u32 = 250;
/// Turns in which everything must come to its end: the longest backoff is 50 turns, and a batch of four parts takes ten.
const LIVENESS_TURNS: u32 = 900;

fn chance(random: &mut ChaCha8Rng, percent: u32) -> bool {
    random.random_range(0..100) < percent
}

fn run(seed: u64, faults: Faults) -> BTreeSet<&'static str> {
    println!("replay with SETTLEMENT_SEED={seed} cargo test -p joule-settlement simulation ({faults:?})");
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let mut l1 = L1::new();
    let mut committee = Committee::new();
    let mut node = Node::new(&l1);
    for _ in 0..SAFETY_TURNS {
        if chance(random, 25) {
            node.seal(random, &mut l1);
        }
        match random.random_range(0..100) {
            0..=3 => committee.is_up = !committee.is_up,
            4..=7 => l1.reorganise(random.random_range(1..=l1::CONFIRMATIONS), chance(random, 50)),
            8..=9 => l1.loss_percent = [0, 0, 30, 100][random.random_range(0..4)],
            10..=11 => node.proof_delay_s = [12, 60, 600, 5_000][random.random_range(0..4)],
            12..=13 => l1.stranger_reverts = true,
            14..=16 => node.restart(&l1),
            17 if faults.disk_loss => node.rebuild(&mut l1),
            18..=19 => l1.wait(random.random_range(100..1_500)),
            20 => l1.foreign_transaction(),
            21 => l1.change_keyset(),
            _ => {}
        }
        let dies = chance(random, 5);
        node.turn(random, &mut l1, &mut committee, dies);
        l1.mine(random);
    }
    // All is well from here on.
    (committee.is_up, l1.loss_percent, l1.stranger_reverts, node.proof_delay_s) = (true, 0, false, 12);
    for _ in 0..LIVENESS_TURNS {
        if node.is_done() {
            return node.seen;
        }
        node.turn(random, &mut l1, &mut committee, false);
        if node.is_lost(&l1) {
            node.rebuild(&mut l1);
        }
        l1.mine(random);
    }
    panic!("seed {seed}: not all was executed: {}", node.describe(&l1));
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SETTLEMENT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

/// Runs all seeds, and holds the simulation to having met what it is there for.
fn run_all(count: u64, faults: Faults, expected: &[&'static str]) {
    let seeds = seeds(count);
    let seen: BTreeSet<_> = seeds.iter().flat_map(|&seed| run(seed, faults)).collect();
    let missing: Vec<_> = expected.iter().filter(|what| !seen.contains(**what)).collect();
    assert!(missing.is_empty() || seeds.len() == 1, "never happened: {missing:?}");
}

/// What histories with a disk must meet.
const WITH_A_DISK: &[&str] = &[
    "gather",
    "ask for a proof",
    "mark",
    "post",
    "commit with a certificate",
    "commit with data on L1",
    "prove",
    "execute",
    "settle with a certificate",
    "settle with data on L1",
    "cancel",
    "fall back",
    "return to the committee",
    "operator late",
    "proof late",
    "certificate expired",
];

#[test]
fn simulation_with_a_disk() {
    run_all(300, Faults { disk_loss: false }, WITH_A_DISK);
}

#[test]
fn simulation_with_disks_lost() {
    run_all(200, Faults { disk_loss: true }, &["foreign batch", "settle with a certificate", "commit with data on L1"]);
}

#[test]
fn a_seed_replays() {
    let trace = |seed| {
        let random = &mut ChaCha8Rng::seed_from_u64(seed);
        let (mut l1, mut committee) = (L1::new(), Committee::new());
        let mut node = Node::new(&l1);
        for _ in 0..50 {
            node.seal(random, &mut l1);
            node.turn(random, &mut l1, &mut committee, false);
            l1.mine(random);
        }
        l1.head().hash
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
