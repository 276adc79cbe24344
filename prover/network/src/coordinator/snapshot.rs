//! The whole state as bytes, so that the log need not remember how it came about.
//!
//! Lists are in the order of their keys and written once; what follows from the rest (the queue, a lease's name) is not written. A digest around the bytes
//! finds damage; what is checked here is that the parts name one another, so that no later event meets a name that leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{Coordinator, LeaseState, Phase, ProverState, Rules, TaskState};
use crate::{
    ledger::Ledger,
    standing::Standing,
    task::{ArtefactId, Capabilities, Lease, LeaseId, ProverId, Task, TaskKind},
    wire::{Reader, Wire, WireError, put_list, put_option},
};

/// More of anything than a coordinator holds.
const COUNT_MAX: usize = 1 << 22;

impl Wire for Rules {
    const WHAT: &'static str = "rules";

    fn write(&self, out: &mut Vec<u8>) {
        let numbers =
            [self.heartbeat_ms, self.missed_max, self.offer_ms, self.lease_percent, self.lease_max_ms, self.retry_ms];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        let counts = [
            self.leases_of_prover_max,
            self.leases_of_task_max,
            self.tasks_max,
            self.unpaid_max,
            self.provers_max,
            self.payouts_max,
            self.blames_max,
        ];
        counts.iter().for_each(|count| out.extend_from_slice(&(*count as u64).to_be_bytes()));
        out.extend_from_slice(&self.payout_min.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let [heartbeat_ms, missed_max, offer_ms, lease_percent, lease_max_ms, retry_ms] =
            [input.u32()?, input.u32()?, input.u32()?, input.u32()?, input.u32()?, input.u32()?];
        let mut count = || input.u64().map(|count| count as usize);
        Ok(Self {
            heartbeat_ms,
            missed_max,
            offer_ms,
            lease_percent,
            lease_max_ms,
            retry_ms,
            leases_of_prover_max: count()?,
            leases_of_task_max: count()?,
            tasks_max: count()?,
            unpaid_max: count()?,
            provers_max: count()?,
            payouts_max: count()?,
            blames_max: count()?,
            payout_min: input.u128()?,
        })
    }
}

impl Wire for Phase {
    const WHAT: &'static str = "phase of a lease";

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self as u8);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        match input.u8()? {
            0 => Ok(Self::Offered),
            1 => Ok(Self::Live),
            2 => Ok(Self::Lapsed),
            got => Err(WireError::Unknown { what: Self::WHAT, got }),
        }
    }
}

impl Wire for LeaseState {
    const WHAT: &'static str = "state of a lease";

    fn write(&self, out: &mut Vec<u8>) {
        self.lease.write(out);
        self.phase.write(out);
        out.extend_from_slice(&self.beaten_ms.to_be_bytes());
        put_option(out, self.pending.as_ref());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            lease: Lease::read(input)?,
            phase: Phase::read(input)?,
            beaten_ms: input.u64()?,
            pending: input.option::<ArtefactId>()?,
        })
    }
}

impl Wire for TaskState {
    const WHAT: &'static str = "state of a task";

    fn write(&self, out: &mut Vec<u8>) {
        self.task.write(out);
        put_list(out, &self.leases);
        out.extend_from_slice(&(self.failed.len() as u32).to_be_bytes());
        for (prover, at) in &self.failed {
            prover.write(out);
            out.extend_from_slice(&at.to_be_bytes());
        }
        put_list(out, &self.blamed);
        out.push(self.is_late.into());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            task: Task::read(input)?,
            leases: input.list("leases of a task", COUNT_MAX)?,
            failed: {
                let count = input.count("provers that failed a task", COUNT_MAX)?;
                (0..count).map(|_| Ok((ProverId::read(input)?, input.u64()?))).collect::<Result<_, WireError>>()?
            },
            blamed: input.list("provers that blame a task", COUNT_MAX)?.into_iter().collect(),
            is_late: input.flag()?,
        })
    }
}

impl Wire for Coordinator {
    const WHAT: &'static str = "coordinator's state";

    fn write(&self, out: &mut Vec<u8>) {
        self.rules.write(out);
        out.extend_from_slice(&self.latest_ms.to_be_bytes());
        out.extend_from_slice(&self.serial.to_be_bytes());
        self.accepted.iter().chain(&self.refused).for_each(|count| out.extend_from_slice(&count.to_be_bytes()));
        put_list(out, self.tasks.values());
        put_list(out, self.leases.values());
        out.extend_from_slice(&(self.provers.len() as u32).to_be_bytes());
        for (id, known) in &self.provers {
            id.write(out);
            known.capabilities.write(out);
            known.standing.write(out);
            put_option(out, known.asked_ms.as_ref());
            out.extend_from_slice(&known.seen_ms.to_be_bytes());
        }
        self.ledger.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let rules = Rules::read(input)?;
        let (latest_ms, serial) = (input.u64()?, input.u64()?);
        let mut counts =
            || -> Result<[u64; TaskKind::ALL.len()], WireError> { Ok([input.u64()?, input.u64()?, input.u64()?]) };
        let (accepted, refused) = (counts()?, counts()?);
        let tasks: Vec<TaskState> = input.list("tasks", COUNT_MAX)?;
        let leases: Vec<LeaseState> = input.list("leases", COUNT_MAX)?;
        let count = input.count("provers", COUNT_MAX)?;
        let mut provers = BTreeMap::new();
        for _ in 0..count {
            let id = ProverId::read(input)?;
            let state = ProverState {
                capabilities: Capabilities::read(input)?,
                standing: Standing::read(input)?,
                asked_ms: input.option()?,
                seen_ms: input.u64()?,
            };
            provers.insert(id, state);
        }
        let ledger = Ledger::read(input)?;
        let tasks: BTreeMap<_, _> = tasks.into_iter().map(|state| (state.task.id(), state)).collect();
        let leases: BTreeMap<_, _> = leases.into_iter().map(|state| (state.lease.id(), state)).collect();
        let named: Vec<LeaseId> = tasks.values().flat_map(|state| state.leases.iter().copied()).collect();
        let one_each: BTreeSet<LeaseId> = named.iter().copied().collect();
        let fits = named.len() == leases.len()
            && one_each.len() == leases.len()
            && tasks.iter().all(|(id, state)| {
                state.leases.iter().all(|lease| leases.get(lease).is_some_and(|lease| lease.lease.task == *id))
            });
        if !fits {
            return Err(WireError::Inconsistent { what: "tasks and leases" });
        }
        let queue = tasks.iter().map(|(id, state)| (state.task.deadline_ms, *id)).collect();
        Ok(Self { rules, tasks, queue, leases, provers, ledger, accepted, refused, serial, latest_ms })
    }
}
