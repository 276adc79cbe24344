//! The sequencer is killed in the middle of batches.

use std::time::Duration;

use alloy::providers::Provider as _;
use anyhow::ensure;
use rand::Rng as _;

use super::payments::{DEPOSIT, Payer};
use crate::{
    Client, Settings,
    checks::{self, Checked},
    report::Steps,
    world::{MEMBERS, World, until},
};

const LIMIT: Duration = Duration::from_secs(60);
const KILLS: usize = 4;

pub(crate) async fn restart(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let mut world = World::start(seed, settings, None).await?;
    let mut payer = Payer::fund(&world).await?;
    let mut sequencer = world.start_sequencer().await?;
    let mut client = Client::connect(&sequencer.rpc).await?;
    world.funded(&client, DEPOSIT).await?;
    steps.done_with("deposits");
    for kill in 1..=KILLS {
        // Killed while payments come in: after so many of them, and so long later, as the seed says. A batch stays open for 1.5 s, so that this is in the middle of
        // one, of its certificate, or of its commit.
        let (count, pause) = (world.rng.random_range(5..40), world.rng.random_range(0..2_500));
        let sent = payer.pay(&client, count).await?;
        ensure!(sent == count, "the sequencer does not answer");
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let (more, late) = (payer.pay(&client, 1_000), tokio::time::sleep(Duration::from_millis(pause % 300)));
        tokio::select! {
            more = more => drop(more?),
            () = late => {}
        }
        sequencer.kill()?;
        sequencer = world.start_sequencer().await?;
        client = Client::connect(&sequencer.rpc).await?;
        let paid = payer.settled(&client).await?;
        steps.done_with(format!("kill {kill}: {paid} acknowledged payments are in blocks"));
    }
    // What was sealed is committed, and the members follow.
    payer.pay(&client, 5).await?;
    let paid = payer.settled(&client).await?;
    until("every block is committed on L1", LIMIT, async || {
        let head = client.provider().get_block_number().await?;
        Ok((world.history().await?.tip().block_number >= head).then_some(()))
    })
    .await?;
    let last = world.history().await?.batches().len() as u64;
    for index in 0..MEMBERS {
        world.member_holds(index, last).await?;
    }
    steps.done_with(format!("everything is committed, in {last} batches"));
    sequencer.stop().await?;
    let checked = checks::check(world, 0).await?;
    ensure!(checked.members_in_step == MEMBERS, "{} members are in step", checked.members_in_step);
    steps.done_with(format!("{paid} payments, each in a block; every wei; no two statements; no two batches"));
    Ok(checked)
}
