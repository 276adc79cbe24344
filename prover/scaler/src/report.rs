//! What a worker tells the supervisor that started it: a line on its standard output each time it is free or takes a lease.
//!
//! The other direction has no words. `SIGTERM` says that the worker should end in order, and so does the end of its standard input: a supervisor that is killed leaves nobody behind.

use std::{
    io::{self, Read as _, Write as _},
    thread,
};

use joule_prover_network::Activity;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

/// Bytes of a line: longer ones are not read.
pub const LINE_BYTES_MAX: usize = 256;

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// It waits for a task.
    Free,
    /// It has a lease.
    Leased,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    worker: Report,
}

impl Report {
    /// The line, without its end.
    #[must_use]
    pub fn line(self) -> String {
        let word = match self {
            Self::Free => "free",
            Self::Leased => "leased",
        };
        format!("{{\"worker\":\"{word}\"}}")
    }

    /// The report that a line is; `None` if it is something else that the worker prints.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        if line.len() > LINE_BYTES_MAX {
            return None;
        }
        serde_json::from_slice::<Line>(line).ok().map(|line| line.worker)
    }

    /// What to say about two looks at a prover: each lease between them, and where it stands now.
    fn between(before: &Activity, now: &Activity) -> Vec<Self> {
        let mut reports = Vec::new();
        if now.has_joined && !before.has_joined {
            reports.push(Self::Free);
        }
        // Several leases between two looks say no more than one.
        let took = now.leases != before.leases;
        if took {
            reports.push(Self::Leased);
        }
        if (took || before.is_leased) && !now.is_leased {
            reports.push(Self::Free);
        }
        reports
    }
}

/// Prints what a prover is at, whenever that changes, until the prover ends or nobody reads.
///
/// # Errors
/// Nobody reads.
pub async fn report(mut activity: watch::Receiver<Activity>) -> io::Result<()> {
    let mut before = Activity::default();
    loop {
        let now = *activity.borrow_and_update();
        for report in Report::between(&before, &now) {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", report.line())?;
            out.flush()?;
        }
        before = now;
        if activity.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Resolves when the process that started this one has ended, or wants this one to.
pub async fn left_alone() {
    let (sender, ended) = oneshot::channel::<()>();
    // A thread, because reading from a pipe blocks; it holds nothing, and ends with the process.
    thread::spawn(move || {
        let mut buffer = [0; 64];
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut buffer), Ok(1..)) {}
        drop(sender);
    });
    let _: Result<(), _> = ended.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_and_nothing_else_is_a_report() {
        for report in [Report::Free, Report::Leased] {
            assert_eq!(Report::read(report.line().as_bytes()), Some(report));
            assert_eq!(Report::read(format!("{}\n", report.line()).as_bytes()), Some(report));
        }
        let long = format!("{}{}", " ".repeat(LINE_BYTES_MAX), Report::Free.line());
        let others: [&[u8]; 8] = [
            b"",
            b"free",
            b"{\"worker\":\"Free\"}",
            b"{\"worker\":\"gone\"}",
            b"{\"worker\":\"free\",\"more\":1}",
            b"{\"worker\":\"free\"} {}",
            b"\xff\xfe",
            long.as_bytes(),
        ];
        for other in others {
            assert_eq!(Report::read(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn no_lease_is_left_out() {
        let at = |has_joined, is_leased, leases| Activity { has_joined, is_leased, leases };
        let between = |before, now| Report::between(&before, &now);
        assert_eq!(between(at(false, false, 0), at(true, false, 0)), [Report::Free]);
        assert_eq!(between(at(true, false, 0), at(true, true, 1)), [Report::Leased]);
        assert_eq!(between(at(true, true, 1), at(true, false, 1)), [Report::Free]);
        assert_eq!(between(at(true, false, 1), at(true, false, 2)), [Report::Leased, Report::Free]);
        assert_eq!(between(at(true, true, 1), at(true, true, 3)), [Report::Leased]);
        assert_eq!(between(at(true, true, 1), at(true, true, 1)), []);
        assert_eq!(between(at(false, false, 0), at(true, false, 1)), [Report::Free, Report::Leased, Report::Free]);
    }
}
