//! The life of a payment, for real: money comes in, a worker is paid for work that it did, and money goes out, past a certificate and a proof that L1 checks.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
};
use anyhow::{Context, bail, ensure};
use joule_contracts::{Bridge, Rollup};
use joule_l1::L1Event;
use joule_machine::kernel_image;
use joule_protocol::{
    Address as L2Address, Amount, Call, ComputeReceipt, DeviceConsent, Genesis, Hash, Hashing, Key, Native, Object,
    PriorityKind, Voucher,
};
use joule_prover_engine::{CacheFolder, CircuitVerifier, Engine, Profile};
use joule_recursion::security::Security;
use joule_rpc::{
    bundle::verify_bundle,
    wire::{ReceiptBundle, ReceiptId, WithdrawalProof},
};
use joule_settlement::Notice;
use joule_state::Store as _;
use joule_storage::{BatchRecord, Database, Stage};
use joule_tables::shape::Shape;
use joule_testnet_l1::DEVELOPMENT_ACCOUNTS;
use joule_workload::{Key as SecretKey, Population};
use serde::Serialize;

use crate::{
    client::Client,
    inference::Model,
    network::{Contracts, DEPLOYER, Ledger, Members, Sequencer, genesis},
    prover::{ProverReport, Provers, TaskReport},
    report::{Reporter, StageReport, StepReport},
};

const ETHER: Amount = 1_000_000_000_000_000_000;
/// What each wallet deposits.
const DEPOSIT: Amount = 10 * ETHER;
/// What is withdrawn, and to whom on L1.
const WITHDRAWAL: Amount = 3 * ETHER;
const RECIPIENT: Address = Address::repeat_byte(0xb0);
/// Wei for a multiply-accumulate of the worker's model.
const UNIT_PRICE: Amount = 1_000;
/// What the client has classified in the job, and call by call over the channel.
const INPUT: &str = include_str!("../../../contracts/src/Rollup.sol");
const CALLS: [&str; 3] = [
    include_str!("../../../circuits/kernel/src/channels.rs"),
    include_str!("../../../circuits/book/src/statement.md"),
    include_str!("../../../contracts/src/Bridge.sol"),
];

/// How long a batch may take from its first block to being executed.
const SETTLED_WITHIN: Duration = Duration::from_secs(3_600);

/// How much soundness is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProfileChoice {
    /// For development: `joule-prover security` prints how few bits are provable.
    Fast,
    /// At least 100 provable bits in the tables.
    Proven,
}

impl ProfileChoice {
    pub(crate) const fn name(self) -> &'static str {
        self.profile().name()
    }

    pub(crate) const fn profile(self) -> Profile {
        match self {
            Self::Fast => Profile::Fast,
            Self::Proven => Profile::Proven,
        }
    }

    const fn tables(self) -> joule_tables::config::Profile {
        match self {
            Self::Fast => joule_tables::config::Profile::Fast,
            Self::Proven => joule_tables::config::Profile::Proven,
        }
    }
}

/// What to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  joule-testnet demo                            runs, then keeps serving wallets
  joule-testnet demo --exit --json summary.json runs, writes what happened, ends
  joule-testnet demo --l1 http://127.0.0.1:8545 settles on an anvil that is running")]
pub(crate) struct Arguments {
    /// End when everything is done, with status 0 only if all of it held.
    #[arg(long)]
    exit: bool,
    /// Write a summary for machines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Settle on this L1 instead of one in this process: a development chain such as anvil.
    #[arg(long, value_name = "URL")]
    l1: Option<String>,
    /// Transfers, besides everything else.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(0..=5_000))]
    payments: u32,
    /// Which proofs.
    #[arg(long, value_enum, default_value_t = ProfileChoice::Fast)]
    profile: ProfileChoice,
    /// Provers, each in processes of its own. One takes some 5 GiB while it proves; the first one up to 11 GiB, if a block is too large for small segments.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    provers: u8,
    /// What all keys are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where JSON-RPC listens.
    #[arg(long, default_value = "127.0.0.1:8545", value_name = "ADDRESS")]
    rpc: SocketAddr,
    /// Where databases and proofs go; a temporary folder if left out.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// What was sent to L1, and what it cost.
#[derive(Clone, Debug, Serialize)]
struct L1Step {
    step: String,
    transaction: B256,
    gas: u64,
}

/// Where all money is, in wei; decimal, because JSON's numbers are too small.
#[derive(Clone, Debug, Serialize)]
struct Conservation {
    deposited: String,
    on_l2: String,
    withdrawn: String,
    claimed: String,
    in_the_bridge: String,
    holds: bool,
}

#[derive(Clone, Debug, Serialize)]
struct BatchSummary {
    number: u64,
    blocks: u64,
    data_bytes: u64,
    data: &'static str,
}

#[derive(Debug, Serialize)]
struct SecurityOfLayer {
    layer: String,
    provable_bits: f64,
}

#[derive(Debug, Serialize)]
struct Summary {
    seed: u64,
    profile: ProfileChoice,
    program: String,
    chain_id: u64,
    l1_chain_id: u64,
    stages: Vec<StageReport>,
    circuits: Vec<StepReport>,
    tasks: Vec<TaskReport>,
    provers: Vec<ProverReport>,
    batches: Vec<BatchSummary>,
    signers: Vec<usize>,
    l1: Vec<L1Step>,
    security: Vec<SecurityOfLayer>,
    conservation: Conservation,
    all_held: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let temporary;
    let folder = match &arguments.data {
        Some(folder) => folder.clone(),
        None => {
            temporary = tempfile::tempdir()?;
            temporary.path().to_owned()
        }
    };
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    ensure!(
        fs::read_dir(&folder)?.next().is_none(),
        "{} is not empty, and the demo starts from a genesis of its own; choose another folder",
        folder.display()
    );
    let reporter = Reporter::new();
    let result = tokio::select! {
        result = demo(&arguments, &folder, &reporter) => result,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
    };
    reporter.finish();
    result
}

async fn demo(arguments: &Arguments, folder: &Path, reporter: &Reporter) -> anyhow::Result<()> {
    reporter
        .say(&format!("Joule on this machine, seed {}. Keys are public and hold nothing of value.", arguments.seed));
    let circuits = reporter.stage("circuits and keys", circuits(arguments.profile, folder, reporter.clone())).await?;
    let ledger = reporter
        .stage("L1", async {
            let ledger = Ledger::start(arguments.l1.as_deref(), arguments.seed).await?;
            let outcome = format!("chain {} at {}", ledger.chain_id, ledger.url);
            Ok((ledger, outcome))
        })
        .await?;
    let contracts = reporter
        .stage("contracts", async {
            let genesis = genesis(&ledger, 7_707, ledger.now_s().await?, arguments.seed);
            let contracts = Contracts::deploy(&ledger, genesis, circuits.verifier.program(), arguments.seed).await?;
            contracts.check_verifier(&ledger, &circuits.verifier).await?;
            let outcome = format!("rollup {}, bridge {}", contracts.addresses.rollup, contracts.addresses.bridge);
            Ok((contracts, outcome))
        })
        .await?;
    let members = reporter
        .stage("committee", async {
            let members = Members::start(&ledger, &contracts, folder).await?;
            let outcome = format!("{} members, three must sign", members.endpoints().len());
            Ok((members, outcome))
        })
        .await?;
    let mut sequencer = reporter
        .stage("sequencer", async {
            let verifier = circuits.verifier.clone();
            let started = Sequencer::start(&ledger, &contracts, &members, verifier, arguments.rpc, folder);
            let started = Box::pin(started).await?;
            let outcome = format!("JSON-RPC http://{}, chain {}", started.node.rpc(), contracts.genesis.chain_id);
            Ok((started, outcome))
        })
        .await?;

    let provers = reporter
        .stage("provers", async {
            let (count, reporter) = (arguments.provers, reporter.clone());
            let file = &circuits.verifier_file;
            let started = Provers::start(&sequencer.proofs, count, file, arguments.profile, folder, reporter).await?;
            let addresses = sequencer.proofs.coordinator().addresses();
            let outcome = format!(
                "{count} joined {} (processes {:?})",
                addresses.first().map(ToString::to_string).unwrap_or_default(),
                started.processes()
            );
            Ok((started, outcome))
        })
        .await?;

    let client = Client::connect(&format!("http://{}", sequencer.node.rpc())).await?;
    let actors = Actors::new(arguments.seed, &contracts.genesis);
    let mut l1_steps = Vec::new();
    reporter.stage("deposits", deposits(&ledger, &contracts, &client, &actors, &mut l1_steps)).await?;
    let settled_by = reporter.stage("job and receipt", job(&client, &actors, &contracts.genesis)).await?;
    reporter.stage("channel and vouchers", channel(&client, &actors)).await?;
    reporter.stage("transfers", transfers(&client, &actors, arguments.payments)).await?;
    let withdrawal = reporter.stage("withdrawal", withdraw(&client, &actors)).await?;

    let last_block = withdrawal.1;
    let batches = reporter
        .stage("settled on L1", settle(&mut sequencer, &ledger, &contracts, last_block, reporter, &mut l1_steps))
        .await?;
    reporter.stage("receipt, offline", check_receipt(&client, &ledger, &contracts, settled_by)).await?;
    reporter.stage("withdrawal claimed", claim(&client, &ledger, &contracts, withdrawal.0, &mut l1_steps)).await?;
    let tasks = reporter.tasks();
    let paid = reporter.stage("provers paid", pay(&client, &actors, provers.report(&tasks))).await?;
    let conservation = reporter.stage("conservation", conservation(&sequencer.database, &ledger, &contracts)).await?;

    let summary = Summary {
        seed: arguments.seed,
        profile: arguments.profile,
        program: hex(&circuits.verifier.program().to_hash()),
        chain_id: contracts.genesis.chain_id,
        l1_chain_id: ledger.chain_id,
        stages: reporter.stages(),
        circuits: reporter.steps(),
        provers: paid,
        tasks,
        batches,
        signers: sequencer.signatures.counts(),
        l1: l1_steps,
        security: circuits.security,
        all_held: conservation.holds,
        conservation,
    };
    print(&summary, reporter);
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&summary)? + "\n").with_context(|| path.display().to_string())?;
    }
    ensure!(summary.all_held, "money was made or lost: {:?}", summary.conservation);
    if !arguments.exit {
        reporter.say(&format!(
            "\nServing wallets on http://{} (chain {}). Ctrl-C ends it.",
            sequencer.node.rpc(),
            contracts.genesis.chain_id
        ));
        while let Some(notice) = sequencer.operations.notice().await {
            if let Notice::Stage { number, stage } = notice {
                reporter.say(&format!("           batch {number}: {stage:?}"));
            }
        }
        bail!("settlement has ended by itself; RUST_LOG=info shows why");
    }
    drop(provers);
    sequencer.stop().await?;
    members.stop().await
}

fn hex(hash: &Hash) -> String {
    B256::new(hash.0).to_string()
}

/// What is left of the circuits once they are built: they are the provers', and take gigabytes.
struct Circuits {
    verifier: CircuitVerifier,
    verifier_file: PathBuf,
    security: Vec<SecurityOfLayer>,
}

async fn circuits(profile: ProfileChoice, folder: &Path, reporter: Reporter) -> anyhow::Result<(Circuits, String)> {
    let verifier_file = folder.join("verifier.joule");
    let path = verifier_file.clone();
    let built = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let cache = CacheFolder::default_for_user()?;
        let engine = Engine::new(kernel_image(), &Shape::ALL, profile.profile(), &cache, &reporter)?;
        engine.set_up_wrap(&reporter)?;
        let verifier = engine.verifier();
        fs::write(&path, verifier.to_bytes()?).with_context(|| path.display().to_string())?;
        let tables = Shape::ALL.into_iter().map(|shape| SecurityOfLayer {
            layer: format!("tables {shape}"),
            provable_bits: joule_tables::security::budget(shape, profile.tables()).bits(),
        });
        let layer =
            |(layer, security): (String, _)| SecurityOfLayer { layer, provable_bits: Security::bits(&security) };
        Ok((verifier, tables.chain(engine.security()?.into_iter().map(layer)).collect()))
    });
    let (verifier, security) = built.await??;
    let outcome = format!("program {}", hex(&verifier.program().to_hash()));
    Ok((Circuits { verifier, verifier_file, security }, outcome))
}

/// Who takes part.
struct Actors {
    population: Population,
}

impl Actors {
    fn new(seed: u64, genesis: &Genesis) -> Self {
        Self { population: Population::new(seed, genesis, 4, 1) }
    }

    /// Owns the GPU, whose key signs receipts.
    fn worker(&self) -> &SecretKey {
        &self.population.wallets[0]
    }

    fn device(&self) -> &SecretKey {
        &self.population.devices[0]
    }

    /// Posts jobs and signs vouchers.
    fn client(&self) -> &SecretKey {
        &self.population.wallets[1]
    }

    /// Send one another money.
    fn friends(&self) -> [&SecretKey; 2] {
        [&self.population.wallets[2], &self.population.wallets[3]]
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn deposits(
    ledger: &Ledger,
    contracts: &Contracts,
    client: &Client,
    actors: &Actors,
    steps: &mut Vec<L1Step>,
) -> anyhow::Result<((), String)> {
    let rollup = Rollup::new(contracts.addresses.rollup, ledger.provider.clone());
    let bridge = Bridge::new(contracts.addresses.bridge, ledger.provider.clone());
    let depositor = DEVELOPMENT_ACCOUNTS[1].0;
    // The last one is what provers are paid from.
    let wallets = actors.population.wallets.iter().map(|wallet| wallet.address);
    let wallets: Vec<L2Address> = wallets.chain([contracts.genesis.fee_recipient]).collect();
    for (index, wallet) in wallets.iter().enumerate() {
        let fee = rollup.requestFee(PriorityKind::Deposit as u8).call().await?;
        let call = bridge.deposit(Address::new(wallet.0), DEPOSIT).from(depositor);
        let receipt = call.value(U256::from(DEPOSIT) + fee).send().await?.get_receipt().await?;
        ensure!(receipt.status(), "deposit {index} failed in {}", receipt.transaction_hash);
        let step = format!("deposit {}", index + 1);
        steps.push(L1Step { step, transaction: receipt.transaction_hash, gas: receipt.gas_used });
    }
    Client::until("the deposits are on L2", Duration::from_secs(120), async || {
        for wallet in &wallets {
            if client.balance(wallet).await? < U256::from(DEPOSIT) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    Ok(((), format!("{} of {} ETH each", wallets.len(), DEPOSIT / ETHER)))
}

/// A device is registered, a job posted, claimed, run, and paid by its receipt. Returns the settling transaction.
async fn job(client: &Client, actors: &Actors, genesis: &Genesis) -> anyhow::Result<(B256, String)> {
    let (worker, device, poster) = (actors.worker(), actors.device(), actors.client());
    let nowhere = L2Address::ZERO;
    let consent = DeviceConsent { device: device.address, owner: worker.address };
    let consent = Some(actors.population.sign_consent(device, &consent));
    let register = Call::RegisterDevice { device: device.address, payout: worker.address, class: 1, consent };
    client.run(worker, &nowhere, 0, Some(&register)).await.context("registering the device")?;

    let model = tokio::task::spawn_blocking(Model::learn).await?;
    let (input, unit_limit) = (INPUT.as_bytes(), Model::units(INPUT.as_bytes()));
    let input_hash = Native::keccak256(input);
    let post = Call::PostJob {
        model: model.commitment(),
        input_hash,
        unit_price: UNIT_PRICE,
        unit_limit,
        deadline: now_s() + 3_600,
        minimum_tier: 0,
        device: nowhere,
        bond: 0,
    };
    let escrow = UNIT_PRICE * Amount::from(unit_limit);
    let (client_nonce, _) = client.run(poster, &nowhere, escrow, Some(&post)).await.context("posting the job")?;
    let claim = Call::ClaimJob { client: poster.address, client_nonce, device: device.address };
    client.run(worker, &nowhere, 0, Some(&claim)).await.context("claiming the job")?;

    let started_at = now_s().max(genesis.timestamp) - 1;
    let inference = model.run(input).context("the input is out of bounds")?;
    let receipt = ComputeReceipt {
        client: poster.address,
        client_nonce,
        device: device.address,
        model: model.commitment(),
        runtime: Native::keccak256(concat!("joule-testnet ", env!("CARGO_PKG_VERSION")).as_bytes()),
        input_hash,
        output_hash: inference.output_hash(),
        units: inference.units,
        unit_price: UNIT_PRICE,
        started_at,
        finished_at: started_at,
        tier: 0,
        evidence: Hash::ZERO,
    };
    let signature = Some(actors.population.sign_receipt(device, &receipt));
    let settle = Call::SettleJob { receipt, signature };
    let (_, settled) = client.run(worker, &nowhere, 0, Some(&settle)).await.context("settling the job")?;
    let outcome = format!(
        "{} bytes are {:?}: {} units at {UNIT_PRICE} wei, paid",
        input.len(),
        inference.language,
        inference.units
    );
    Ok((settled.transaction_hash, outcome))
}

/// Pay per call: every call is run and paid with a voucher; the last one is redeemed.
async fn channel(client: &Client, actors: &Actors) -> anyhow::Result<((), String)> {
    let (payer, worker) = (actors.client(), actors.worker());
    let nowhere = L2Address::ZERO;
    let open = Call::OpenChannel { payee: worker.address };
    let (client_nonce, _) = client.run(payer, &nowhere, ETHER, Some(&open)).await.context("opening the channel")?;
    let model = tokio::task::spawn_blocking(Model::learn).await?;
    let mut voucher = Voucher { client: payer.address, client_nonce, payee: worker.address, cumulative: 0 };
    let mut last = None;
    for text in CALLS {
        let inference = model.run(text.as_bytes()).context("the input is out of bounds")?;
        voucher.cumulative += UNIT_PRICE * Amount::from(inference.units);
        last = Some(actors.population.sign_voucher(payer, &voucher));
    }
    let redeem = Call::RedeemVoucher { voucher, signature: last };
    client.run(worker, &nowhere, 0, Some(&redeem)).await.context("redeeming the last voucher")?;
    Ok(((), format!("{} calls, {} wei redeemed", CALLS.len(), voucher.cumulative)))
}

async fn transfers(client: &Client, actors: &Actors, count: u32) -> anyhow::Result<((), String)> {
    let [one, other] = actors.friends();
    let mut sent = Vec::new();
    for index in 0..count {
        let (from, to) = if index % 2 == 0 { (one, other) } else { (other, one) };
        sent.push(client.send(from, &to.address, 1_000 + Amount::from(index), None).await?.1);
    }
    for hash in &sent {
        client.receipt(*hash).await?;
    }
    Ok(((), format!("{count}")))
}

/// Returns the transaction and its block.
async fn withdraw(client: &Client, actors: &Actors) -> anyhow::Result<((B256, u64), String)> {
    let call = Call::Withdraw { l1_recipient: L2Address(RECIPIENT.into_array()), amount: WITHDRAWAL };
    let (_, receipt) = client.run(actors.friends()[0], &L2Address::ZERO, WITHDRAWAL, Some(&call)).await?;
    let block = receipt.block_number.context("a receipt names its block")?;
    let outcome = format!("{} ETH for {RECIPIENT}, in block {block}", WITHDRAWAL / ETHER);
    Ok(((receipt.transaction_hash, block), outcome))
}

/// Waits until the batch of a block is executed on L1, and tells of every stage of every batch on the way.
async fn settle(
    sequencer: &mut Sequencer,
    ledger: &Ledger,
    contracts: &Contracts,
    block: u64,
    reporter: &Reporter,
    steps: &mut Vec<L1Step>,
) -> anyhow::Result<(Vec<BatchSummary>, String)> {
    let wait = async {
        loop {
            reporter.now("waiting for the batch to close, for its certificate, and for its proof");
            let notice = sequencer.operations.notice().await.context("settlement has ended by itself")?;
            let (number, stage) = match notice {
                Notice::Stage { number, stage } => (number, stage),
                Notice::Alarm(alarm) => {
                    reporter.say(&format!("           ALARM of settlement: {alarm:?}"));
                    continue;
                }
                Notice::Operator(alarm) => {
                    reporter.say(&format!("           ALARM of the sending account: {alarm:?}"));
                    continue;
                }
            };
            reporter.say(&format!("           batch {number}: {stage:?}"));
            let record = batch(&sequencer.database, number).await?;
            if stage == Stage::Executed && record.last_block >= block {
                return anyhow::Ok(number);
            }
        }
    };
    let last = tokio::time::timeout(SETTLED_WITHIN, wait).await.context("the batch was not executed in an hour")??;
    let mut batches = Vec::new();
    for number in 1..=last {
        let record = batch(&sequencer.database, number).await?;
        batches.push(BatchSummary {
            number,
            blocks: record.last_block - record.first_block + 1,
            data_bytes: record.data_bytes,
            data: if record.certificate_expiry.is_some() { "committee" } else { "L1" },
        });
    }
    settlement_gas(ledger, contracts, steps).await?;
    let outcome = format!("batches executed: {last}");
    Ok((batches, outcome))
}

/// What every transaction of settlement cost, from L1's own records.
async fn settlement_gas(ledger: &Ledger, contracts: &Contracts, steps: &mut Vec<L1Step>) -> anyhow::Result<()> {
    let l1 = contracts.client(ledger).await?;
    let head = l1.head().await?;
    for located in l1.events(contracts.addresses.block_number, head.number).await? {
        let step = match &located.event {
            L1Event::Committed(batch) => format!("commit of batch {}", batch.number),
            L1Event::Proven { number, .. } => format!("proof of batch {number}"),
            L1Event::Executed { number, .. } if *number > 0 => format!("execution of batch {number}"),
            _ => continue,
        };
        let transaction = located.transaction;
        let receipt = ledger.provider.get_transaction_receipt(transaction).await?;
        let gas = receipt.with_context(|| format!("L1 has no receipt of {transaction}"))?.gas_used;
        steps.push(L1Step { step, transaction, gas });
    }
    Ok(())
}

async fn batch(database: &Database, number: u64) -> anyhow::Result<BatchRecord> {
    let database = database.clone();
    let record = tokio::task::spawn_blocking(move || database.view()?.batch(number)).await??;
    record.with_context(|| format!("batch {number} is not in the database"))
}

/// What a stranger does with a compute receipt: everything from the bundle and one word of L1.
async fn check_receipt(
    client: &Client,
    ledger: &Ledger,
    contracts: &Contracts,
    transaction_hash: B256,
) -> anyhow::Result<((), String)> {
    let id = ReceiptId::Transaction { transaction_hash };
    let bundle: ReceiptBundle = client.provider().client().request("joule_getComputeReceipt", [id]).await?;
    let rollup = Rollup::new(contracts.addresses.rollup, ledger.provider.clone());
    let executed = rollup.executedCheckpoint().call().await?;
    verify_bundle(&bundle, Some(executed)).context("the compute receipt's bundle")?;
    Ok(((), format!("signature, job leaf and path end in {executed}, which L1 has executed")))
}

async fn claim(
    client: &Client,
    ledger: &Ledger,
    contracts: &Contracts,
    transaction: B256,
    steps: &mut Vec<L1Step>,
) -> anyhow::Result<((), String)> {
    let proof: WithdrawalProof = client.provider().client().request("joule_getWithdrawalProof", [transaction]).await?;
    ensure!(
        proof.recipient == RECIPIENT && proof.amount == WITHDRAWAL,
        "the node proves another withdrawal: {proof:?}"
    );
    let before = ledger.provider.get_balance(RECIPIENT).await?;
    let bridge = Bridge::new(contracts.addresses.bridge, ledger.provider.clone());
    let recipient = L2Address(RECIPIENT.into_array());
    let withdrawal = Bridge::Withdrawal::new(proof.index, recipient, proof.amount);
    let call = bridge.claim(proof.batch_number, withdrawal, U256::from(proof.position), proof.siblings).from(DEPLOYER);
    let receipt = call.send().await?.get_receipt().await?;
    ensure!(receipt.status(), "the claim failed in {}", receipt.transaction_hash);
    steps.push(L1Step { step: "claim".to_owned(), transaction: receipt.transaction_hash, gas: receipt.gas_used });
    let got = ledger.provider.get_balance(RECIPIENT).await? - before;
    ensure!(got == U256::from(WITHDRAWAL), "{RECIPIENT} got {got} wei instead of {WITHDRAWAL}");
    Ok(((), format!("{} ETH on L1, {} gas", WITHDRAWAL / ETHER, receipt.gas_used)))
}

/// Provers are paid for the batch that was executed: in blocks of the next one, which payouts never open, so somebody else does.
async fn pay(
    client: &Client,
    actors: &Actors,
    mut provers: Vec<ProverReport>,
) -> anyhow::Result<(Vec<ProverReport>, String)> {
    let [one, other] = actors.friends();
    let (_, opens) = client.send(one, &other.address, 1, None).await?;
    client.receipt(opens).await?;
    Client::until("the provers are paid", Duration::from_secs(60), async || {
        for prover in &mut provers {
            let balance = client.balance(&L2Address(prover.payout.into_array())).await?;
            prover.paid = balance.try_into().context("a balance is below 2^128")?;
            if prover.paid < prover.earned {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    for ProverReport { prover, earned, paid, .. } in &provers {
        ensure!(paid == earned, "{prover} has earned {earned} wei and was paid {paid}");
    }
    let sums: Vec<String> = provers.iter().map(|prover| format!("{} {} wei", prover.prover, prover.paid)).collect();
    Ok((provers, sums.join(", ")))
}

/// Everything deposited is somewhere: in objects on L2, or withdrawn; and the bridge holds what was not claimed.
async fn conservation(
    database: &Database,
    ledger: &Ledger,
    contracts: &Contracts,
) -> anyhow::Result<(Conservation, String)> {
    let database = database.clone();
    let (on_l2, chain) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let view = database.view()?;
        let tree = view.tree()?;
        let Some(Object::Chain(chain)) = tree.get(&Key::CHAIN)? else { bail!("the state has no chain object") };
        // Every leaf names the next one, from the first key to the last.
        let (mut money, mut next) = (0, Key::FIRST);
        while next != Key::LAST {
            let leaf = tree.store().leaf(&next)?.with_context(|| format!("no leaf at {next:?}"))?;
            money += leaf.object.as_ref().map_or(0, Object::money);
            next = leaf.next;
        }
        Ok((money, chain))
    })
    .await??;
    let in_the_bridge = ledger.provider.get_balance(contracts.addresses.bridge).await?;
    let (deposited, withdrawn, claimed) = (chain.deposited, chain.withdrawn, WITHDRAWAL);
    let holds = deposited == on_l2 + withdrawn && in_the_bridge + U256::from(claimed) == U256::from(deposited);
    let outcome = if holds { "every wei is accounted for" } else { "DOES NOT HOLD" };
    let conservation = Conservation {
        deposited: deposited.to_string(),
        on_l2: on_l2.to_string(),
        withdrawn: withdrawn.to_string(),
        claimed: claimed.to_string(),
        in_the_bridge: in_the_bridge.to_string(),
        holds,
    };
    Ok((conservation, outcome.to_owned()))
}

fn print(summary: &Summary, reporter: &Reporter) {
    reporter.say("\ngas on L1");
    for step in &summary.l1 {
        reporter.say(&format!("  {:<24} {:>9}", step.step, step.gas));
    }
    reporter.say("provers");
    for prover in &summary.provers {
        let ProverReport { prover, accepted, earned, .. } = prover;
        reporter.say(&format!("  {prover:<24} {accepted:>9} tasks accepted, {earned} wei earned"));
    }
    reporter.say("provable bits of security, by layer");
    for layer in &summary.security {
        reporter.say(&format!("  {:<24} {:>9.1}", layer.layer, layer.provable_bits));
    }
}
