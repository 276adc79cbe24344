//! L1 takes a commit back.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use joule_committee_client::checkpoint_hash;
use rand::Rng as _;

use super::payments::{DEPOSIT, Payer};
use crate::{
    Client, Settings,
    checks::{self, Checked},
    report::Steps,
    sequencer::CONFIRMATIONS,
    world::{MEMBERS, World},
};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn reorg(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let mut world = World::start(seed, settings, None).await?;
    let mut payer = Payer::fund(&world).await?;
    let sequencer = world.start_sequencer().await?;
    let client = Client::connect(&sequencer.rpc).await?;
    world.funded(&client, DEPOSIT).await?;
    steps.done_with("deposits, deep enough under L1's blocks to be taken");

    // Three commits are taken back, each as soon as it is there and before it counts as final, with some blocks below it.
    let mut taken_back = 0;
    for round in 0..3 {
        payer.pay(&client, 10 + round).await?;
        let before = world.history().await?.batches().len();
        let history = world.until_l1("a commit", LIMIT, |history| history.batches().len() > before).await?;
        let batch = &history.batches()[before];
        let (number, checkpoint) = (batch.number, checkpoint_hash(&batch.checkpoint));
        let head = world.l1.chain().read(|chain, _| chain.latest().number())?;
        // The commit's own block, and as many below as the seed says, as long as nothing is undone that counts as final.
        let least = head + 1 - batch.block_number;
        let depth = least + world.rng.random_range(0..=CONFIRMATIONS.saturating_sub(least).max(1) - 1);
        world.reorganise(depth)?;
        let now = world.history().await?;
        let is_gone = now.batches().len() < number as usize || now.batches()[before].transaction != batch.transaction;
        taken_back += u32::from(is_gone);
        let again = world.until_l1("the commit again", LIMIT, |history| history.batches().len() > before).await?;
        let batch = again.batches().get(before).context("a batch")?;
        ensure!(checkpoint_hash(&batch.checkpoint) == checkpoint, "another batch {number} took its place");
        steps.done_with(format!("L1 took back {depth} blocks with the commit of batch {number}, and has it again"));
    }
    ensure!(taken_back > 0, "no commit was ever taken back");

    let paid = payer.settled(&client).await?;
    let sealed = world.history().await?.batches().len() as u64;
    for index in 0..MEMBERS {
        world.member_holds(index, sealed).await?;
    }
    sequencer.stop().await?;
    let checked = checks::check(world, 0).await?;
    steps.done_with(format!("{paid} payments, each in a block; every wei; no two statements; no two batches"));
    Ok(checked)
}
