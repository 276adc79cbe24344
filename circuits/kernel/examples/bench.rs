//! How many wallet-signed payments one core executes in a second, the state in memory.
//!
//! ```text
//! cargo run -p joule-kernel --example bench
//! cargo run -p joule-kernel --example bench -- --json --payments 50000
//! ```
//!
//! The payments are those of `joule_workload::payments`: transfers, jobs posted, claimed and settled, vouchers redeemed. Signing them is not measured. Of each
//! payment's time, *recover* is what its signatures take (a receipt or voucher has one of its own), *close* what the blocks' roots, batch data and commits take,
//! and *execute* the rest.

use std::{
    cell::Cell,
    error::Error,
    time::{Duration, Instant},
};

use joule_kernel::{BlockExecutor, Crypto, NotExecuted, Outcome};
use joule_protocol::{Address, Checkpoint, Digest, Hash, Hashing, Native, Signature, Tag};
use joule_state::{MemoryStore, StateTree, TreeOpenings};
use joule_workload::{Chain, GENESIS_SECONDS, Population, payments};

const BASE_FEE: u64 = 100;
const NOW: u64 = GENESIS_SECONDS + 60;

/// [`Native`] with a clock around recovery.
struct Timed;

thread_local! {
    static RECOVERING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl Hashing for Timed {
    fn keccak256(bytes: &[u8]) -> Hash {
        Native::keccak256(bytes)
    }

    fn hash_words(tag: Tag, words: &[u32]) -> Digest {
        Native::hash_words(tag, words)
    }
}

impl Crypto for Timed {
    fn recover(digest: &Hash, signature: &Signature) -> Option<Address> {
        let start = Instant::now();
        let address = Native::recover(digest, signature);
        RECOVERING.set(RECOVERING.get() + start.elapsed());
        address
    }
}

/// A chain, and where the time went.
struct Bench {
    tree: StateTree<MemoryStore>,
    checkpoint: Checkpoint,
    chain_id: u64,
    filling: Duration,
    closing: Duration,
    blocks: u64,
}

impl Bench {
    /// Puts all items into as many blocks as they need.
    fn run(&mut self, requests: &[Vec<u8>], transactions: &[&[u8]]) -> Result<(), Box<dyn Error>> {
        let (mut requests, mut transactions) = (requests, transactions);
        while !requests.is_empty() || !transactions.is_empty() {
            let start = Instant::now();
            let mut state = TreeOpenings::new(&self.tree);
            let mut block =
                BlockExecutor::<_, Timed>::begin(&mut state, self.chain_id, &self.checkpoint, NOW, BASE_FEE, 0)?;
            while let Some((request, rest)) = requests.split_first() {
                match block.request(request, &mut ()) {
                    Ok(outcome) => applied(outcome)?,
                    Err(NotExecuted::BlockFull) => break,
                    Err(error) => return Err(error.into()),
                }
                requests = rest;
            }
            while requests.is_empty()
                && let Some((transaction, rest)) = transactions.split_first()
            {
                match block.transaction(transaction, &mut ()) {
                    Ok(executed) => applied(executed.outcome)?,
                    Err(NotExecuted::BlockFull) => break,
                    Err(error) => return Err(error.into()),
                }
                transactions = rest;
            }
            let filled = Instant::now();
            self.checkpoint = block.seal()?.checkpoint;
            let changes = state.into_changes().ok_or("a sealed block has changes")?;
            self.tree.commit(&changes)?;
            self.filling += filled - start;
            self.closing += filled.elapsed();
            self.blocks += 1;
        }
        Ok(())
    }
}

/// A payment that is rejected is none.
fn applied(outcome: Outcome) -> Result<(), Box<dyn Error>> {
    match outcome {
        Outcome::Applied => Ok(()),
        Outcome::Rejected(rejection) => Err(rejection.into()),
    }
}

struct Arguments {
    json: bool,
    payments: usize,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut arguments = Self { json: false, payments: 20_000 };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--json" => arguments.json = true,
                "--payments" => {
                    let number = given.next().ok_or("--payments needs a number")?;
                    arguments.payments = match number.parse() {
                        Ok(number) if number > 0 => number,
                        _ => return Err(format!("--payments needs a number above zero, not {number}")),
                    };
                }
                other => return Err(format!("unknown argument {other}; there are --json and --payments N")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { json, payments: count } = Arguments::parse()?;
    let chain = Chain::new(Chain::test_genesis());
    let population = Population::new(1, &chain.genesis, 512, 64);
    let made = payments(&population, NOW, BASE_FEE.into(), count);
    let mut bench = Bench {
        tree: chain.execution.tree().clone(),
        checkpoint: *chain.execution.checkpoint(),
        chain_id: chain.genesis.chain_id,
        filling: Duration::ZERO,
        closing: Duration::ZERO,
        blocks: 0,
    };
    let setup: Vec<&[u8]> = made.setup.iter().map(Vec::as_slice).collect();
    bench.run(&made.deposits, &setup)?;

    (bench.filling, bench.closing, bench.blocks) = (Duration::ZERO, Duration::ZERO, 0);
    RECOVERING.set(Duration::ZERO);
    let payments: Vec<&[u8]> = made.payments.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    bench.run(&[], &payments)?;

    let seconds = (bench.filling + bench.closing).as_secs_f64();
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let recover = microseconds(RECOVERING.get());
    let (execute, close) = (microseconds(bench.filling) - recover, microseconds(bench.closing));
    let per_second = count as f64 / seconds;
    if json {
        let report = serde_json::json!({
            "payments": count,
            "blocks": bench.blocks,
            "seconds": seconds,
            "per_second": per_second,
            "microseconds": { "recover": recover, "execute": execute, "close": close },
        });
        println!("{report:#}");
    } else {
        println!("{count} payments in {} blocks: {seconds:.2} s on one core, {per_second:.0} a second", bench.blocks);
        println!("each takes {recover:.1} µs to recover signers, {execute:.1} µs to execute, {close:.1} µs to close");
    }
    Ok(())
}
