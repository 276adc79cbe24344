//! What provers are held to.

use joule_protocol::Amount;

/// The rules that a coordinator goes by. Provers learn them from their leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How often a prover says that it is at work.
    pub heartbeat_ms: u32,
    /// Heartbeats that may be missed in a row.
    pub missed_max: u32,
    /// How long an offer waits for the prover's signature.
    pub offer_ms: u32,
    /// A lease's length in hundredths of the time that the prover says the work takes it.
    pub lease_percent: u32,
    /// A lease's greatest length, whatever the prover says the work takes it: its word alone must not keep a task from others.
    pub lease_max_ms: u32,
    /// How long a prover that failed a task is not offered it again.
    pub retry_ms: u32,
    /// Leases that one prover holds at a time, whatever it says it can do.
    pub leases_of_prover_max: usize,
    /// Leases that one task may have had at once, lapsed ones included; the oldest lapsed one is forgotten for the next.
    pub leases_of_task_max: usize,
    /// Tasks that wait or are worked on.
    pub tasks_max: usize,
    /// Tasks that are accepted, and not yet both paid and collected.
    pub unpaid_max: usize,
    /// Provers that are known. The least recently seen one without leases is forgotten for the next.
    pub provers_max: usize,
    /// A payee is paid when it is owed this much.
    pub payout_min: Amount,
    /// Payouts that ride in one batch.
    pub payouts_max: usize,
    /// Provers that must blame a task's input before somebody is called.
    pub blames_max: usize,
}

impl Default for Rules {
    /// Numbers for segments of half a minute to a few minutes.
    fn default() -> Self {
        Self {
            heartbeat_ms: 5_000,
            missed_max: 3,
            offer_ms: 10_000,
            lease_percent: 250,
            lease_max_ms: 20 * 60 * 1_000,
            retry_ms: 60_000,
            leases_of_prover_max: 2,
            leases_of_task_max: 8,
            tasks_max: 16_384,
            unpaid_max: 262_144,
            provers_max: 4_096,
            payout_min: 1,
            payouts_max: 64,
            blames_max: 3,
        }
    }
}
