//! What coordinator and prover say to each other: one question and one answer, each bounded.
//!
//! The prover asks all questions. It connects, says what it can do, asks for work; the answer is a lease that the coordinator has signed, or a time to wait.
//! It signs, fetches the inputs chunk by chunk, beats while it works, sends the result chunk by chunk, and says that it is there.

use joule_protocol::{Address, Amount};

use crate::{
    coordinator::{QUEUES_MAX, Queue},
    store::CHUNK_BYTES_MAX,
    task::{ArtefactId, Capabilities, Lease, LeaseId, Signed, Task},
    wire::{Reader, Wire, WireError, put_bytes, put_list},
};

/// Bytes of the longest question or answer: a chunk and what is around it.
pub const MESSAGE_BYTES_MAX: usize = CHUNK_BYTES_MAX + 4_096;

/// Bytes of a reason in words.
pub const REASON_BYTES_MAX: usize = 1_024;

/// What a prover asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// This is what I can do.
    Join(Capabilities),
    /// I want work.
    Ask,
    /// I take the lease; this is my signature under it.
    Sign(LeaseId, Signed),
    /// I am still at it.
    Beat(LeaseId),
    /// I give it back.
    Return(LeaseId),
    /// I could not do it; the flag says that the input is to blame.
    Fail(LeaseId, bool),
    /// Send me this part of an artefact.
    Fetch(ArtefactId, u64),
    /// How much of my lease's result of so many bytes do you have?
    Offset(LeaseId, ArtefactId, u64),
    /// Here is a part of it: total length, offset, bytes.
    Chunk(LeaseId, ArtefactId, u64, u64, Vec<u8>),
    /// All of it is there: verify it.
    Deliver(LeaseId, ArtefactId),
    /// How do I stand?
    Standing,
    /// What time is it?
    Time,
    /// What is there to do?
    Demand,
}

/// What a coordinator answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Good.
    Done,
    /// This is your lease, with the coordinator's signature, and the task.
    Offer(Box<(Lease, Signed, Task)>),
    /// There is nothing for you now; ask again after so many milliseconds.
    Wait(u32),
    /// The lease is over: stop working on it.
    Stop,
    /// A part of an artefact; empty behind its end.
    Chunk(Vec<u8>),
    /// So many bytes of the result are here.
    Offset(u64),
    /// How the prover stands.
    Standing(StandingReport),
    /// No, for this reason.
    No(String),
    /// Unix milliseconds.
    Time(u64),
    /// Open tasks, by kind and shape.
    Demand(Vec<Queue>),
}

/// How a prover stands with a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingReport {
    /// Its score, at most 100.
    pub score: i32,
    /// The score that is needed to be offered work.
    pub needed: i32,
    /// Until when it is offered nothing, in Unix milliseconds; 0 if it never was suspended.
    pub suspended_until_ms: u64,
    /// Results accepted.
    pub accepted: u64,
    /// Leases left to lapse.
    pub missed: u64,
    /// Tasks given up.
    pub failed: u64,
    /// Wrong proofs.
    pub refused: u64,
    /// Leases that it holds.
    pub leases: u64,
    /// Where it is paid.
    pub payout: Address,
    /// What is owed there: accepted, and not yet in a block.
    pub owed: Amount,
}

impl Wire for StandingReport {
    const WHAT: &'static str = "standing";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.score.to_be_bytes());
        out.extend_from_slice(&self.needed.to_be_bytes());
        let numbers = [self.suspended_until_ms, self.accepted, self.missed, self.failed, self.refused, self.leases];
        numbers.iter().for_each(|number| number.write(out));
        out.extend_from_slice(&self.payout.0);
        out.extend_from_slice(&self.owed.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let (score, needed) = (i32::from_be_bytes(input.array()?), i32::from_be_bytes(input.array()?));
        Ok(Self {
            score,
            needed,
            suspended_until_ms: input.u64()?,
            accepted: input.u64()?,
            missed: input.u64()?,
            failed: input.u64()?,
            refused: input.u64()?,
            leases: input.u64()?,
            payout: input.address()?,
            owed: input.u128()?,
        })
    }
}

impl Wire for Question {
    const WHAT: &'static str = "question";

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Join(capabilities) => {
                out.push(0);
                capabilities.write(out);
            }
            Self::Ask => out.push(1),
            Self::Sign(lease, signed) => {
                out.push(2);
                lease.write(out);
                signed.write(out);
            }
            Self::Beat(lease) => {
                out.push(3);
                lease.write(out);
            }
            Self::Return(lease) => {
                out.push(4);
                lease.write(out);
            }
            Self::Fail(lease, blames_input) => {
                out.push(5);
                lease.write(out);
                out.push((*blames_input).into());
            }
            Self::Fetch(artefact, offset) => {
                out.push(6);
                artefact.write(out);
                out.extend_from_slice(&offset.to_be_bytes());
            }
            Self::Offset(lease, artefact, length) => {
                out.push(7);
                lease.write(out);
                artefact.write(out);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Self::Chunk(lease, artefact, length, offset, bytes) => {
                out.push(8);
                lease.write(out);
                artefact.write(out);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&offset.to_be_bytes());
                put_bytes(out, bytes);
            }
            Self::Deliver(lease, artefact) => {
                out.push(9);
                lease.write(out);
                artefact.write(out);
            }
            Self::Standing => out.push(10),
            Self::Time => out.push(11),
            Self::Demand => out.push(12),
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match input.u8()? {
            0 => Self::Join(Capabilities::read(input)?),
            1 => Self::Ask,
            2 => Self::Sign(LeaseId::read(input)?, Signed::read(input)?),
            3 => Self::Beat(LeaseId::read(input)?),
            4 => Self::Return(LeaseId::read(input)?),
            5 => Self::Fail(LeaseId::read(input)?, input.flag()?),
            6 => Self::Fetch(ArtefactId::read(input)?, input.u64()?),
            7 => Self::Offset(LeaseId::read(input)?, ArtefactId::read(input)?, input.u64()?),
            8 => {
                let (lease, artefact) = (LeaseId::read(input)?, ArtefactId::read(input)?);
                let (length, offset) = (input.u64()?, input.u64()?);
                Self::Chunk(lease, artefact, length, offset, input.bytes("bytes of a chunk", CHUNK_BYTES_MAX)?.to_vec())
            }
            9 => Self::Deliver(LeaseId::read(input)?, ArtefactId::read(input)?),
            10 => Self::Standing,
            11 => Self::Time,
            12 => Self::Demand,
            got => return Err(WireError::Unknown { what: Self::WHAT, got }),
        })
    }
}

impl Wire for Answer {
    const WHAT: &'static str = "answer";

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Done => out.push(0),
            Self::Offer(offer) => {
                out.push(1);
                let (lease, signed, task) = &**offer;
                lease.write(out);
                signed.write(out);
                task.write(out);
            }
            Self::Wait(milliseconds) => {
                out.push(2);
                out.extend_from_slice(&milliseconds.to_be_bytes());
            }
            Self::Stop => out.push(3),
            Self::Chunk(bytes) => {
                out.push(4);
                put_bytes(out, bytes);
            }
            Self::Offset(offset) => {
                out.push(5);
                out.extend_from_slice(&offset.to_be_bytes());
            }
            Self::Standing(report) => {
                out.push(6);
                report.write(out);
            }
            Self::Time(now_ms) => {
                out.push(8);
                out.extend_from_slice(&now_ms.to_be_bytes());
            }
            Self::No(reason) => {
                out.push(7);
                let mut end = reason.len().min(REASON_BYTES_MAX);
                while !reason.is_char_boundary(end) {
                    end -= 1;
                }
                put_bytes(out, &reason.as_bytes()[..end]);
            }
            Self::Demand(queues) => {
                out.push(9);
                put_list(out, &queues[..queues.len().min(QUEUES_MAX)]);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match input.u8()? {
            0 => Self::Done,
            1 => Self::Offer(Box::new((Lease::read(input)?, Signed::read(input)?, Task::read(input)?))),
            2 => Self::Wait(input.u32()?),
            3 => Self::Stop,
            4 => Self::Chunk(input.bytes("bytes of a chunk", CHUNK_BYTES_MAX)?.to_vec()),
            5 => Self::Offset(input.u64()?),
            6 => Self::Standing(StandingReport::read(input)?),
            7 => Self::No(input.text("bytes of a reason", REASON_BYTES_MAX)?),
            8 => Self::Time(input.u64()?),
            9 => Self::Demand(input.list("queues", QUEUES_MAX)?),
            got => return Err(WireError::Unknown { what: Self::WHAT, got }),
        })
    }
}
