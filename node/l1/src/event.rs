//! The contracts' events, decoded.

use alloy::{
    primitives::{Address, B256},
    rpc::types::Log,
    sol_types::SolEventInterface,
};
use joule_contracts::{DataCommittee, Rollup};
use joule_protocol::{Checkpoint, PriorityRequest};

use crate::{Contracts, L1Error};

/// A batch that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub number: u64,
    /// Hash of the checkpoint it leads to.
    pub checkpoint_hash: B256,
    /// Hash of the checkpoint it starts from.
    pub parent: B256,
    /// Times that committed batches had been dropped.
    pub revert_count: u64,
    /// Length of its data, bytes.
    pub data_bytes: u64,
    /// How its data is available: 0 posted on L1, 1 certified by ECDSA, 2 by BLS.
    pub data_scheme: u8,
    /// The checkpoint it leads to.
    pub checkpoint: Checkpoint,
}

/// What happened on L1, as far as nodes care.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum L1Event {
    /// A request entered the queue.
    PriorityRequest {
        /// Its place in the queue, from 0.
        index: u64,
        /// The accumulator after it.
        acc: B256,
        /// The request.
        request: PriorityRequest,
    },
    /// Chunks of batch data were posted.
    DataPosted {
        /// Accumulator at the beginning of the batch.
        start: B256,
        /// Accumulator that earlier posts had reached.
        from: B256,
        /// Accumulator that this post reached.
        to: B256,
        /// Bytes posted since `start`.
        data_bytes: u64,
    },
    /// A batch was committed, alone or as the first part of settling.
    Committed(Box<Committed>),
    /// A batch was proven.
    Proven {
        /// Its number.
        number: u64,
        /// Hash of its checkpoint.
        checkpoint_hash: B256,
        /// The program that proved it.
        program: B256,
    },
    /// A batch was executed.
    Executed {
        /// Its number; 0 for genesis.
        number: u64,
        /// Hash of its checkpoint.
        checkpoint_hash: B256,
        /// Requests consumed by now.
        priority_count: u64,
        /// Root of its withdrawals; zero if it has none.
        withdrawal_root: B256,
    },
    /// Committed batches were dropped.
    Reverted {
        /// The last batch kept.
        last_kept: u64,
        /// The last batch before.
        committed_before: u64,
        /// Times that this happened by now.
        revert_count: u64,
        /// Who did it.
        by: Address,
    },
    /// The chain was frozen for good.
    Frozen {
        /// Hash of the last executed checkpoint.
        checkpoint_hash: B256,
        /// Batches executed.
        executed: u64,
    },
    /// The sequencer's key changed.
    SequencerChanged {
        /// The new one.
        sequencer: Address,
    },
    /// A protocol version got its program.
    ProgramSet {
        /// The version.
        version: u32,
        /// The program's hash.
        program: B256,
    },
    /// A keyset came into force.
    KeysetActivated {
        /// Its scheme.
        scheme: u8,
        /// Its hash.
        keyset: B256,
        /// Signatures it asks for.
        quorum: u32,
        /// Its members.
        members: Vec<Address>,
    },
    /// A keyset ended.
    KeysetRetired {
        /// Its scheme.
        scheme: u8,
        /// Its hash.
        keyset: B256,
    },
}

/// An event and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Number of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Its transaction.
    pub transaction: B256,
    /// Its place among the block's logs.
    pub log_index: u64,
    /// What happened.
    pub event: L1Event,
}

impl L1Event {
    /// Decodes a log; `None` for events that no node needs.
    pub(crate) fn locate(log: &Log, contracts: &Contracts) -> Result<Option<Located>, L1Error> {
        let transaction = log.transaction_hash.unwrap_or_default();
        let (Some(block_number), Some(block_hash), Some(log_index), false) =
            (log.block_number, log.block_hash, log.log_index, log.removed)
        else {
            return Err(L1Error::Malformed { what: "a log outside the chain", transaction });
        };
        let event = if log.address() == contracts.rollup {
            Self::of_rollup(log, transaction)?
        } else if log.address() == contracts.committee {
            Self::of_committee(log, transaction)?
        } else {
            return Err(L1Error::Malformed { what: "a log of another contract", transaction });
        };
        Ok(event.map(|event| Located { block_number, block_hash, transaction, log_index, event }))
    }

    fn of_rollup(log: &Log, transaction: B256) -> Result<Option<Self>, L1Error> {
        use Rollup::RollupEvents as Event;
        let event = Event::decode_raw_log(log.topics(), &log.data().data)
            .map_err(|_| L1Error::Malformed { what: "a log of the rollup", transaction })?;
        Ok(Some(match event {
            Event::RequestQueued(event) => {
                Self::PriorityRequest { index: event.index, acc: event.acc, request: (&event.request).into() }
            }
            Event::DataPosted(event) => {
                Self::DataPosted { start: event.start, from: event.from, to: event.to, data_bytes: event.dataBytes }
            }
            Event::BatchCommitted(event) => Self::Committed(Box::new(Committed {
                number: event.number,
                checkpoint_hash: event.checkpointHash,
                parent: event.parentCheckpoint,
                revert_count: event.revertCount,
                data_bytes: event.dataBytes,
                data_scheme: event.dataScheme,
                checkpoint: Checkpoint::try_from(&event.checkpoint)?,
            })),
            Event::BatchProven(event) => {
                Self::Proven { number: event.number, checkpoint_hash: event.checkpointHash, program: event.program }
            }
            Event::BatchExecuted(event) => Self::Executed {
                number: event.number,
                checkpoint_hash: event.checkpointHash,
                priority_count: event.priorityCount,
                withdrawal_root: event.withdrawalRoot,
            },
            Event::BatchesReverted(event) => Self::Reverted {
                last_kept: event.lastKept,
                committed_before: event.committedBefore,
                revert_count: event.revertCount,
                by: event.by,
            },
            Event::Frozen(event) => {
                Self::Frozen { checkpoint_hash: event.checkpointHash, executed: event.executedCount }
            }
            Event::SequencerChanged(event) => Self::SequencerChanged { sequencer: event.sequencer },
            Event::ProgramSet(event) => Self::ProgramSet { version: event.version, program: event.program },
            Event::OperatorChanged(_) | Event::FeesCollected(_) => return Ok(None),
        }))
    }

    fn of_committee(log: &Log, transaction: B256) -> Result<Option<Self>, L1Error> {
        use DataCommittee::DataCommitteeEvents as Event;
        let event = Event::decode_raw_log(log.topics(), &log.data().data)
            .map_err(|_| L1Error::Malformed { what: "a log of the committee", transaction })?;
        Ok(match event {
            Event::KeysetActivated(event) => Some(Self::KeysetActivated {
                scheme: event.scheme,
                keyset: event.keysetHash,
                quorum: event.quorum,
                members: event.members,
            }),
            Event::KeysetRetired(event) => Some(Self::KeysetRetired { scheme: event.scheme, keyset: event.keysetHash }),
            Event::MemberRegistered(_)
            | Event::BlsKeyRegistered(_)
            | Event::StakeAdded(_)
            | Event::StakeWithdrawn(_) => None,
        })
    }
}
