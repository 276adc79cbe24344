//! Numbers for operators, in OpenMetrics' text format. The names are stable; the table in the README lists them.

use std::sync::Arc;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// All of the node's numbers. Cheap to clone; the clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Transactions acknowledged.
    pub submitted: Counter,
    /// Transactions that the pool did not take.
    pub refused: Counter,
    /// Transactions that left the pool without a block.
    pub dropped: Counter,
    /// Blocks built.
    pub blocks: Counter,
    /// Transactions in blocks.
    pub transactions: Counter,
    /// Priority requests in blocks.
    pub requests: Counter,
    /// Batches sealed.
    pub batches: Counter,
    /// Number of the last block.
    pub block_number: Gauge,
    /// Transactions in the pool.
    pub pool_transactions: Gauge,
    /// L1 block up to which events have been taken.
    pub l1_block_number: Gauge,
    /// Times that L1 could not be asked.
    pub l1_failures: Counter,
    /// Batches that L1 has committed.
    pub batches_committed: Gauge,
    /// Batches that L1 has proven.
    pub batches_proven: Gauge,
    /// Batches that L1 has executed.
    pub batches_executed: Gauge,
    /// 1 while data goes to L1 because the committee failed.
    pub data_on_l1: Gauge,
    /// Alarms of settlement.
    pub settlement_alarms: Counter,
    /// Peers connected.
    pub peers: Gauge,
    /// 1 while a full node has halted.
    pub halted: Gauge,
    /// The earliest block whose state can still be had: everything after it can be undone.
    pub undo_floor: Gauge,
    /// Blocks whose undo data was dropped.
    pub undo_pruned_blocks: Counter,
    /// Times that the sequencer had signed other blocks than it committed.
    pub equivocations: Counter,
    /// From a transaction's arrival until it is durable.
    pub submit_seconds: Histogram,
    /// Execution of a block.
    pub execute_seconds: Histogram,
    /// Execution of a block and writing it to the disk.
    pub block_seconds: Histogram,
}

fn latency() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            submitted: Counter::default(),
            refused: Counter::default(),
            dropped: Counter::default(),
            blocks: Counter::default(),
            transactions: Counter::default(),
            requests: Counter::default(),
            batches: Counter::default(),
            block_number: Gauge::default(),
            pool_transactions: Gauge::default(),
            l1_block_number: Gauge::default(),
            l1_failures: Counter::default(),
            batches_committed: Gauge::default(),
            batches_proven: Gauge::default(),
            batches_executed: Gauge::default(),
            data_on_l1: Gauge::default(),
            settlement_alarms: Counter::default(),
            peers: Gauge::default(),
            halted: Gauge::default(),
            undo_floor: Gauge::default(),
            undo_pruned_blocks: Counter::default(),
            equivocations: Counter::default(),
            submit_seconds: latency(),
            execute_seconds: latency(),
            block_seconds: latency(),
        };
        let mut registry = Registry::with_prefix("joule");
        let counters = [
            ("transactions_submitted", "Transactions acknowledged", &metrics.submitted),
            ("transactions_refused", "Transactions that the mempool did not take", &metrics.refused),
            ("transactions_dropped", "Transactions that left the mempool without a block", &metrics.dropped),
            ("blocks", "Blocks built", &metrics.blocks),
            ("transactions", "Transactions in blocks", &metrics.transactions),
            ("priority_requests", "Priority requests in blocks", &metrics.requests),
            ("batches", "Batches sealed", &metrics.batches),
            ("l1_failures", "Times that L1 could not be asked", &metrics.l1_failures),
            ("settlement_alarms", "Alarms of settlement", &metrics.settlement_alarms),
            ("undo_pruned_blocks", "Blocks whose undo data was dropped", &metrics.undo_pruned_blocks),
            (
                "equivocations",
                "Times that L1 had other blocks than the sequencer had signed for this node",
                &metrics.equivocations,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("block_number", "Number of the last block", &metrics.block_number),
            ("pool_transactions", "Transactions in the mempool", &metrics.pool_transactions),
            ("l1_block_number", "L1 block up to which events have been taken", &metrics.l1_block_number),
            ("batches_committed", "Batches that L1 has committed", &metrics.batches_committed),
            ("batches_proven", "Batches that L1 has proven", &metrics.batches_proven),
            ("batches_executed", "Batches that L1 has executed", &metrics.batches_executed),
            ("data_on_l1", "1 while data goes to L1 because the committee failed", &metrics.data_on_l1),
            ("peers", "Peers connected", &metrics.peers),
            ("halted", "1 while a full node has halted", &metrics.halted),
            ("undo_floor_block", "The earliest block whose state can still be had", &metrics.undo_floor),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let histograms = [
            ("submit", "From a transaction's arrival until it is durable", &metrics.submit_seconds),
            ("execute", "Execution of a block", &metrics.execute_seconds),
            ("block", "Execution of a block and writing it to the disk", &metrics.block_seconds),
        ];
        for (name, help, histogram) in histograms {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Everything, in OpenMetrics' text format, which ends in `# EOF`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        let metrics = Metrics::default();
        metrics.transactions.inc_by(3);
        metrics.submit_seconds.observe(0.02);
        let text = metrics.render();
        for name in [
            "joule_transactions_submitted_total",
            "joule_transactions_refused_total",
            "joule_transactions_dropped_total",
            "joule_blocks_total",
            "joule_transactions_total 3",
            "joule_priority_requests_total",
            "joule_batches_total",
            "joule_l1_failures_total",
            "joule_block_number",
            "joule_pool_transactions",
            "joule_l1_block_number",
            "joule_batches_committed",
            "joule_batches_proven",
            "joule_batches_executed",
            "joule_data_on_l1",
            "joule_settlement_alarms_total",
            "joule_peers",
            "joule_halted",
            "joule_undo_floor_block",
            "joule_undo_pruned_blocks_total",
            "joule_equivocations_total",
            "joule_submit_seconds_count 1",
            "joule_execute_seconds_count",
            "joule_block_seconds_count",
        ] {
            assert!(text.contains(name), "{name} in\n{text}");
        }
    }
}
