//! What has no proof.

use joule_protocol::{Key, ObjectError, Refusal, Rejection};
use thiserror::Error;

/// Why an execution cannot be proven. A sequencer whose block aborts has a bug (or a corrupt disk) and says so; a prover that feeds the image
/// wrong hints gets one of these and no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Abort {
    /// A block holds a transaction that must be refused.
    #[error("the block holds a transaction that must be refused: {0}")]
    Refused(#[from] Refusal),
    /// A block or segment exceeds one of its limits.
    #[error("more {what} than the limit of {limit}")]
    OverLimit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A block holds more gas, transactions or requests than one may.
    #[error("the block holds more gas, transactions or requests than one may")]
    BlockOverfull,
    /// A request behind a transaction.
    #[error("a block takes its priority requests before its transactions")]
    RequestAfterTransaction,
    /// A block without transactions and requests.
    #[error("a block must hold a transaction or a priority request")]
    EmptyBlock,
    /// A segment without blocks.
    #[error("a segment must hold a block")]
    EmptySegment,
    /// A checkpoint of another version.
    #[error("the checkpoint has protocol version {got}, this kernel is version {expected}")]
    WrongVersion {
        /// Version in the checkpoint.
        got: u32,
        /// Version of this kernel.
        expected: u32,
    },
    /// Time runs backwards.
    #[error("the block's time {got} is before {earliest}, its parent's or a request's")]
    TimeRunsBackwards {
        /// The block's time.
        got: u64,
        /// The earliest it could be.
        earliest: u64,
    },
    /// The base fee exceeds the cap fixed at genesis.
    #[error("the base fee {got} exceeds the cap {maximum}")]
    BaseFeeOverCap {
        /// The block's base fee.
        got: u64,
        /// The chain's cap.
        maximum: u64,
    },
    /// The chain object is missing or has a gas table that this kernel does not know.
    #[error("the state holds no chain object of this kernel")]
    NoChainObject,
    /// An object other than its key says.
    #[error("the object at {key:?} is of another kind than its key")]
    WrongKind {
        /// The key.
        key: Key,
    },
    /// A new job, device or channel would replace one. Ids are used once, so the state is not one that this kernel made.
    #[error("an object at {key:?} exists already")]
    IdTaken {
        /// The key.
        key: Key,
    },
    /// Sums that L1 and the kernel keep bounded are not.
    #[error("the base token's totals overflow: {what}")]
    MoneyOverflow {
        /// Which total.
        what: &'static str,
    },
    /// 2^32 objects.
    #[error("the state tree is full")]
    TreeFull,
    /// The input is not a segment.
    #[error("the segment's input is malformed at word {at}: {reason}")]
    MalformedInput {
        /// Word offset.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A hinted object does not decode.
    #[error("a hinted object is malformed: {0}")]
    MalformedObject(#[from] ObjectError),
    /// Hinted objects are not in strictly rising key order.
    #[error("hinted objects are not in strictly rising order at {key:?}")]
    HintsOutOfOrder {
        /// The offending key.
        key: Key,
    },
    /// A hint names another object than the kernel opens.
    #[error("the kernel opens {wanted:?}, which the hints do not offer")]
    HintMissing {
        /// The key.
        wanted: Key,
    },
    /// An absent object without the leaf before it.
    #[error("nothing proves that there is no object at {key:?}")]
    AbsenceUnproven {
        /// The key.
        key: Key,
    },
    /// A hinted object is not in the tree.
    #[error("the tree does not hold the hinted leaf at {key:?}")]
    NotInTree {
        /// The key.
        key: Key,
    },
    /// The native store failed; it has said why.
    #[error("the state store failed")]
    Store,
}

/// Why the executor did not take a transaction. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotExecuted {
    /// It never can be in this block (and may be later).
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The block has no room for it: seal and try the next.
    #[error("the block is full")]
    BlockFull,
    /// The block is lost.
    #[error(transparent)]
    Aborted(#[from] Abort),
}

/// What keeps an item out of a block being built makes a block that holds it unprovable.
impl From<NotExecuted> for Abort {
    fn from(reason: NotExecuted) -> Self {
        match reason {
            NotExecuted::Refused(refusal) => Self::Refused(refusal),
            NotExecuted::BlockFull => Self::BlockOverfull,
            NotExecuted::Aborted(abort) => abort,
        }
    }
}

/// What ends the planning of an action.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    Reject(Rejection),
    Abort(Abort),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl From<Abort> for Stop {
    fn from(abort: Abort) -> Self {
        Self::Abort(abort)
    }
}
