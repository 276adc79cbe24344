//! What must hold after every scenario.

use std::path::PathBuf;

use alloy::{primitives::U256, providers::Provider as _};
use anyhow::{Context as _, bail, ensure};
use joule_committee_client::checkpoint_hash;
use joule_l1::History;
use joule_protocol::{Amount, Key, Object, PriorityKind};
use joule_state::Store as _;
use joule_storage::Database;
use serde::Serialize;

use crate::world::World;

/// What was checked, with the numbers. Money is in wei, decimal, because JSON's numbers are too small.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Deposited on L1, consumed by L2 or not.
    pub deposited: String,
    /// Of it on L2, in objects.
    pub on_l2: String,
    /// Of it withdrawn on L2, claimed on L1 or not.
    pub withdrawn: String,
    /// Paid out by the bridge: claims, escapes and refunds.
    pub paid_out: String,
    /// What the bridge holds.
    pub in_the_bridge: String,
    /// Batches on L1, and of those executed.
    pub batches: u64,
    /// Batches executed.
    pub executed: u64,
    /// Transactions that the sequencer sent to L1.
    pub sent_to_l1: usize,
    /// Shares that members gave away.
    pub shares: usize,
    /// Pairs of a member and a place that it signed for.
    pub places: usize,
    /// Members whose state is the sequencer's, to the root.
    pub members_in_step: usize,
}

/// Money in a state, and what its own books say of deposits and withdrawals.
fn books(database: &Database) -> anyhow::Result<(Amount, Amount, Amount)> {
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
    Ok((money, chain.deposited, chain.withdrawn))
}

/// Deposits that L1 has queued: the first `count`, or all of them.
fn deposits(history: &History, count: Option<u64>) -> Amount {
    let requests = history.requests();
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(requests.len()).min(requests.len());
    requests[..count]
        .iter()
        .filter(|request| request.kind == PriorityKind::Deposit as u8)
        .map(|request| request.amount)
        .sum()
}

/// Checks everything, with the sequencer's process ended. `paid_out` is what the scenario saw the bridge pay.
pub(crate) async fn check(mut world: World, paid_out: Amount) -> anyhow::Result<Checked> {
    let history = world.history().await?;
    let client = world.client().await?;

    // L1 was sent one batch of each number: the same one over and over, perhaps, and never another.
    for (number, checkpoints) in world.line.batches_sent(&client).await? {
        ensure!(
            checkpoints.len() == 1,
            "L1 was sent {} batches of number {number}: {checkpoints:?}",
            checkpoints.len()
        );
        if let Some(batch) = number.checked_sub(1).and_then(|index| history.batches().get(index as usize)) {
            let got = checkpoint_hash(&batch.checkpoint);
            ensure!(got == checkpoints[0], "L1 has another batch {number} than it was sent: {got}");
        }
    }
    let (shares, places) = world.shares.check()?;

    // The sequencer's books, against L1's.
    let database = world.sequencer_database()?;
    let (on_l2, consumed, withdrawn) = books(&database)?;
    let head = *database.view()?.head();
    ensure!(on_l2 + withdrawn == consumed, "L2 took {consumed} wei, has {on_l2} and paid {withdrawn}");
    let queued = deposits(&history, Some(head.priority_count));
    ensure!(queued == consumed, "L1 queued {queued} wei of the deposits that L2 took as {consumed}");
    let deposited = deposits(&history, None);
    let in_the_bridge = world.provider.get_balance(world.addresses.bridge).await?;
    ensure!(
        in_the_bridge + U256::from(paid_out) == U256::from(deposited),
        "{deposited} wei were deposited, {paid_out} paid out, and the bridge holds {in_the_bridge}"
    );

    // Every batch of L1 is the sequencer's, and every member that is in step has its state.
    for batch in history.batches() {
        let ours = database.view()?.batch(batch.number)?.with_context(|| format!("no batch {}", batch.number))?;
        ensure!(ours.checkpoint == batch.checkpoint, "L1 has another batch {}", batch.number);
    }
    let executed = history.executed().map_or(0, |batch| batch.number);
    let sent_to_l1 = world.line.count();
    let genesis = world.genesis;
    let paths = world.stop_members().await?;
    let mut members_in_step = 0;
    for path in paths {
        members_in_step += usize::from(is_in_step(&path, &genesis, &database)?);
    }
    let batches = history.batches().len() as u64;
    let text = |amount: Amount| amount.to_string();
    Ok(Checked {
        deposited: text(deposited),
        on_l2: text(on_l2),
        withdrawn: text(withdrawn),
        paid_out: text(paid_out),
        in_the_bridge: in_the_bridge.to_string(),
        batches,
        executed,
        sent_to_l1,
        shares,
        places,
        members_in_step,
    })
}

/// Whether a member has reached the sequencer's last batch.
///
/// # Errors
/// It holds another batch than the sequencer's, or its money does not add up.
fn is_in_step(path: &PathBuf, genesis: &joule_protocol::Genesis, sequencer: &Database) -> anyhow::Result<bool> {
    let member = Database::open(path, genesis)?;
    let (on_l2, consumed, withdrawn) = books(&member)?;
    ensure!(on_l2 + withdrawn == consumed, "a member took {consumed} wei, has {on_l2} and paid {withdrawn}");
    let view = member.view()?;
    let Some(last) = view.last_batch()? else { return Ok(false) };
    let ours = sequencer.view()?.batch(last.number)?;
    let ours = ours.with_context(|| format!("a member holds batch {}, which the sequencer has not", last.number))?;
    ensure!(ours.checkpoint == last.checkpoint, "a member holds another batch {}", last.number);
    Ok(sequencer.view()?.last_batch()?.is_some_and(|newest| newest.number == last.number))
}
