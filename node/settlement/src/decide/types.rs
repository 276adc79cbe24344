//! What the core is told, and what it says.

use alloy::primitives::{Address, B256};
use joule_l1::RollupState;
use joule_storage::Stage;
use thiserror::Error;

use crate::Purpose;

/// A batch that is sealed, as far as deciding needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number, from 1.
    pub number: u64,
    /// Hash of the checkpoint it starts from.
    pub parent: B256,
    /// Hash of the checkpoint it leads to.
    pub checkpoint: B256,
    /// The checkpoint's protocol version.
    pub protocol_version: u32,
    /// Requests consumed by its end.
    pub priority_count: u64,
    /// Transactions that its data takes on L1.
    pub parts: u32,
    /// When it was sealed, unix seconds.
    pub sealed_at_s: u64,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateHead {
    /// The revert count it is made out for.
    pub revert_count: u64,
    /// Until when the data is held, unix seconds.
    pub expiry: u64,
    /// The keyset that signed.
    pub keyset: B256,
}

/// A transaction that may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Its nonce.
    pub nonce: u64,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether it has been cancelled; an earlier version may still win.
    pub is_cancelled: bool,
}

/// L1 as seen at one block, with what is under way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The rollup's state.
    pub rollup: RollupState,
    /// Batches executed at a block that no reorg is expected to take away.
    pub settled_executed: u64,
    /// Seconds that a certificate must outlive its commit.
    pub certificate_remaining_min_s: u64,
    /// The account that transactions are sent from.
    pub operator: Address,
    /// Transactions under way.
    pub in_flight: Vec<InFlight>,
    /// The next batch to be committed and how many of its parts L1 has, if [`crate::Settlement::is_posted_on_l1`].
    pub posted: Option<(u64, u32)>,
}

/// Where data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To the committee.
    Committee,
    /// To L1, since the committee failed.
    L1Data {
        /// When, unix seconds.
        since_s: u64,
    },
}

/// What comes back from storage at a start.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Where data goes.
    pub mode: Mode,
    /// Batches that are final.
    pub executed: u64,
    /// Batches above them, without a gap, each with its certificate, whether its proof is there, and the revert count under which it was
    /// last sent.
    pub batches: Vec<(Sealed, Option<CertificateHead>, bool, Option<u64>)>,
}

/// Why a transaction is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The proof does not verify.
    Proof,
    /// The certificate is not taken.
    Certificate,
    /// Something else that L1 objects to.
    Other,
    /// L1 could not be asked, or too much is under way.
    Unreachable,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The next batch was sealed.
    Sealed(Sealed),
    /// L1 was looked at.
    L1(Box<View>),
    /// A certificate was gathered, and is stored.
    Certified {
        /// The batch.
        number: u64,
        /// What it is good for.
        certificate: CertificateHead,
    },
    /// The committee gave none.
    NotCertified {
        /// The batch.
        number: u64,
        /// The revert count asked for.
        revert_count: u64,
        /// Whether the committee failed, rather than this batch's statement being too old to be asked for.
        has_failed: bool,
    },
    /// The committee was asked how it is.
    Health {
        /// Whether a quorum answers.
        is_healthy: bool,
    },
    /// A proof came, and is stored.
    Proof {
        /// The batch.
        number: u64,
        /// The checkpoint it leads to.
        checkpoint: B256,
    },
    /// No proof came.
    NotProven {
        /// The batch.
        number: u64,
    },
    /// A transaction was not sent, or ran and failed.
    Refused {
        /// What for.
        purpose: Purpose,
        /// Why.
        cause: Cause,
    },
    /// The operator wants committed batches dropped.
    Revert {
        /// The last batch that stays.
        keep: u64,
    },
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Gather a certificate.
    Gather {
        /// The batch.
        number: u64,
        /// The revert count to make it out for.
        revert_count: u64,
    },
    /// Ask for a proof.
    AskProof {
        /// The batch.
        number: u64,
    },
    /// Throw a proof away: L1 does not take it.
    DropProof {
        /// The batch.
        number: u64,
    },
    /// Remember, before anything else is done, that this batch is sent under this revert count.
    MarkSent {
        /// The batch.
        number: u64,
        /// The count.
        revert_count: u64,
    },
    /// Write a transaction down and send it.
    Send(Purpose),
    /// Replace a transaction by one that does nothing.
    Cancel {
        /// Its nonce.
        nonce: u64,
    },
    /// Remember where data goes.
    SetMode(Mode),
    /// Remember how far a batch has come.
    SetStage {
        /// The batch.
        number: u64,
        /// How far.
        stage: Stage,
    },
    /// Tell a person.
    Alarm(Alarm),
}

/// What a person should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Alarm {
    /// The chain is frozen: settlement is over, users leave through the escape.
    Frozen,
    /// Anyone may settle in the operator's place.
    OperatorLate,
    /// The account that sends is not the sequencer that L1 names, so it cannot commit.
    NotTheSequencer {
        /// Whom L1 names.
        expected: Address,
    },
    /// The next batch is not of the version that L1 takes.
    WrongVersion {
        /// The batch.
        number: u64,
    },
    /// L1 has another batch under this number: somebody settled in the operator's place, or storage is from elsewhere. Rebuild from L1.
    Foreign {
        /// The number.
        number: u64,
    },
    /// L1 is ahead of everything sealed here: storage is old. Rebuild from L1.
    Behind {
        /// Batches that L1 knows.
        committed: u64,
    },
    /// L1 took back batches that counted as final: a reorg deeper than the confirmations. They are taken up again from storage.
    ReorgTooDeep {
        /// Batches that L1 has executed.
        executed: u64,
    },
    /// A batch consumed requests that L1 no longer has: a reorg deeper than the requests' confirmations.
    RequestsGone {
        /// The batch.
        number: u64,
    },
    /// A committed batch has waited long for its proof.
    ProofLate {
        /// The batch.
        number: u64,
    },
    /// The committee failed; data goes to L1.
    FellBack {
        /// The first batch.
        number: u64,
    },
    /// A certificate grew too old before it could be used; the batch's data goes to L1.
    CertificateExpired {
        /// The batch.
        number: u64,
    },
    /// L1 refuses the same again and again.
    Refused {
        /// What.
        purpose: Purpose,
        /// How often by now.
        times: u32,
    },
    /// A batch was sealed that contradicts one sealed before which L1 has or could still get, or leaves a gap. It is not taken.
    Contradiction {
        /// The number.
        number: u64,
    },
}

/// Why batches cannot be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DropRefused {
    /// L1 has not been looked at.
    #[error("L1 has not been looked at yet")]
    Unknown,
    /// L1 has them.
    #[error("L1 has committed batch {number}: revert it there first")]
    Committed {
        /// The first such batch.
        number: u64,
    },
    /// They were sent, and could still be committed.
    #[error("batch {number} was sent to L1 under the present revert count: revert there first")]
    Sent {
        /// The first such batch.
        number: u64,
    },
}
