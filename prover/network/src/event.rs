//! What happens to a coordinator, as it is written down.

use joule_protocol::Amount;

use crate::{
    task::{ArtefactId, Capabilities, LeaseId, ProverId, Task, TaskId},
    wire::{Reader, Wire, WireError, put_bytes},
};

/// Bytes of a signed payout: a plain transfer.
pub const TRANSACTION_BYTES_MAX: usize = 256;

/// A payout's place in the order of payouts.
pub type PayoutId = u64;

/// Something that happened. The log of events is the coordinator's memory: replayed in order they give the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The process began, or began again: whatever was under way outside is not any more.
    Started,
    /// Work is wanted.
    Published(Task),
    /// Work is not wanted any more: its batch was reverted.
    Withdrawn(TaskId),
    /// Whoever published the task has its result, and will not ask for it again.
    Collected(TaskId),
    /// A prover connected and said what it can do.
    Joined(ProverId, Capabilities),
    /// A prover asks for one task.
    Asked(ProverId),
    /// A prover's connection ended. Its leases run on for as long as they may.
    Left(ProverId),
    /// The prover has signed the lease, too.
    Signed(LeaseId),
    /// The prover is still at work.
    Beaten(LeaseId),
    /// The prover gives the lease back in good order.
    Returned(LeaseId),
    /// The prover could not do it; the flag says that it blames the input.
    Failed(LeaseId, bool),
    /// A result is here, and stored.
    Delivered(LeaseId, ArtefactId),
    /// The result was verified; the flag says whether it is a proof of the task's statement.
    Judged(LeaseId, ArtefactId, bool),
    /// A delivered result is lost, or this side cannot verify any: nobody's fault but the coordinator's own.
    Mislaid(LeaseId, ArtefactId),
    /// Time passed.
    Ticked,
    /// A transaction of somebody else has opened an L2 batch, so payouts may ride in it.
    PayoutsOpened,
    /// The payout's transaction is signed, with this nonce of the fee recipient's, and not sent yet.
    PayoutSigned(PayoutId, u64, Vec<u8>),
    /// The payout's transaction is in a block.
    PayoutIncluded(PayoutId),
}

impl Event {
    /// Whether it must be on the disk before anything is done about it. The others may be lost in a crash: a beat, a tick or a question that
    /// nobody remembers changes nothing that was promised.
    #[must_use]
    pub const fn must_last(&self) -> bool {
        !matches!(self, Self::Beaten(_) | Self::Ticked | Self::Asked(_) | Self::Left(_))
    }
}

/// An event with the time it was taken note of, in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub now_ms: u64,
    /// What.
    pub event: Event,
}

impl Wire for Entry {
    const WHAT: &'static str = "event";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.now_ms.to_be_bytes());
        let mut number = |number: u8| out.push(number);
        match &self.event {
            Event::Started => number(0),
            Event::Published(task) => {
                number(1);
                task.write(out);
            }
            Event::Withdrawn(task) => {
                number(2);
                task.write(out);
            }
            Event::Joined(prover, capabilities) => {
                number(3);
                prover.write(out);
                capabilities.write(out);
            }
            Event::Asked(prover) => {
                number(4);
                prover.write(out);
            }
            Event::Left(prover) => {
                number(5);
                prover.write(out);
            }
            Event::Signed(lease) => {
                number(6);
                lease.write(out);
            }
            Event::Beaten(lease) => {
                number(7);
                lease.write(out);
            }
            Event::Returned(lease) => {
                number(8);
                lease.write(out);
            }
            Event::Failed(lease, blames_input) => {
                number(9);
                lease.write(out);
                out.push((*blames_input).into());
            }
            Event::Delivered(lease, result) => {
                number(10);
                lease.write(out);
                result.write(out);
            }
            Event::Judged(lease, result, is_good) => {
                number(11);
                lease.write(out);
                result.write(out);
                out.push((*is_good).into());
            }
            Event::Ticked => number(12),
            Event::PayoutsOpened => number(13),
            Event::PayoutSigned(payout, nonce, transaction) => {
                number(14);
                out.extend_from_slice(&payout.to_be_bytes());
                out.extend_from_slice(&nonce.to_be_bytes());
                put_bytes(out, transaction);
            }
            Event::PayoutIncluded(payout) => {
                number(15);
                out.extend_from_slice(&payout.to_be_bytes());
            }
            Event::Collected(task) => {
                number(16);
                task.write(out);
            }
            Event::Mislaid(lease, result) => {
                number(17);
                lease.write(out);
                result.write(out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let now_ms = input.u64()?;
        let event = match input.u8()? {
            0 => Event::Started,
            1 => Event::Published(Task::read(input)?),
            2 => Event::Withdrawn(TaskId::read(input)?),
            3 => Event::Joined(ProverId::read(input)?, Capabilities::read(input)?),
            4 => Event::Asked(ProverId::read(input)?),
            5 => Event::Left(ProverId::read(input)?),
            6 => Event::Signed(LeaseId::read(input)?),
            7 => Event::Beaten(LeaseId::read(input)?),
            8 => Event::Returned(LeaseId::read(input)?),
            9 => Event::Failed(LeaseId::read(input)?, input.flag()?),
            10 => Event::Delivered(LeaseId::read(input)?, ArtefactId::read(input)?),
            11 => Event::Judged(LeaseId::read(input)?, ArtefactId::read(input)?, input.flag()?),
            12 => Event::Ticked,
            13 => Event::PayoutsOpened,
            14 => {
                let (payout, nonce) = (input.u64()?, input.u64()?);
                Event::PayoutSigned(
                    payout,
                    nonce,
                    input.bytes("bytes of a payout's transaction", TRANSACTION_BYTES_MAX)?.to_vec(),
                )
            }
            15 => Event::PayoutIncluded(input.u64()?),
            16 => Event::Collected(TaskId::read(input)?),
            17 => Event::Mislaid(LeaseId::read(input)?, ArtefactId::read(input)?),
            got => return Err(WireError::Unknown { what: "event", got }),
        };
        Ok(Self { now_ms, event })
    }
}

/// What is to be done about an event. Whoever does it may be interrupted: after [`Event::Started`] everything that still matters is asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sign the lease and offer it to its prover.
    Offer(Box<crate::task::Lease>, Box<Task>),
    /// Tell the prover that the lease is over: nobody waits for its result.
    Stop(ProverId, LeaseId),
    /// The lease has lapsed: its prover fell silent or took too long, and the task is free for the next.
    Lapsed(LeaseId),
    /// Verify the stored result against the task's statement, and report the verdict.
    Verify(LeaseId, Box<Task>, ArtefactId),
    /// The task is done; whoever published it takes the result.
    Done(TaskId, ArtefactId),
    /// Sign a plain transfer on L2, and report it before it is sent.
    SignPayout(PayoutId, joule_protocol::Address, Amount),
    /// Send the transaction of a payout, again if it was sent before: it is the same one.
    SendPayout(PayoutId, Vec<u8>),
    /// Somebody should look at this task.
    Alarm(TaskId, Alarm),
}

/// Why somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The deadline passed and no proof is there.
    Late,
    /// Several provers say that the task's input cannot be proven.
    InputBlamed,
    /// A result was lost or cannot be verified here, so the task is done again.
    Unverifiable,
}
