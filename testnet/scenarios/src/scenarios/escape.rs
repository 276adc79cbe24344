//! What needs a proof, and the way out.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U256, hex},
    providers::Provider as _,
};
use anyhow::{Context as _, ensure};
use joule_committee_client::Question;
use joule_contracts::Escape;
use joule_dac::answers::StateProof;
use joule_machine::kernel_image;
use joule_protocol::{Account, Amount, Checkpoint, Digest, Hash, Key, Object, PriorityKind};
use joule_prover_engine::{CacheFolder, Engine, Profile, Silent};
use joule_tables::shape::Shape;
use rand::Rng as _;

use crate::{
    Client, ProofPlan, Settings,
    checks::{self, Checked},
    report::Steps,
    sequencer::{Said, Sequencer},
    world::{DEPLOYER, MEMBERS, QUEUE_EXPIRY_S, USER, World, send, until},
};

const ETHER: Amount = 1_000_000_000_000_000_000;
const LIMIT: Duration = Duration::from_secs(60);
/// A proof of a small batch takes two minutes on two cores, and other machines are slower.
const PROVEN_WITHIN: Duration = Duration::from_secs(1_800);

/// What the development circuits prove, which L1 asks for. Builds them or takes them from the cache, and leaves them to the sequencer's process.
async fn program() -> anyhow::Result<Digest> {
    tokio::task::spawn_blocking(|| {
        let cache = CacheFolder::default_for_user()?;
        let engine = Engine::new(kernel_image(), &Shape::ALL, Profile::Fast, &cache, &Silent)?;
        engine.set_up_wrap(&Silent)?;
        Ok(engine.program_hash())
    })
    .await?
}

/// Transfers between the wallets, as the seed has them.
async fn transfers(world: &mut World, client: &Client, count: usize) -> anyhow::Result<()> {
    let wallets = world.population.wallets.len();
    for _ in 0..count {
        let from = world.rng.random_range(0..wallets);
        let to = world.population.wallets[(from + world.rng.random_range(1..wallets)) % wallets].address;
        let amount = world.rng.random_range(1..ETHER);
        client.run(&world.population.wallets[from], &to, amount, None).await?;
    }
    Ok(())
}

/// Deposits and transfers, in a batch that a sequencer with an engine proves.
async fn batch_to_prove(
    world: &mut World,
    deposits: &[Amount],
    steps: &mut Steps,
) -> anyhow::Result<(Sequencer, Client)> {
    for (wallet, amount) in deposits.iter().enumerate() {
        world.deposit(wallet, *amount).await?;
    }
    let proofs = world.folder().join("proofs");
    // Long enough for everything to be in one batch: each costs minutes.
    let plan = world.plan();
    (plan.proofs, plan.batch_age_ms) = (ProofPlan::Local(proofs), 8_000);
    let sequencer = world.start_sequencer().await?;
    let client = Client::connect(&sequencer.rpc).await?;
    until("the deposits are on L2", LIMIT, async || {
        for (wallet, amount) in world.population.wallets.iter().zip(deposits) {
            if client.balance(&wallet.address).await? < U256::from(*amount) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    transfers(world, &client, 4).await?;
    steps.done_with("deposits and transfers");
    Ok((sequencer, client))
}

/// A process that proves dies, and the next goes on with what it has kept.
pub(crate) async fn prover(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let program = program().await?;
    steps.done_with("circuits and keys");
    let mut world = World::start(seed, settings, Some(program)).await?;
    let (mut sequencer, _) = batch_to_prove(&mut world, &[10 * ETHER, 20 * ETHER], steps).await?;

    // Dead in the middle of a step, after the first one was kept.
    let proved = |said: &Said| matches!(said, Said::Proved(_, true));
    sequencer.until("a step of proving", PROVEN_WITHIN, proved).await?;
    let heard = sequencer.heard();
    let kept: Vec<_> = heard
        .iter()
        .filter_map(|said| match said {
            Said::Proved(step, true) => Some(step.clone()),
            _ => None,
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(world.rng.random_range(500..5_000))).await;
    sequencer.kill()?;
    steps.done_with(format!("the prover was killed after: {}", kept.join(", ")));

    let mut sequencer = world.start_sequencer().await?;
    let executed = |said: &Said| matches!(said, Said::Stage { number: 1, stage } if stage == "Executed");
    sequencer.until("the batch is executed", PROVEN_WITHIN, executed).await?;
    let heard = sequencer.heard();
    for step in &kept {
        ensure!(heard.contains(&Said::Proved(step.clone(), false)), "{step} was proven again: {heard:?}");
    }
    steps.done_with("another went on from there, and the batch is executed");
    for index in 0..MEMBERS {
        world.member_holds(index, 1).await?;
    }
    sequencer.stop().await?;
    let checked = checks::check(world, 0).await?;
    steps.done_with("every wei; no two statements; no two batches");
    Ok(checked)
}

/// A forced withdrawal that nobody takes, until the queue's expiry; then anyone freezes the chain.
async fn ignored(world: &World, amount: Amount) -> anyhow::Result<()> {
    let fee = world.rollup().requestFee(PriorityKind::ForcedWithdrawal as u8).call().await?;
    send(world.rollup().requestWithdrawal(USER, amount).from(USER).value(fee)).await?;
    let early = world.rollup().freeze().from(DEPLOYER).call().await;
    ensure!(early.is_err(), "the chain could be frozen at once");
    world.pass(QUEUE_EXPIRY_S + 1)?;
    send(world.rollup().freeze().from(DEPLOYER)).await?;
    // Nothing goes on after that.
    let late = world.rollup().requestWithdrawal(USER, amount).from(USER).value(fee).call().await;
    ensure!(late.is_err(), "a frozen chain takes requests");
    Ok(())
}

/// Takes back every deposit that no executed batch consumed. Returns what came of it.
async fn refund_all(world: &World) -> anyhow::Result<Amount> {
    let consumed = world.rollup().executedPriorityCount().call().await?;
    let history = world.history().await?;
    let mut refunded = 0;
    for (index, request) in (0..).zip(history.requests()) {
        if index < consumed || request.kind != PriorityKind::Deposit as u8 {
            continue;
        }
        let before = world.provider.get_balance(world.addresses.bridge).await?;
        // Anyone may; it goes to who made it.
        send(world.escape().refundDeposit(index, request.into()).from(DEPLOYER)).await?;
        let after = world.provider.get_balance(world.addresses.bridge).await?;
        ensure!(before - after == U256::from(request.amount), "the refund of request {index} is not its amount");
        let twice = world.escape().refundDeposit(index, request.into()).from(DEPLOYER).call().await;
        ensure!(twice.is_err(), "request {index} is refunded twice");
        refunded += request.amount;
    }
    Ok(refunded)
}

/// Before anything was executed: no proof is needed to leave, because L1 itself has every deposit.
pub(crate) async fn refund(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let mut world = World::start(seed, settings, None).await?;
    let amounts: Vec<Amount> =
        (0..world.population.wallets.len()).map(|_| world.rng.random_range(1..10 * ETHER)).collect();
    for (wallet, amount) in amounts.iter().enumerate() {
        world.deposit(wallet, *amount).await?;
    }
    let sequencer = world.start_sequencer().await?;
    let client = Client::connect(&sequencer.rpc).await?;
    until("the deposits are on L2", LIMIT, async || {
        let wallet = world.population.wallets.last().context("wallets")?;
        Ok((client.balance(&wallet.address).await? > U256::ZERO).then_some(()))
    })
    .await?;
    let committed = world.until_l1("a commit", LIMIT, |history| !history.batches().is_empty()).await?;
    steps.done_with(format!(
        "{} deposits, in {} batches that wait for a proof",
        amounts.len(),
        committed.batches().len()
    ));

    // It is gone, and a deposit and a forced withdrawal come that it never takes.
    sequencer.kill()?;
    world.deposit(0, ETHER).await?;
    ignored(&world, ETHER).await?;
    ensure!(world.history().await?.batches().is_empty(), "batches without a proof outlive the freeze");
    steps.done_with("the sequencer is gone, a request expired, and the chain is frozen");

    let genesis = world.genesis_checkpoint()?;
    send(world.escape().openEscape((&genesis).into()).from(DEPLOYER)).await?;
    let refunded = refund_all(&world).await?;
    let all = amounts.iter().sum::<Amount>() + ETHER;
    ensure!(refunded == all, "{refunded} of {all} wei were taken back");
    steps.done_with(format!("all {all} wei of deposits were taken back"));
    let checked = checks::check(world, refunded).await?;
    steps.done_with("every wei; no two statements; no two batches");
    Ok(checked)
}

/// After an executed batch: accounts leave with paths that one member gives.
pub(crate) async fn escape(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let program = program().await?;
    steps.done_with("circuits and keys");
    let mut world = World::start(seed, settings, Some(program)).await?;
    let (mut sequencer, _) =
        batch_to_prove(&mut world, &[10 * ETHER, 20 * ETHER, 30 * ETHER, 40 * ETHER], steps).await?;
    let executed = |said: &Said| matches!(said, Said::Stage { number: 1, stage } if stage == "Executed");
    sequencer.until("the batch is executed", PROVEN_WITHIN, executed).await?;
    for index in 0..MEMBERS {
        world.member_holds(index, 1).await?;
    }
    steps.done_with("a batch is proven and executed");

    // The sequencer is gone, and so are all members but one.
    sequencer.kill()?;
    let survivor = world.rng.random_range(0..MEMBERS);
    for index in (0..MEMBERS).filter(|index| *index != survivor) {
        world.stop_member(index).await?;
    }
    world.deposit(1, 7 * ETHER).await?;
    ignored(&world, ETHER).await?;
    steps.done_with("the sequencer and four members are gone, a request expired, and the chain is frozen");

    let (committee, member) = (Arc::new(world.committee()?), world.endpoint(survivor)?);
    let mut owners: Vec<Address> =
        world.population.wallets.iter().map(|wallet| Address::new(wallet.address.0)).collect();
    owners.push(Address::new(world.genesis.fee_recipient.0));
    let (mut paid_out, mut is_open) = (0, false);
    for owner in owners {
        let bytes = committee.ask(&member, Question::Account(owner), Duration::from_secs(10)).await?;
        let shown: StateProof = serde_json::from_slice(&bytes)?;
        if !is_open {
            let checkpoint = checkpoint_of(&shown)?;
            send(world.escape().openEscape((&checkpoint).into()).from(DEPLOYER)).await?;
            is_open = true;
        }
        let Some((account, opening)) = account_of(&shown)? else { continue };
        if account.balance == 0 {
            continue;
        }
        let before = world.provider.get_balance(owner).await?;
        let escape = world.escape();
        // One wei more than the state says is refused.
        let more = Account { balance: account.balance + 1, ..account };
        let greedy = escape.escapeAccount(owner, (&more).into(), opening.clone()).from(DEPLOYER).call().await;
        ensure!(greedy.is_err(), "{owner} could leave with more than it has");
        send(escape.escapeAccount(owner, (&account).into(), opening.clone()).from(DEPLOYER)).await?;
        let got = world.provider.get_balance(owner).await? - before;
        ensure!(got == U256::from(account.balance), "{owner} got {got} wei instead of {}", account.balance);
        let twice = escape.escapeAccount(owner, (&account).into(), opening).from(DEPLOYER).call().await;
        ensure!(twice.is_err(), "{owner} could leave twice");
        paid_out += account.balance;
    }
    steps.done_with(format!("every account left with paths of one member: {paid_out} wei"));
    let refunded = refund_all(&world).await?;
    ensure!(refunded == 7 * ETHER, "{refunded} wei were taken back");
    paid_out += refunded;
    let left = world.provider.get_balance(world.addresses.bridge).await?;
    ensure!(left == U256::ZERO, "the bridge still holds {left} wei");
    steps.done_with("the deposit that came too late was taken back, and the bridge is empty");
    let checked = checks::check(world, paid_out).await?;
    steps.done_with("every wei; no two statements; no two batches");
    Ok(checked)
}

fn checkpoint_of(shown: &StateProof) -> anyhow::Result<Checkpoint> {
    let bytes = hex::decode(&shown.checkpoint)?.try_into().ok().context("a checkpoint has 288 bytes")?;
    Ok(Checkpoint::decode(&bytes).context("a checkpoint")??)
}

/// The account that a proof shows, with what L1 asks for beside it.
fn account_of(shown: &StateProof) -> anyhow::Result<Option<(Account, Escape::Opening)>> {
    if !shown.is_present {
        return Ok(None);
    }
    let words: Vec<u32> = Bytes::from(hex::decode(&shown.object)?)
        .chunks(4)
        .map(|word| Ok(u32::from_be_bytes(word.try_into().context("whole words")?)))
        .collect::<anyhow::Result<_>>()?;
    let kind = Key::from_bytes(shown.leaf_key.0).kind().context("a kind")?;
    let Ok(Object::Account(account)) = Object::from_words(kind, &words) else {
        anyhow::bail!("the member shows no account");
    };
    let digest = |sibling: &B256| Digest::from_hash(Hash(sibling.0)).context("a digest");
    let siblings = shown.siblings.iter().map(digest).collect::<anyhow::Result<Vec<_>>>()?;
    let opening = Escape::Opening::new(shown.position, &Key::from_bytes(shown.next_key.0), siblings);
    Ok(Some((account, opening)))
}
