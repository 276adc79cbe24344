//! Signed payments through RPC, measured from outside: what a wallet would see.
//!
//! The node runs in this process, on a database in a temporary folder, with fsync as always. Deposits are written as if L1 had made them. The payments are plain transfers between many wallets, signed
//! beforehand, and sent one by one with `eth_sendRawTransaction` over WebSocket connections on loopback; the generator and its JSON run on the same processor. A payment's latency ends when a
//! client that follows `newHeads` has asked for the block and found the payment in it: from then on its receipt can be had.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures::{StreamExt, stream::FuturesUnordered};
use joule_protocol::{Address, Genesis, Hash, Hashing, Native, PriorityKind, PriorityRequest, limits::BLOCK_GAS_MAX};
use joule_rpc::{Limits, Node};
use joule_sequencer::{BatchLimits, PoolLimits, SequencerConfig};
use joule_storage::{Database, L1Cursor};
use joule_workload::{Key, sign_call};
use jsonrpsee::{
    core::client::{ClientT, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde::Serialize;
use serde_json::Value;

use crate::{BlockKey, RunningNode, Setup};

/// Price per unit of gas in the bench.
const BASE_FEE: u64 = 1_000;
/// What each wallet starts with.
const BALANCE: u128 = 1 << 80;

/// What is measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Seconds of load.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Payments sent per second.
    #[arg(long, default_value_t = 1_500)]
    pub rate: u64,
    /// Wallets that pay.
    #[arg(long, default_value_t = 500)]
    pub wallets: u64,
    /// Connections they share.
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Seconds of silence afterwards, in which processor time is measured.
    #[arg(long, default_value_t = 5)]
    pub idle_seconds: u64,
    /// Folder for the database; a temporary one if none is given. The disk below it is part of what is measured.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// A percentile or two, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half are faster.
    pub p50_ms: f64,
    /// Ninety-nine of a hundred are faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Report {
    /// Payments acknowledged.
    pub submitted: u64,
    /// Payments found in blocks.
    pub included: u64,
    /// Seconds from the first submission until the last payment was found.
    pub seconds: f64,
    /// Payments found, per second.
    pub payments_per_second: f64,
    /// From sending a payment until it is acknowledged, and therefore durable.
    pub submit_to_acknowledged: Latency,
    /// From sending a payment until its receipt can be had.
    pub submit_to_receipt: Latency,
    /// Blocks with payments.
    pub blocks: u64,
    /// Processor seconds of everything, generator included.
    pub processor_seconds: f64,
    /// Processors of this machine.
    pub processors: usize,
    /// Blocks made in the silence afterwards.
    pub idle_blocks: u64,
    /// Processor time in the silence, percent of one processor.
    pub idle_processor_percent: f64,
}

/// The bench's chain; it begins now.
pub fn genesis() -> Genesis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Genesis {
        chain_id: 7_707,
        l1_chain_id: 31_337,
        base_token: Address::ZERO,
        fee_recipient: Address([0xfe; 20]),
        base_fee_max: 1_000_000_000_000,
        grace_seconds: 8 * 24 * 3_600,
        channel_close_seconds: 8 * 24 * 3_600,
        timestamp: now,
        salt: Hash([7; 32]),
    }
}

/// What a node of benches and tests is told.
pub fn sequencer_config() -> SequencerConfig {
    SequencerConfig {
        base_fee: BASE_FEE,
        block_interval_ms: 100,
        pool: PoolLimits::default(),
        batch: BatchLimits {
            gas_max: 16 * BLOCK_GAS_MAX,
            data_bytes_max: 2_000_000,
            blocks_max: 600,
            age_ms_max: 3_600_000,
        },
    }
}

/// Writes one deposit for each address as if L1 had made it.
///
/// # Errors
/// The disk.
pub fn deposit(database: &Database, addresses: &[Address]) -> anyhow::Result<()> {
    let timestamp = database.genesis().timestamp;
    let kind = PriorityKind::Deposit as u8;
    let requests: Vec<Vec<u8>> = addresses
        .iter()
        .map(|&to| PriorityRequest { kind, sender: to, to, amount: BALANCE, timestamp, data: Vec::new() }.encode())
        .collect();
    database.follow_l1(&L1Cursor { number: 1, hash: Hash::ZERO }, 0, &requests)?;
    Ok(())
}

struct Payment {
    raw: String,
    hash: Hash,
}

/// Signs `count` payments: wallet after wallet pays the one seven places on.
fn sign(keys: &[Key], chain_id: u64, count: u64) -> Vec<Payment> {
    let wallets = keys.len() as u64;
    (0..count)
        .map(|index| {
            let (wallet, nonce) = ((index % wallets) as usize, index / wallets);
            let to = keys[(wallet + 7) % keys.len()].address;
            let bytes = sign_call(chain_id, &keys[wallet], nonce, BASE_FEE.into(), &to, 1 + u128::from(nonce), None);
            Payment { hash: Native::keccak256(&bytes), raw: format!("0x{}", hex::encode(bytes)) }
        })
        .collect()
}

async fn connect(node: &RunningNode) -> anyhow::Result<WsClient> {
    let url = format!("ws://{}", node.rpc());
    let builder = WsClientBuilder::default().max_concurrent_requests(4_096).request_timeout(Duration::from_secs(60));
    builder.build(&url).await.with_context(|| format!("connecting to {url}"))
}

/// When each payment was found in a block.
type Found = Arc<Mutex<HashMap<Hash, Instant>>>;

/// Follows heads, asks for each block, and notes what is in it. Ends when `expected` payments are found.
async fn follow(client: WsClient, found: Found, expected: usize) -> anyhow::Result<u64> {
    let mut heads: Subscription<Value> =
        client.subscribe("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe").await?;
    let mut blocks = 0;
    while let Some(head) = heads.next().await {
        let number = head?["number"].clone();
        let block: Value = client.request("eth_getBlockByNumber", rpc_params![number, false]).await?;
        let now = Instant::now();
        let hashes = block["transactions"].as_array().context("a block lists its transactions")?;
        blocks += u64::from(!hashes.is_empty());
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes.iter().filter_map(Value::as_str) {
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash.trim_start_matches("0x"), &mut bytes)
                .map_err(|error| anyhow!("a hash of a block: {error}"))?;
            found.insert(Hash(bytes), now);
        }
        if found.len() >= expected {
            return Ok(blocks);
        }
    }
    bail!("the node has ended the subscription")
}

/// Sends each payment when it is due and returns when each was sent and acknowledged.
async fn send(
    client: WsClient,
    payments: Vec<(Duration, Payment)>,
    start: Instant,
) -> anyhow::Result<Vec<(Hash, Instant, Duration)>> {
    let mut under_way = FuturesUnordered::new();
    let mut done = Vec::with_capacity(payments.len());
    for (due, payment) in payments {
        let due = tokio::time::Instant::from_std(start + due);
        loop {
            tokio::select! {
                biased;
                Some(result) = under_way.next(), if !under_way.is_empty() => done.push(result),
                () = tokio::time::sleep_until(due) => break,
            }
        }
        let client = &client;
        under_way.push(async move {
            let sent = Instant::now();
            let answer: Result<String, _> = client.request("eth_sendRawTransaction", rpc_params![payment.raw]).await;
            answer.map(|_| (payment.hash, sent, sent.elapsed()))
        });
    }
    while let Some(result) = under_way.next().await {
        done.push(result);
    }
    done.into_iter().map(|result| result.context("a payment was not taken")).collect()
}

fn latency(mut durations: Vec<Duration>) -> Latency {
    durations.sort_unstable();
    let at = |part: f64| {
        let index = ((durations.len() as f64 * part) as usize).min(durations.len().saturating_sub(1));
        durations.get(index).map_or(0.0, |duration| duration.as_secs_f64() * 1_000.0)
    };
    Latency { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
}

/// Processor seconds of this process so far, from the kernel's count of hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name in parentheses, which may hold spaces; user and system time are the 12th and 13th after it.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = |index| after.split_whitespace().nth(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) as f64 / 100.0
}

/// Runs the bench and prints what was measured.
///
/// # Errors
/// A payment that is not taken, a disk or a port that fails.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let report = measure(options).await?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("payments in blocks      {} of {} acknowledged", report.included, report.submitted);
    println!(
        "payments per second     {:.0} over {:.1} s, {} blocks",
        report.payments_per_second, report.seconds, report.blocks
    );
    for (name, latency) in [("acknowledged", report.submit_to_acknowledged), ("receipt     ", report.submit_to_receipt)]
    {
        println!(
            "submit to {name}  p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
            latency.p50_ms, latency.p99_ms, latency.max_ms
        );
    }
    println!("processor seconds       {:.1} on {} processors", report.processor_seconds, report.processors);
    println!(
        "idle                    {} blocks, {:.1} % of one processor",
        report.idle_blocks, report.idle_processor_percent
    );
    Ok(())
}

/// Runs the bench.
///
/// # Errors
/// As [`run`].
pub async fn measure(options: &Options) -> anyhow::Result<Report> {
    if options.rate == 0 || options.wallets == 0 || options.connections == 0 || options.seconds == 0 {
        bail!("rate, wallets, connections and seconds must not be zero");
    }
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    let genesis = genesis();
    let keys: Vec<Key> = (0..options.wallets).map(|index| Key::derive("bench", 1, index)).collect();
    let addresses: Vec<Address> = keys.iter().map(|key| key.address).collect();
    let count = options.rate * options.seconds;
    let payments = sign(&keys, genesis.chain_id, count);

    let database = Database::open(&folder, &genesis)?;
    deposit(&database, &addresses)?;
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let key = BlockKey::from_secret([1; 32]).context("32 bytes are a key")?;
    let node = RunningNode::start(Setup {
        database: database.clone(),
        sequencer: sequencer_config(),
        key,
        rpc: any,
        limits: Limits::default(),
        operations: any,
        l1: None,
        peers: None,
    })
    .await?;
    let mut events = node.node().subscribe();
    while database.view()?.head().priority_count < options.wallets {
        events.recv().await?;
    }

    let found: Found = Arc::default();
    let follower = tokio::spawn(follow(connect(&node).await?, found.clone(), payments.len()));
    let mut shares: Vec<Vec<(Duration, Payment)>> = (0..options.connections).map(|_| Vec::new()).collect();
    for (index, payment) in payments.into_iter().enumerate() {
        // A wallet keeps to its connection, so that its nonces arrive in order.
        let share = index % keys.len() % options.connections;
        shares[share].push((Duration::from_secs_f64(index as f64 / options.rate as f64), payment));
    }
    let processor_before = processor_seconds();
    let start = Instant::now();
    let mut senders = Vec::new();
    for share in shares {
        senders.push(tokio::spawn(send(connect(&node).await?, share, start)));
    }
    let mut sent = Vec::with_capacity(count as usize);
    for sender in senders {
        sent.extend(sender.await??);
    }
    let blocks = tokio::time::timeout(Duration::from_secs(60), follower)
        .await
        .context("not all payments were in blocks a minute after the last one was sent")???;
    let processor_seconds_used = processor_seconds() - processor_before;

    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    let last = found.values().max().copied().unwrap_or(start);
    let included = sent.iter().filter(|(hash, ..)| found.contains_key(hash)).count() as u64;
    let receipts = sent.iter().filter_map(|(hash, at, _)| found.get(hash).map(|found| found.duration_since(*at)));
    let (head, idle_before) = (database.view()?.head().block_number, processor_seconds());
    tokio::time::sleep(Duration::from_secs(options.idle_seconds)).await;
    let idle_blocks = database.view()?.head().block_number - head;
    let idle_processor_percent = match options.idle_seconds {
        0 => 0.0,
        seconds => 100.0 * (processor_seconds() - idle_before) / seconds as f64,
    };
    let seconds = last.duration_since(start).as_secs_f64();
    let report = Report {
        submitted: sent.len() as u64,
        included,
        seconds,
        payments_per_second: included as f64 / seconds,
        submit_to_acknowledged: latency(sent.iter().map(|&(_, _, took)| took).collect()),
        submit_to_receipt: latency(receipts.collect()),
        blocks,
        processor_seconds: processor_seconds_used,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        idle_blocks,
        idle_processor_percent,
    };
    node.stop().await?;
    Ok(report)
}
