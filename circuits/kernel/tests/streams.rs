//! Random streams of transactions and requests keep the rules of the chain, natively and under hints.

use std::collections::{BTreeMap, BTreeSet};

use joule_kernel::{Event, NotExecuted, Outcome, SiblingPaths, run_segment};
use joule_protocol::{
    Account, Accumulator, Amount, CallKind, ChannelStatus, Envelope, JobStatus, Key, Kind, Native, Object,
    PriorityKind, PriorityRequest, Rejection, SystemContract,
};
use joule_state::{BlockItems, Leaf, MemoryStore, StateTree, apply_chunk, witness_segment};
use joule_workload::{Chain, Chaos, ExecutedBlock, GENESIS_SECONDS, Item, Population};

/// One stream, and everything that is checked of it block by block.
struct Stream {
    chain: Chain,
    chaos: Chaos,
    /// The same chain, rebuilt from batch data alone.
    rebuilt: StateTree<MemoryStore>,
    rebuilt_at: joule_protocol::Checkpoint,
    settled: BTreeSet<(joule_protocol::Address, u64)>,
    redeemed: BTreeMap<(joule_protocol::Address, u64), Amount>,
    taken: usize,
    outcomes: BTreeMap<u32, usize>,
    closings: usize,
}

impl Stream {
    fn new(seed: u64) -> Self {
        let chain = Chain::new(Chain::test_genesis());
        let population = Population::new(seed, &chain.genesis, 6, 8);
        let chaos = Chaos::new(seed, population, GENESIS_SECONDS + 10);
        let rebuilt = Chain::new(chain.genesis).execution;
        Self {
            rebuilt: rebuilt.tree().clone(),
            rebuilt_at: *rebuilt.checkpoint(),
            chain,
            chaos,
            settled: BTreeSet::new(),
            redeemed: BTreeMap::new(),
            taken: 0,
            outcomes: BTreeMap::new(),
            closings: 0,
        }
    }

    /// Draws and executes one block, then checks every rule.
    fn step(&mut self, items: usize) -> ExecutedBlock {
        self.chaos.advance();
        let (mut requests, mut transactions) = (Vec::new(), Vec::new());
        if self.taken == 0 {
            for wallet in 0..self.chaos.population.wallets.len() {
                let Item::Request(bytes) = self.chaos.deposit(wallet, 1 << 90) else { unreachable!() };
                requests.push(bytes);
            }
        }
        for index in 0..items {
            match self.chaos.next_item(index < 8) {
                Item::Request(bytes) => requests.push(bytes),
                Item::Transaction { bytes, .. } => transactions.push(bytes),
            }
        }
        requests.truncate(joule_protocol::limits::BLOCK_PRIORITY_MAX);
        let before = self.chain.execution.tree().clone();
        let block = self.chain.block(self.chaos.now, 100, &requests, &transactions).expect("streams never abort");
        self.taken += block.transactions.len() + block.requests.len();
        for (_, error) in &block.refused {
            assert!(matches!(error, NotExecuted::Refused(_) | NotExecuted::BlockFull), "nothing aborts: {error}");
        }
        self.check_nonces(&before, &block);
        self.check_events(&block);
        self.check_money();
        self.check_tree();
        self.check_rebuild(&block);
        block
    }

    fn account(tree: &StateTree<MemoryStore>, address: &joule_protocol::Address) -> Account {
        match tree.get(&Key::account(address)) {
            Ok(Some(Object::Account(account))) => account,
            Ok(None) => Account::default(),
            other => panic!("an account or nothing lives under an account's key, not {other:?}"),
        }
    }

    /// A nonce grows by one for each transaction in a block and each applied forced call, and by nothing else.
    fn check_nonces(&mut self, before: &StateTree<MemoryStore>, block: &ExecutedBlock) {
        for wallet in 0..self.chaos.population.wallets.len() {
            let address = self.chaos.population.wallets[wallet].address;
            let own = block.transactions.iter().filter(|done| done.transaction.sender == address).count();
            let forced =
                block.items.requests.iter().zip(&block.requests).filter(|(bytes, outcome)| {
                    bytes[0] == 3 && bytes[1..21] == address.0 && **outcome == Outcome::Applied
                });
            let expected = Self::account(before, &address).nonce + own as u64 + forced.count() as u64;
            let now = Self::account(self.chain.execution.tree(), &address).nonce;
            assert_eq!(now, expected, "the nonce of {address}");
            self.chaos.set_nonce(wallet, now);
        }
        for outcome in block.transactions.iter().map(|done| done.outcome).chain(block.requests.iter().copied()) {
            *self.outcomes.entry(outcome.code()).or_default() += 1;
        }
    }

    /// A job is settled once; what a channel has paid only grows; its delay begins with a forced call.
    fn check_events(&mut self, block: &ExecutedBlock) {
        for event in &block.events {
            match *event {
                Event::JobSettled { client, client_nonce, .. } => {
                    assert!(self.settled.insert((client, client_nonce)), "a job is settled once");
                }
                Event::VoucherRedeemed { client, client_nonce, amount, cumulative, .. } => {
                    let before = self.redeemed.insert((client, client_nonce), cumulative).unwrap_or(0);
                    assert!(cumulative > before && amount == cumulative - before, "vouchers grow");
                }
                Event::ChannelClosing { closing_time, .. } => {
                    self.closings += 1;
                    assert_eq!(closing_time, self.chaos.now + self.chain.genesis.channel_close_seconds);
                }
                _ => {}
            }
        }
        let closes = block.items.requests.iter().zip(&block.requests).filter(|(bytes, outcome)| {
            let request = PriorityRequest::decode(bytes).expect("streams make requests");
            let kind = SystemContract::at(&request.to).map(|contract| CallKind::of(contract, &request.data));
            let is_close = request.kind == PriorityKind::ForcedCall as u8 && kind == Some(CallKind::CloseChannel);
            is_close && **outcome == Outcome::Applied
        });
        let closing = block.events.iter().filter(|event| matches!(event, Event::ChannelClosing { .. }));
        assert_eq!(closing.count(), closes.count(), "only forced calls close a channel alone");
    }

    /// Deposited − withdrawn is what all objects hold.
    fn check_money(&self) {
        let tree = self.chain.execution.tree();
        let held: Amount = tree.store().leaves().filter_map(|(_, leaf)| leaf.object).map(|object| object.money()).sum();
        let Ok(Some(Object::Chain(chain))) = tree.get(&Key::CHAIN) else { panic!("the chain object is always there") };
        assert_eq!(held, chain.deposited - chain.withdrawn, "money is conserved");
        assert_eq!(tree.leaf_count(), tree.store().leaves().count() as u64);
        assert_eq!(tree.leaf_count(), chain.leaf_count);
        let bonded: Amount = tree
            .store()
            .leaves()
            .filter_map(|(_, leaf)| leaf.object)
            .map(|object| match object {
                Object::Job(job) if job.status == JobStatus::Claimed => job.bond,
                _ => 0,
            })
            .sum();
        let locked: Amount = tree
            .store()
            .leaves()
            .filter_map(|(_, leaf)| leaf.object)
            .map(|object| match object {
                Object::Device(device) => device.bonded,
                _ => 0,
            })
            .sum();
        assert_eq!(bonded, locked, "bonds of claimed jobs are what devices have locked");
        for (_, leaf) in tree.store().leaves() {
            match leaf.object {
                Some(Object::Job(job)) if job.status as u32 >= JobStatus::Settled as u32 => assert_eq!(job.escrow, 0),
                Some(Object::Channel(channel)) if channel.status != ChannelStatus::Closed => {
                    assert!(channel.paid <= channel.deposit);
                }
                _ => {}
            }
        }
    }

    /// The list is sorted and complete, every opening checks, and what is absent proves absent.
    fn check_tree(&mut self) {
        let tree = self.chain.execution.tree();
        let leaves: Vec<(Key, Leaf)> = tree.store().leaves().map(|(key, leaf)| (*key, *leaf)).collect();
        for pair in leaves.windows(2) {
            assert_eq!(pair[0].1.next, pair[1].0);
        }
        assert_eq!(leaves.last().map(|(_, leaf)| leaf.next), Some(Key::LAST));
        for index in [0, leaves.len() / 3, leaves.len() / 2, leaves.len() - 1] {
            let (key, leaf) = leaves[index];
            let proof = tree.prove(&key).expect("memory does not fail");
            assert_eq!(proof.verify(tree.root(), &key), Some(leaf.object));
            let mut absent = *key.words();
            absent[7] ^= 0x8000_0000;
            let absent = Key::from_words(absent);
            if tree.get(&absent).expect("memory does not fail").is_none()
                && key.kind() != Ok(Kind::Chain)
                && absent > Key::FIRST
            {
                let proof = tree.prove(&absent).expect("memory does not fail");
                assert_eq!(proof.verify(tree.root(), &absent), Some(None));
                assert_eq!(
                    proof.verify(tree.root(), &key),
                    if proof.key == key { None } else { proof.verify(tree.root(), &key) }
                );
            }
        }
    }

    /// Batch data alone leads to the same state and checkpoint.
    fn check_rebuild(&mut self, block: &ExecutedBlock) {
        let checkpoint = *self.chain.execution.checkpoint();
        let mut priority = block.parent.priority_acc;
        for request in &block.items.requests {
            priority.absorb::<Native>(request);
        }
        // The chunk was consumed by value in the block; its bytes are what the accumulator took.
        let bytes = self.chunk_of(block);
        let next = apply_chunk(&mut self.rebuilt, &self.rebuilt_at, &bytes, priority).expect("own data rebuilds");
        assert_eq!(next, checkpoint);
        self.rebuilt_at = next;
        let mut wrong = bytes.clone();
        let at = wrong.len() / 2;
        wrong[at] ^= 1;
        let mut acc = Accumulator(block.parent.data_acc.0);
        acc.absorb::<Native>(&wrong);
        assert_ne!(acc, checkpoint.data_acc, "other data has another accumulator");
    }

    fn chunk_of(&self, block: &ExecutedBlock) -> Vec<u8> {
        block.sealed.block.chunk.bytes().to_vec()
    }
}

/// 24 streams × 92 blocks × 55 items: more than 100,000 transactions and requests that blocks took.
#[test]
fn streams_keep_the_rules() {
    let results: Vec<(usize, BTreeMap<u32, usize>, usize)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                scope.spawn(move || {
                    let seeds = (0..24).filter(|seed| seed % 2 == worker);
                    let run = |seed| {
                        let mut stream = Stream::new(seed);
                        (0..92).for_each(|_| drop(stream.step(55)));
                        (stream.taken, stream.outcomes, stream.closings)
                    };
                    seeds.map(run).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no stream breaks a rule")).collect()
    });
    let taken: usize = results.iter().map(|(taken, ..)| taken).sum();
    let closings: usize = results.iter().map(|(.., closings)| closings).sum();
    let mut outcomes: BTreeMap<u32, usize> = BTreeMap::new();
    for (code, count) in results.into_iter().flat_map(|(_, outcomes, _)| outcomes) {
        *outcomes.entry(code).or_default() += count;
    }
    println!("{taken} taken, {closings} closes; outcomes by code: {outcomes:?}");
    assert!(taken >= 100_000, "only {taken} were taken");
    assert!(closings >= 100, "only {closings} channels were closed by force");
    // `rejections.rs` meets each one for certain; streams that met few would test less than they should.
    assert!(outcomes.len() > Rejection::ALL.len() * 3 / 4, "only {} kinds of outcome", outcomes.len());
}

/// What the node executes, the proven program executes to the same checkpoint, given only hints and siblings.
#[test]
fn hints_lead_to_the_same_checkpoint() {
    for seed in 100..106 {
        let mut stream = Stream::new(seed);
        let mut tree = stream.chain.execution.tree().clone();
        let from = *stream.chain.execution.checkpoint();
        let blocks: Vec<_> = (0..8).map(|_| stream.step(25).items).collect();
        let (witness, reached) = witness_segment(&mut tree, stream.chain.genesis.chain_id, &from, &blocks)
            .expect("executed blocks have witnesses");
        assert_eq!(reached, *stream.chain.execution.checkpoint());
        let mut siblings = SiblingPaths(witness.siblings.iter());
        let output = run_segment::<Native>(&witness.input, &mut siblings).expect("honest hints are accepted");
        assert_eq!(output.from, from.hash::<Native>());
        assert_eq!(output.to, reached.hash::<Native>());
        assert_eq!(siblings.0.len(), 0, "every sibling path was used");
    }
}

/// Whatever a prover changes in the input, the program aborts or says something else than before; it never panics, and it never
/// reaches another end from the same beginning with the same transactions.
#[test]
fn changed_hints_are_caught() {
    let mut stream = Stream::new(7);
    let mut tree = stream.chain.execution.tree().clone();
    let from = *stream.chain.execution.checkpoint();
    let blocks: Vec<_> = (0..3).map(|_| stream.step(20).items).collect();
    let (witness, reached) = witness_segment(&mut tree, stream.chain.genesis.chain_id, &from, &blocks).unwrap();
    let honest = run_segment::<Native>(&witness.input, &mut SiblingPaths(witness.siblings.iter())).unwrap();
    let padding = padding(&witness.input, &blocks);
    let (mut aborted, mut different) = (0, 0);
    let stride = (witness.input.len() / 4_000).max(1);
    for at in (0..witness.input.len()).step_by(stride) {
        for change in [1_u32, 0x8000_0000, u32::MAX] {
            let mut input = witness.input.clone();
            input[at] ^= change;
            match run_segment::<Native>(&input, &mut SiblingPaths(witness.siblings.iter())) {
                Err(_) => aborted += 1,
                Ok(output) => {
                    different += 1;
                    // Free choices of a sequencer (time, base fee) and bytes of padding are not hints: what they lead to is another, equally
                    // true statement.
                    let padding = padding.get(&at).copied().unwrap_or(0);
                    assert!(output != honest || change & !padding == 0, "word {at} of the input binds nothing");
                }
            }
        }
    }
    for index in (0..witness.siblings.len()).step_by(7) {
        let mut siblings = witness.siblings.clone();
        siblings[index][3] = joule_protocol::Digest::new([1, 2, 3, 4]).unwrap();
        assert!(run_segment::<Native>(&witness.input, &mut SiblingPaths(siblings.iter())).is_err());
    }
    println!("{aborted} changes aborted, {different} led elsewhere; reached block {}", reached.block_number);
}

/// The bits of the input that are padding behind the last bytes of a request or of what a transaction's sender signed: word to mask. Nothing else may go unread.
fn padding(input: &[u32], blocks: &[BlockItems]) -> BTreeMap<usize, u32> {
    let requests = blocks.iter().flat_map(|block| &block.requests).map(|request| (request.clone(), Vec::new()));
    let transactions = blocks.iter().flat_map(|block| &block.transactions).map(|transaction| {
        let envelope = Envelope::decode(transaction).expect("an executed transaction");
        let [r, s] = envelope.signature.words();
        (envelope.preimage().into_owned(), [&r[..], s, &[envelope.signature.is_odd().into()]].concat())
    });
    requests
        .chain(transactions)
        .filter(|(bytes, _)| bytes.len() % 4 != 0)
        .map(|(bytes, signature)| {
            let mut words = vec![bytes.len() as u32];
            words.extend(signature);
            words.extend(bytes.chunks(4).map(|chunk| {
                let mut bytes = [0; 4];
                bytes[..chunk.len()].copy_from_slice(chunk);
                u32::from_le_bytes(bytes)
            }));
            let at = input.windows(words.len()).position(|window| window == words).expect("every item is in the input");
            (at + words.len() - 1, u32::MAX << (8 * (bytes.len() % 4)))
        })
        .collect()
}
