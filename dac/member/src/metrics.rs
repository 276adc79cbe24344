//! What a member counts. The names are stable; the README lists them.

use std::sync::atomic::AtomicU64;

use joule_committee_client::Refusal;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Label of an offer's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `signed`, or the refusal's word.
    pub outcome: &'static str,
}

/// A member's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    offers: Family<OutcomeLabel, Counter>,
    /// Blocks executed.
    pub blocks: Counter<u64, AtomicU64>,
    /// Batches taken from peers.
    pub synced: Counter<u64, AtomicU64>,
    /// Failed attempts to read L1.
    pub l1_failures: Counter<u64, AtomicU64>,
    /// Failed attempts to get a batch from peers.
    pub peer_failures: Counter<u64, AtomicU64>,
    /// Bytes of data, offers and snapshots served.
    pub served_bytes: Counter<u64, AtomicU64>,
    /// Chunks asked for by whoever probes.
    pub probes: Counter<u64, AtomicU64>,
    /// The last batch held.
    pub held: Gauge,
    /// Batches committed on L1.
    pub committed: Gauge,
    /// Batches executed on L1.
    pub executed: Gauge,
    /// Time of the latest L1 block seen.
    pub l1_time: Gauge,
    /// Promises that may still have to be kept apart.
    pub promises: Gauge,
    /// From an offer's arrival to its signature.
    pub accept_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("joule_dac");
        let offers = Family::<OutcomeLabel, Counter>::default();
        registry.register("offers", "Offers, by what became of them", offers.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let blocks = counter("blocks_executed", "Blocks executed");
        let synced = counter("batches_synced", "Batches taken from peers");
        let l1_failures = counter("l1_failures", "Failed attempts to read L1");
        let peer_failures = counter("peer_failures", "Failed attempts to get a batch from peers");
        let served_bytes = counter("served_bytes", "Bytes of data, offers and snapshots served");
        let probes = counter("probes", "Chunks asked for by whoever probes");
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let held = gauge("batch_held", "The last batch held");
        let committed = gauge("batch_committed", "Batches committed on L1");
        let executed = gauge("batch_executed", "Batches executed on L1");
        let l1_time = gauge("l1_time_seconds", "Time of the latest L1 block seen, unix seconds");
        let promises = gauge("promises", "Promises in the signing log");
        // From 1 ms to about half a minute.
        let accept_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 16));
        registry.register("accept_seconds", "From an offer's arrival to its signature", accept_seconds.clone());
        Self {
            registry,
            offers,
            blocks,
            synced,
            l1_failures,
            peer_failures,
            served_bytes,
            probes,
            held,
            committed,
            executed,
            l1_time,
            promises,
            accept_seconds,
        }
    }
}

impl Metrics {
    /// Counts what became of an offer.
    pub fn count_offer<T>(&self, result: &Result<T, Refusal>) {
        let outcome = result.as_ref().err().map_or("signed", |refusal| refusal.code.name());
        self.offers.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Everything in OpenMetrics' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
