//! The committee loses its quorum, and gets it back.

use std::time::Duration;

use anyhow::ensure;
use joule_l1::AvailableAt;
use joule_protocol::{Chunk, Native};
use rand::seq::SliceRandom as _;

use super::payments::{DEPOSIT, Payer};
use crate::{
    Client, Settings,
    checks::{self, Checked},
    report::Steps,
    sequencer::Said,
    world::{HONEST, MEMBERS, World},
};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn fallback(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let mut world = World::start(seed, settings, None).await?;
    let mut payer = Payer::fund(&world).await?;
    let mut sequencer = world.start_sequencer().await?;
    let client = Client::connect(&sequencer.rpc).await?;
    world.funded(&client, DEPOSIT).await?;
    payer.pay(&client, 20).await?;
    let history = world.until_l1("a certified commit", LIMIT, |history| !history.batches().is_empty()).await?;
    ensure!(history.batches()[0].available_at == AvailableAt::Committee { scheme: 1 }, "the committee is well");
    steps.done_with("deposits, payments, and a commit with the committee's certificate");

    // One more than may be: the seed says who.
    let mut order: Vec<usize> = (0..MEMBERS).collect();
    order.shuffle(&mut world.rng);
    let down = &order[..HONEST as usize];
    for index in down {
        world.stop_member(*index).await?;
    }
    payer.settled(&client).await?;
    payer.pay(&client, 20).await?;
    sequencer.until("the sequencer says that data goes to L1", LIMIT, |said| *said == Said::DataToL1(true)).await?;
    let is_on_l1 =
        |history: &joule_l1::History| history.batches().iter().any(|batch| batch.available_at == AvailableAt::L1);
    let history = world.until_l1("a commit with its data on L1", LIMIT, is_on_l1).await?;
    ensure!(
        sequencer.heard().iter().any(|said| matches!(said, Said::Alarm(alarm) if alarm.contains("FellBack"))),
        "nobody was told of the fallback: {:?}",
        sequencer.heard()
    );
    steps.done_with(format!("{} of {MEMBERS} members ended, and data went to L1", down.len()));

    // All of it is there, for anyone: chunk by chunk, block by block.
    let l1 = world.client().await?;
    for batch in history.batches().iter().filter(|batch| batch.available_at == AvailableAt::L1) {
        let chunks = history.posted_chunks(&l1, batch.number).await?;
        let from = history.parent_of(batch.number).map_or(0, |parent| parent.block_number);
        for (number, chunk) in (from + 1..).zip(&chunks) {
            ensure!(Chunk::decode::<Native>(chunk)?.number == number, "chunk {number} is another block's");
        }
        ensure!(chunks.len() as u64 == batch.checkpoint.block_number - from, "chunks are missing");
    }
    // Some more while nobody is asked: the members must get these too, or they could never sign again.
    let committed = history.batches().len();
    payer.settled(&client).await?;
    payer.pay(&client, 10).await?;
    let history = world.until_l1("another", LIMIT, |history| history.batches().len() > committed).await?;
    let on_l1 = history.batches().iter().filter(|batch| batch.available_at == AvailableAt::L1).count();
    steps.done_with(format!("the data of {on_l1} batches was read back from L1"));

    for index in down {
        world.start_member(*index).await?;
    }
    // Data goes to L1 until the committee has been well for long enough; and then it does not.
    let told = |heard: &[Said]| heard.iter().filter(|said| **said == Said::DataToL1(false)).count();
    let before = told(&sequencer.heard());
    crate::world::until("data returns to the committee", LIMIT, async || {
        Ok((told(&sequencer.heard()) > before).then_some(()))
    })
    .await?;
    let committed = world.history().await?.batches().len();
    payer.settled(&client).await?;
    payer.pay(&client, 20).await?;
    let history = world
        .until_l1("a certified commit after the return", LIMIT, |history| {
            history.batches()[committed.min(history.batches().len())..]
                .iter()
                .any(|batch| batch.available_at == AvailableAt::Committee { scheme: 1 })
        })
        .await?;
    for index in 0..MEMBERS {
        world.member_holds(index, history.batches().len() as u64).await?;
    }
    steps.done_with("the members came back, caught up, and certify again");

    let paid = payer.settled(&client).await?;
    sequencer.stop().await?;
    let checked = checks::check(world, 0).await?;
    steps.done_with(format!("{paid} payments, each in a block; every wei; no two statements; no two batches"));
    Ok(checked)
}
