//! How things stand, in numbers: what autoscalers, dashboards and operators look at.

use std::collections::BTreeMap;

use joule_protocol::Amount;

use super::{Coordinator, Phase};
use crate::{
    task::TaskKind,
    wire::{Reader, Wire, WireError},
};

/// Tasks of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Open, and nobody works on them.
    pub queued: usize,
    /// Open, and leased or offered to somebody.
    pub leased: usize,
    /// Open, and a result is being verified.
    pub verifying: usize,
    /// Results accepted since the beginning.
    pub accepted: u64,
    /// Results refused since the beginning.
    pub refused: u64,
}

impl TaskCounts {
    /// Tasks that are neither done nor withdrawn.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.queued + self.leased + self.verifying
    }
}

/// Queues that are told apart: each kind in each of a few shapes.
pub const QUEUES_MAX: usize = 16;

/// Open tasks of one kind and shape: what a prover that can do them has to look forward to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The kind.
    pub kind: TaskKind,
    /// For segments the shape; otherwise 0.
    pub shape: u8,
    /// Tasks that nobody works on.
    pub queued: u32,
    /// Tasks that are not done.
    pub open: u32,
}

impl Wire for Queue {
    const WHAT: &'static str = "queue";

    fn write(&self, out: &mut Vec<u8>) {
        self.kind.write(out);
        out.push(self.shape);
        out.extend_from_slice(&self.queued.to_be_bytes());
        out.extend_from_slice(&self.open.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { kind: TaskKind::read(input)?, shape: input.u8()?, queued: input.u32()?, open: input.u32()? })
    }
}

/// How things stand. Taking it costs a look at every open task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// By kind, in the order of [`TaskKind::ALL`]; [`Status::of`] picks one.
    pub tasks: [TaskCounts; TaskKind::ALL.len()],
    /// Provers that joined and are not forgotten.
    pub provers_known: usize,
    /// Of these, those that wait for a task.
    pub provers_waiting: usize,
    /// Of these, those that are offered nothing for a while.
    pub provers_suspended: usize,
    /// Leases that are live: how many tasks are worked on just now.
    pub leases_live: usize,
    /// Everything that is owed.
    pub owed: Amount,
    /// Everything that was paid.
    pub paid: Amount,
}

impl Status {
    /// Tasks of a kind.
    #[must_use]
    pub const fn of(&self, kind: TaskKind) -> TaskCounts {
        self.tasks[kind as usize]
    }

    /// Tasks that are neither done nor withdrawn.
    #[must_use]
    pub fn open_tasks(&self) -> usize {
        self.tasks.iter().map(TaskCounts::open).sum()
    }
}

impl Coordinator {
    /// Open tasks by kind and shape, without those that there are none of. Taking it costs a look at every open task.
    #[must_use]
    pub fn queues(&self) -> Vec<Queue> {
        let mut queues = BTreeMap::<(TaskKind, u8), (u32, u32)>::new();
        for state in self.tasks.values() {
            let (queued, open) = queues.entry((state.task.kind, state.task.shape)).or_default();
            *open += 1;
            *queued += u32::from(!self.is_worked_on(state));
        }
        let queues = queues.into_iter().map(|((kind, shape), (queued, open))| Queue { kind, shape, queued, open });
        queues.take(QUEUES_MAX).collect()
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = Status {
            provers_known: self.provers.len(),
            provers_waiting: self.provers.values().filter(|state| state.asked_ms.is_some()).count(),
            provers_suspended: self
                .provers
                .values()
                .filter(|known| known.standing.is_suspended(self.latest_ms))
                .count(),
            leases_live: self.leases.values().filter(|state| state.phase == Phase::Live).count(),
            owed: self.ledger.owed_total(),
            paid: self.ledger.paid_total(),
            ..Status::default()
        };
        for kind in TaskKind::ALL {
            status.tasks[kind as usize].accepted = self.accepted[kind as usize];
            status.tasks[kind as usize].refused = self.refused[kind as usize];
        }
        for state in self.tasks.values() {
            let counts = &mut status.tasks[state.task.kind as usize];
            if state.leases.iter().any(|lease| self.leases[lease].pending.is_some()) {
                counts.verifying += 1;
            } else if self.is_worked_on(state) {
                counts.leased += 1;
            } else {
                counts.queued += 1;
            }
        }
        status
    }
}
