//! Reading and following.

use alloy::primitives::{Address, B256};
use joule_l1::{Fault, FollowConfig, Followed, Follower, L1Client, L1Error, L1Event};
use joule_protocol::{Accumulator, Native, PriorityRequest};
use joule_testnet_l1::Orphans;

use super::support::{OPERATOR, World, address, genesis};

/// What a node makes of what is delivered: requests with the block they came from.
#[derive(Default)]
struct Queue(Vec<(u64, PriorityRequest)>);

impl Queue {
    fn take(&mut self, followed: &[Followed]) -> usize {
        let mut reorgs = 0;
        for followed in followed {
            match followed {
                Followed::Event(located) => {
                    if let L1Event::PriorityRequest { index, request, .. } = &located.event {
                        assert_eq!(*index, self.0.len() as u64, "requests come in order, each once");
                        self.0.push((located.block_number, request.clone()));
                    }
                }
                Followed::Reorg { kept } => {
                    let kept = kept.map_or(0, |block| block.number);
                    self.0.retain(|(block, _)| *block <= kept);
                    reorgs += 1;
                }
                Followed::Reached(_) => {}
            }
        }
        reorgs
    }

    /// Holds the requests to L1's own accumulator.
    async fn check(&self, world: &World) {
        let mut acc = Accumulator::default();
        self.0.iter().for_each(|(_, request)| acc.absorb::<Native>(&request.encode()));
        let head = world.client.head().await.expect("a head");
        let theirs = world.client.acc_at(self.0.len() as u64, &head).await.expect("an accumulator");
        assert_eq!(B256::new(acc.0.0), theirs);
    }
}

async fn catch_up(follower: &mut Follower, queue: &mut Queue) -> usize {
    let mut reorgs = 0;
    loop {
        let followed = follower.poll().await.expect("polls");
        if followed.is_empty() {
            return reorgs;
        }
        reorgs += queue.take(&followed);
    }
}

#[tokio::test]
async fn a_new_rollup_is_read() {
    let world = World::start().await;
    let head = world.client.head().await.expect("a head");
    let state = world.client.state(head).await.expect("a state");
    assert_eq!((state.committed, state.proven, state.executed, state.revert_count), (0, 0, 0, 0));
    assert_eq!(state.executed_checkpoint, B256::new(genesis().hash::<Native>().0));
    assert_eq!(state.checkpoint_of(0), Some(state.executed_checkpoint));
    assert_eq!(state.checkpoint_of(1), None);
    assert_eq!(state.sequencer, address(OPERATOR));
    assert!(state.frozen_at_s.is_none() && !state.is_late && state.pending.is_empty());
    assert!(state.ecdsa_keyset.is_some() && state.bls_keyset.is_none());
    assert!(state.is_keyset_in_force(state.ecdsa_keyset.expect("there")));
    assert!(!state.is_keyset_in_force(B256::ZERO));
    let constants = world.client.constants();
    assert_eq!((constants.l2_chain_id, constants.queue_expiry_s, constants.late_after_s), (77_001, 3_600, 600));
    assert_eq!((constants.certificate_remaining_min_s, constants.certificate_remaining_max_s), (7_200, 30 * 86_400));
    assert_eq!(world.client.contracts().bridge, world.addresses.bridge);
    assert_eq!(world.client.contracts().committee, world.addresses.committee);
}

#[tokio::test]
async fn a_wrong_configuration_is_named() {
    let world = World::start().await;
    let url = world.l1.url();
    let connect = |chain_id, rollup| L1Client::connect(&url, chain_id, rollup, 0);
    let wrong = connect(1, world.addresses.rollup).await.expect_err("another chain");
    assert!(matches!(wrong, L1Error::WrongChain { expected: 1, got: 31_337 }), "{wrong}");
    let wrong = connect(31_337, Address::repeat_byte(5)).await.expect_err("no contract");
    assert!(matches!(wrong, L1Error::NoRollup { .. }), "{wrong}");
    assert_eq!(wrong.fault(), Fault::Configuration);
    let wrong = L1Client::connect("not a URL", 31_337, world.addresses.rollup, 0).await.expect_err("no URL");
    assert!(matches!(wrong, L1Error::Url { .. }), "{wrong}");
    let gone = L1Client::connect("http://127.0.0.1:1", 31_337, world.addresses.rollup, 0).await.expect_err("no node");
    assert_eq!(gone.fault(), Fault::Nobody);
}

#[tokio::test]
async fn requests_are_followed_through_reorgs() {
    let world = World::start().await;
    let config = FollowConfig { confirmations: 0, window_blocks_max: 4, range_blocks_max: 3 };
    let mut follower = Follower::new(world.client.clone(), config, []);
    let mut queue = Queue::default();
    for to in 1..6 {
        world.deposit(to, 100).await;
        world.mine(1);
    }
    assert_eq!(catch_up(&mut follower, &mut queue).await, 0);
    assert_eq!(queue.0.len(), 5);
    queue.check(&world).await;

    // The last three are gone, then others stand in their place. A shorter chain alone is not yet a reorg: the node may lag.
    world.reorganise(3, Orphans::Drop);
    assert_eq!(catch_up(&mut follower, &mut queue).await, 0);
    for to in 11..15 {
        world.deposit(to, 200).await;
        world.mine(1);
    }
    assert_eq!(catch_up(&mut follower, &mut queue).await, 1);
    assert_eq!(queue.0.iter().map(|(_, request)| request.amount).collect::<Vec<_>>(), [100, 100, 200, 200, 200, 200]);
    queue.check(&world).await;

    // Goes on from what was stored, and sees the reorg that happened meanwhile.
    let stored: Vec<_> = follower.window().blocks().copied().collect();
    world.reorganise(2, Orphans::Return);
    world.mine(3);
    let mut follower = Follower::new(world.client.clone(), config, stored);
    assert_eq!(catch_up(&mut follower, &mut queue).await, 1);
    assert_eq!(queue.0.len(), 6);
    queue.check(&world).await;

    // Deeper than the window: read from the start.
    world.reorganise(5, Orphans::Drop);
    world.deposit(20, 300).await;
    world.mine(8);
    assert_eq!(catch_up(&mut follower, &mut queue).await, 1);
    assert_eq!(queue.0.last().expect("one").1.amount, 300);
    queue.check(&world).await;
}

#[tokio::test]
async fn events_wait_for_their_confirmations() {
    let world = World::start().await;
    let config = FollowConfig { confirmations: 3, ..FollowConfig::default() };
    let mut follower = Follower::new(world.client.clone(), config, []);
    let mut queue = Queue::default();
    world.deposit(1, 100).await;
    world.mine(3);
    catch_up(&mut follower, &mut queue).await;
    assert_eq!(queue.0.len(), 0, "two blocks are on top of it");
    // A reorg above what was delivered is nobody's business.
    world.reorganise(3, Orphans::Return);
    world.mine(4);
    assert_eq!(catch_up(&mut follower, &mut queue).await, 0);
    assert_eq!(queue.0.len(), 1);
    queue.check(&world).await;
}
