use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use joule_prover_network::{LeaseId, ProverId, TaskCounts, TaskId};

use super::*;

/// What is promised to dashboards and alarms.
const NAMES: [&str; 24] = [
    "joule_prover_tasks{kind=\"segment\",state=\"queued\"} 2",
    "joule_prover_tasks{kind=\"segment\",state=\"leased\"} 3",
    "joule_prover_tasks{kind=\"segment\",state=\"verifying\"} 1",
    "joule_prover_tasks{kind=\"merge\",state=\"queued\"} 0",
    "joule_prover_tasks{kind=\"wrap\",state=\"queued\"} 0",
    "joule_prover_results_total{kind=\"segment\",verdict=\"accepted\"} 40",
    "joule_prover_results_total{kind=\"segment\",verdict=\"refused\"} 5",
    "joule_prover_results_total{kind=\"wrap\",verdict=\"refused\"} 0",
    "joule_prover_provers{state=\"known\"} 7",
    "joule_prover_provers{state=\"waiting\"} 4",
    "joule_prover_provers{state=\"suspended\"} 1",
    "joule_prover_leases 3",
    "joule_prover_owed_tokens 0.5",
    "joule_prover_paid_tokens_total 1.25",
    "joule_prover_lease_ends_total{kind=\"segment\",end=\"accepted\"} 1",
    "joule_prover_lease_ends_total{kind=\"segment\",end=\"lapsed\"} 1",
    "joule_prover_lease_ends_total{kind=\"segment\",end=\"refused\"} 0",
    "joule_prover_lease_ends_total{kind=\"merge\",end=\"returned\"} 0",
    "joule_prover_lease_ends_total{kind=\"merge\",end=\"failed\"} 0",
    "joule_prover_task_seconds_sum{kind=\"segment\"} 47.5",
    "joule_prover_task_seconds_count{kind=\"segment\"} 1",
    "joule_prover_task_seconds_count{kind=\"wrap\"} 0",
    "joule_prover_task_seconds_bucket{le=\"40.0\",kind=\"segment\"} 0",
    "joule_prover_task_seconds_bucket{le=\"60.0\",kind=\"segment\"} 1",
];

fn status() -> Status {
    let mut status = Status {
        provers_known: 7,
        provers_waiting: 4,
        provers_suspended: 1,
        leases_live: 3,
        owed: 500_000_000_000_000_000,
        paid: 1_250_000_000_000_000_000,
        ..Status::default()
    };
    status.tasks[TaskKind::Segment as usize] =
        TaskCounts { queued: 2, leased: 3, verifying: 1, accepted: 40, refused: 5 };
    status
}

fn happening(what: What) -> Happening {
    Happening {
        task: TaskId([1; 32]),
        kind: TaskKind::Segment,
        lease: LeaseId([2; 32]),
        prover: ProverId([3; 32]),
        payout: joule_protocol::Address([4; 20]),
        price: 5,
        milliseconds: 47_500,
        what,
    }
}

fn metrics() -> (Metrics, watch::Sender<Option<Status>>) {
    let (sender, snapshots) = watch::channel(Some(status()));
    let metrics = Metrics::new(snapshots);
    for what in [What::Leased, What::Lapsed, What::Accepted] {
        metrics.count(&happening(what));
    }
    (metrics, sender)
}

#[test]
fn names_are_stable() {
    let (metrics, sender) = metrics();
    for text in [metrics.text(), metrics.open_metrics()] {
        for name in NAMES {
            assert!(text.lines().any(|line| line == name), "{name} in\n{text}");
        }
    }
    let families: Vec<String> =
        metrics.text().lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.to_owned())).collect();
    let documented = include_str!("../../README.md");
    for family in &families {
        let name = family.split(' ').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "the README has no row for {name}");
    }
    assert_eq!(families.len(), 8, "{families:?}");
    // The state is read anew for each scrape.
    sender.send_replace(Some(Status { leases_live: 9, ..status() }));
    assert!(metrics.text().contains("joule_prover_leases 9\n"));
    sender.send_replace(None);
    assert!(!metrics.text().contains("joule_prover_leases "));
}

#[test]
fn the_older_format_is_what_it_should_be() {
    let text = "# HELP a Some help.\n# TYPE a counter\na_total{k=\"v\"} 1\n# HELP ab Other.\n# TYPE ab gauge\n# UNIT ab seconds\nab 2\n# EOF\n";
    let wanted = "# HELP a_total Some help.\n# TYPE a_total counter\na_total{k=\"v\"} 1\n# HELP ab Other.\n# TYPE ab gauge\nab 2\n";
    assert_eq!(classic(text), wanted);
}

#[test]
fn promtool_finds_nothing() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: promtool is not installed (Debian: apt-get install prometheus)");
            return;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    let (metrics, _sender) = metrics();
    promtool.stdin.take().unwrap().write_all(metrics.text().as_bytes()).unwrap();
    let found = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    assert!(found.status.success() && said.trim().is_empty(), "{said}");
}
