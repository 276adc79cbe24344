//! What a coordinator counts. The names are stable; the README lists them.
//!
//! Numbers of what is there now, and totals that survive restarts, come from the coordinator's state; how long things take is watched while this process runs.

use std::{fmt, sync::Arc};

use joule_prover_network::{Happening, Status, TaskKind, What};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text::encode},
    metrics::{MetricType, counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tokio::sync::{broadcast, watch};

/// Label of a kind of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Labels of how a lease ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    kind: &'static str,
    end: &'static str,
}

/// From half a second, which the smallest merge takes, to more than an hour.
const SECONDS: [f64; 14] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1_920.0, 3_840.0];

/// A coordinator's metrics. Cheap to clone; the clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    ends: Family<EndLabel, Counter>,
    seconds: Family<KindLabel, Histogram>,
}

impl Metrics {
    /// Metrics of the coordinator whose latest state is in `snapshots`. See [`Metrics::count`] for what is watched.
    #[must_use]
    pub fn new(snapshots: watch::Receiver<Option<Status>>) -> Self {
        let ends = Family::<EndLabel, Counter>::default();
        let seconds = Family::<KindLabel, Histogram, _>::new_with_constructor(histogram as fn() -> Histogram);
        for kind in TaskKind::ALL {
            // There from the beginning, so that a rate over them begins at 0.
            let _ = seconds.get_or_create(&KindLabel { kind: kind.as_str() });
            for what in [What::Returned, What::Failed, What::Lapsed, What::Accepted, What::Refused] {
                if let Some(end) = end_of(what) {
                    let _ = ends.get_or_create(&EndLabel { kind: kind.as_str(), end });
                }
            }
        }
        let mut registry = Registry::with_prefix("joule_prover");
        registry.register("lease_ends", "Leases that ended since the process began, by how", ends.clone());
        registry.register_with_unit(
            "task",
            "From a lease to the acceptance of its result",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register_collector(Box::new(Snapshots(snapshots)));
        Self { registry: Arc::new(registry), ends, seconds }
    }

    /// Counts what became of a task.
    pub fn count(&self, happening: &Happening) {
        let kind = happening.kind.as_str();
        if let Some(end) = end_of(happening.what) {
            self.ends.get_or_create(&EndLabel { kind, end }).inc();
        }
        if happening.what == What::Accepted {
            self.seconds.get_or_create(&KindLabel { kind }).observe(happening.milliseconds as f64 / 1_000.0);
        }
    }

    /// Counts whatever happens until the coordinator ends. What a slow process misses is missing in the numbers of leases and seconds, and said in the log.
    pub async fn follow(&self, mut happenings: broadcast::Receiver<Happening>) {
        loop {
            match happenings.recv().await {
                Ok(happening) => self.count(&happening),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "some of what happened to tasks is missing in the metrics");
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Everything, in Prometheus' older text format, which every collector reads.
    #[must_use]
    pub fn text(&self) -> String {
        classic(&self.open_metrics())
    }
}

const fn end_of(what: What) -> Option<&'static str> {
    match what {
        What::Leased => None,
        What::Returned => Some("returned"),
        What::Failed => Some("failed"),
        What::Lapsed => Some("lapsed"),
        What::Accepted => Some("accepted"),
        What::Refused => Some("refused"),
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// OpenMetrics text as Prometheus' older format: there a counter's family has its `_total`, and units and the end are not said.
fn classic(text: &str) -> String {
    let is_counter = |name: &str| text.contains(&format!("# TYPE {name} counter\n"));
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) if is_counter(name) => {
                out.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Reads the latest state when somebody asks.
#[derive(Debug)]
struct Snapshots(watch::Receiver<Option<Status>>);

impl Collector for Snapshots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(status) = *self.0.borrow() else { return Ok(()) };
        let kinds = TaskKind::ALL.map(|kind| (kind.as_str(), status.of(kind)));

        let mut tasks = encoder.encode_descriptor(
            "tasks",
            "Tasks that are not done, by what they wait for",
            None,
            MetricType::Gauge,
        )?;
        for (kind, counts) in kinds {
            let states = [("queued", counts.queued), ("leased", counts.leased), ("verifying", counts.verifying)];
            for (state, count) in states {
                tasks.encode_family(&[("kind", kind), ("state", state)])?.encode_gauge(&(count as i64))?;
            }
        }
        let mut results = encoder.encode_descriptor(
            "results",
            "Results that were verified, by verdict, since the coordinator was set up",
            None,
            MetricType::Counter,
        )?;
        for (kind, counts) in kinds {
            for (verdict, count) in [("accepted", counts.accepted), ("refused", counts.refused)] {
                results
                    .encode_family(&[("kind", kind), ("verdict", verdict)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let mut provers = encoder.encode_descriptor(
            "provers",
            "Provers, by how they are; one that waits or is suspended is known, too",
            None,
            MetricType::Gauge,
        )?;
        let states = [
            ("known", status.provers_known),
            ("waiting", status.provers_waiting),
            ("suspended", status.provers_suspended),
        ];
        for (state, count) in states {
            provers.encode_family(&[("state", state)])?.encode_gauge(&(count as i64))?;
        }
        encoder
            .encode_descriptor("leases", "Leases that are live", None, MetricType::Gauge)?
            .encode_gauge(&(status.leases_live as i64))?;
        // A float has 15 digits: enough for a graph, and this is no accounting.
        encoder
            .encode_descriptor(
                "owed_tokens",
                "Owed to provers, in base tokens of 18 decimals",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&tokens(status.owed))?;
        encoder
            .encode_descriptor(
                "paid_tokens",
                "Paid to provers since the coordinator was set up, in base tokens of 18 decimals",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&tokens(status.paid), None)
    }
}

fn tokens(amount: u128) -> f64 {
    amount as f64 / 1e18
}

#[cfg(test)]
mod tests;
