//! The scenarios that need no proof, each with its own seed.

use joule_scenarios::{Scenario, Settings, run};

fn settings() -> Settings {
    let program = env!("CARGO_BIN_EXE_joule-scenarios").into();
    Settings { sequencer: (program, vec!["sequence".to_owned()]), say: |line| println!("{line}") }
}

async fn holds(scenario: Scenario, seed: u64) {
    match run(scenario, seed, &settings()).await {
        Ok(report) => println!("{}", serde_json::to_string_pretty(&report).expect("serialises")),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committee_loses_its_quorum_and_gets_it_back() {
    holds(Scenario::Fallback, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_takes_commits_back() {
    holds(Scenario::Reorg, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sequencer_is_killed_in_the_middle_of_batches() {
    holds(Scenario::Restart, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignored_request_freezes_the_chain_and_deposits_are_taken_back() {
    holds(Scenario::Refund, 4).await;
}
