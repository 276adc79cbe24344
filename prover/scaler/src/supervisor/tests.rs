use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::scale::Share;

const PATIENCE: Duration = Duration::from_secs(30);

/// Free at once, and ends when it is told to or when its input does.
const GOOD: &str = r#"trap 'exit 0' TERM; echo '{"worker":"free"}'; read nothing; exit 0"#;
/// Takes a lease that does not end before it is told to stop, and then finishes it.
const BUSY: &str =
    r#"trap 'exit 0' TERM; echo '{"worker":"free"}'; echo 'something else'; echo '{"worker":"leased"}'; read nothing"#;
/// Does not listen.
const STUBBORN: &str = r#"trap '' TERM; echo '{"worker":"free"}'; while :; do sleep 0.05; done"#;
const BROKEN: &str = "exit 3";

fn limits(idle_ms: u64) -> Limits {
    let share = |kind| Share { kind, memory_mebibytes: 1_000, cores: 1 };
    Limits {
        idle_ms,
        end_ms: 300,
        backoff_first_ms: 10,
        ..Limits::new(3, 10_000, 8, TaskKind::ALL.map(share).to_vec())
    }
}

struct Supervised {
    demand: watch::Sender<Option<Demand>>,
    workers: watch::Receiver<Running>,
    stop: CancellationToken,
    done: JoinHandle<Result<Summary, LimitsError>>,
}

fn supervised(limits: Limits, program: &'static str, script: &'static str) -> Supervised {
    let command = move |_, _| {
        let mut command = Command::new(program);
        command.args(["-c", script]);
        command
    };
    let (demand, learned) = watch::channel(None);
    let (running, workers) = watch::channel(Running::default());
    let stop = CancellationToken::new();
    let done = tokio::spawn(supervise(limits, command, learned, running, stop.clone()));
    Supervised { demand, workers, stop, done }
}

impl Supervised {
    async fn until(&mut self, holds: impl FnMut(&Running) -> bool) {
        timeout(PATIENCE, self.workers.wait_for(holds)).await.expect("in time").expect("it runs");
    }

    async fn until_there_are(&mut self, wanted: usize) {
        self.until(|running| running.processes == wanted).await;
    }

    async fn end(self) -> Summary {
        self.stop.cancel();
        timeout(PATIENCE, self.done).await.expect("in time").unwrap().unwrap()
    }
}

#[tokio::test]
async fn processes_come_and_go() {
    let mut supervised = supervised(limits(50), "sh", GOOD);
    supervised.demand.send_replace(Some([2, 9, 0]));
    supervised.until_there_are(3).await;
    supervised.demand.send_replace(Some([0; 3]));
    supervised.until_there_are(0).await;
    let summary = supervised.end().await;
    assert_eq!((summary.started, summary.failed, summary.workers_peak), (3, 0, 3));
}

#[tokio::test]
async fn whoever_does_not_listen_is_killed() {
    let mut supervised = supervised(limits(50), "sh", STUBBORN);
    supervised.demand.send_replace(Some([1, 0, 0]));
    supervised.until_there_are(1).await;
    supervised.demand.send_replace(Some([0; 3]));
    supervised.until_there_are(0).await;
    let summary = supervised.end().await;
    assert_eq!((summary.started, summary.failed), (1, 1));
}

#[tokio::test]
async fn a_lease_is_finished_before_the_end() {
    let mut supervised = supervised(Limits { shutdown_ms: 60_000, ..limits(1) }, "sh", BUSY);
    supervised.demand.send_replace(Some([0, 0, 1]));
    supervised.until(|running| running.leased == 1).await;
    let summary = supervised.end().await;
    assert_eq!(summary, Summary { started: 1, failed: 0, leases: 1, workers_peak: 1 });
}

#[tokio::test]
async fn what_cannot_be_started_is_tried_again_later() {
    for (program, script) in [("sh", BROKEN), ("/nowhere/joule-prover", "")] {
        let mut supervised = supervised(limits(50), program, script);
        supervised.demand.send_replace(Some([1, 0, 0]));
        supervised.until(|running| running.started >= 3).await;
        let summary = supervised.end().await;
        assert!(summary.started >= 3 && summary.failed == summary.started, "{summary:?}");
    }
}

/// Whoever supervises is gone, in whatever way: nobody is left behind.
#[tokio::test]
async fn workers_end_with_their_supervisor() {
    let mut supervised = supervised(limits(60_000), "sh", GOOD);
    supervised.demand.send_replace(Some([1, 0, 0]));
    supervised.until_there_are(1).await;
    supervised.done.abort();
    assert!(supervised.done.await.is_err());
}

#[test]
fn demand_is_what_can_be_done_here() {
    let queue = |kind, shape, queued| Queue { kind, shape, queued, open: queued };
    let queues = [
        queue(TaskKind::Segment, 0, 1),
        queue(TaskKind::Segment, 1, 2),
        queue(TaskKind::Segment, 3, 4),
        queue(TaskKind::Merge, 0, 8),
        queue(TaskKind::Wrap, 9, u32::MAX),
        queue(TaskKind::Wrap, 0, 1),
    ];
    assert_eq!(demand_of(&queues, 1), [3, 8, u32::MAX]);
    assert_eq!(demand_of(&queues, 0), [1, 8, u32::MAX]);
    assert_eq!(demand_of(&[], 9), [0, 0, 0]);
}
