//! The operator's choices.

/// How settlement behaves. All times in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A certificate must outlive what L1 asks for by this much when its commit is sent: it may take a while until a block has it.
    pub certificate_margin_s: u64,
    /// After a failure of the committee data goes to L1 until the committee has been well for this long.
    pub healthy_for_s: u64,
    /// A batch waits this long for its proof, if nothing else waits on L1, to be settled in one transaction: cheaper by a third, and later
    /// visible. Zero commits as soon as the data is available.
    pub settle_at_once_wait_s: u64,
    /// Batches whose proofs are asked for at once.
    pub proofs_ahead: usize,
    /// Batches whose certificates are gathered before the first of them is committed.
    pub certificates_ahead: u64,
    /// Parts of one batch's data under way to L1 at once.
    pub parts_ahead: u32,
    /// After a refusal the same is tried again after this long, and after twice as long each time from then on.
    pub retry_s: u64,
    /// But never later than this.
    pub retry_max_s: u64,
    /// Refusals in a row before a person is told.
    pub refusals_before_alarm: u32,
    /// A committed batch unproven for this long raises an alarm; choose it well below L1's proof deadline.
    pub proof_late_s: u64,
    /// Batches sealed and not yet executed for good. More are not taken.
    pub batches_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            certificate_margin_s: 3_600,
            healthy_for_s: 1_800,
            settle_at_once_wait_s: 0,
            proofs_ahead: 8,
            certificates_ahead: 4,
            parts_ahead: 8,
            retry_s: 12,
            retry_max_s: 600,
            refusals_before_alarm: 3,
            proof_late_s: 6 * 3_600,
            batches_max: 512,
        }
    }
}
