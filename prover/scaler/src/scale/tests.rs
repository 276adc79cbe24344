use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn share(kind: TaskKind, memory_mebibytes: u32, cores: u16) -> Share {
    Share { kind, memory_mebibytes, cores }
}

fn limits() -> Limits {
    let shares =
        vec![share(TaskKind::Segment, 4_000, 2), share(TaskKind::Merge, 1_000, 1), share(TaskKind::Wrap, 5_000, 2)];
    Limits { idle_ms: 1_000, settle_ms: 100, ..Limits::new(4, 10_000, 8, shares) }
}

fn started(orders: &[Order]) -> Vec<TaskKind> {
    let kinds = orders.iter().filter_map(|order| match order {
        Order::Start(_, kind) => Some(*kind),
        Order::Stop(_) | Order::Kill(_) => None,
    });
    kinds.collect()
}

#[test]
fn workers_come_with_tasks_and_go_without() {
    let mut scaler = Autoscaler::new(limits()).unwrap();
    assert_eq!(scaler.apply(0, Event::Ticked), []);
    let orders = scaler.apply(1, Event::Demand([5, 0, 0]));
    // 10,000 MiB hold two of 4,000.
    assert_eq!(orders, [Order::Start(0, TaskKind::Segment), Order::Start(1, TaskKind::Segment)]);
    for slot in [0, 1] {
        assert_eq!(scaler.apply(2, Event::Free(slot)), []);
        assert_eq!(scaler.apply(3, Event::Leased(slot)), []);
    }
    // At work for an hour, with nothing else to do: nobody is stopped.
    assert_eq!(scaler.apply(3_600_000, Event::Demand([0, 0, 0])), []);
    assert_eq!(scaler.apply(3_600_001, Event::Free(0)), []);
    assert_eq!(scaler.due_ms(), Some(3_601_001));
    assert_eq!(scaler.apply(3_601_000, Event::Demand([0, 0, 0])), []);
    assert_eq!(scaler.apply(3_601_001, Event::Ticked), [Order::Stop(0)]);
    assert_eq!(scaler.apply(3_601_002, Event::Exited(0, true)), []);
    assert_eq!(scaler.apply(3_601_003, Event::Free(1)), []);
    assert_eq!(scaler.apply(3_700_000, Event::Ticked), [Order::Stop(1)]);
    assert_eq!(scaler.apply(3_700_001, Event::Exited(1, true)), []);
    assert_eq!((scaler.running(), scaler.due_ms()), (0, None));
}

#[test]
fn a_task_that_was_taken_starts_nobody_until_new_numbers_come() {
    let mut scaler = Autoscaler::new(limits()).unwrap();
    assert_eq!(started(&scaler.apply(0, Event::Demand([1, 0, 0]))), [TaskKind::Segment]);
    assert_eq!(scaler.apply(1, Event::Free(0)), []);
    assert_eq!(scaler.apply(2, Event::Leased(0)), []);
    assert_eq!(scaler.apply(3, Event::Demand([0, 0, 0])), []);
}

/// The wrap waits behind segment workers that have nothing left to do: they make room at once, and not after their idle time.
#[test]
fn idle_workers_make_room_for_another_kind() {
    let mut scaler = Autoscaler::new(limits()).unwrap();
    assert_eq!(scaler.apply(0, Event::Demand([2, 0, 0])).len(), 2);
    for slot in [0, 1] {
        let _ = scaler.apply(1, Event::Free(slot));
    }
    let _ = scaler.apply(2, Event::Leased(0));
    assert_eq!(scaler.apply(50, Event::Demand([0, 0, 1])), [], "it has just come free");
    assert_eq!(scaler.apply(150, Event::Demand([0, 0, 1])), [Order::Stop(1)], "and the one at work stays");
    assert_eq!(scaler.apply(151, Event::Demand([0, 0, 1])), [], "asked once");
    assert_eq!(scaler.apply(160, Event::Exited(1, true)), [Order::Start(1, TaskKind::Wrap)]);
}

#[test]
fn whoever_dies_at_the_start_is_started_less_and_less() {
    let mut scaler = Autoscaler::new(limits()).unwrap();
    let mut starts = Vec::new();
    let mut now = 0;
    while now < 3_600_000 {
        for order in scaler.apply(now, Event::Demand([3, 0, 0])) {
            let Order::Start(slot, _) = order else { panic!("{order:?}") };
            starts.push(now);
            let _ = scaler.apply(now, Event::Exited(slot, false));
        }
        now += 500;
    }
    // Two at once, then 2 s, 4 s … up to 5 minutes: some twenty in an hour, and not seven thousand.
    assert!((15..=25).contains(&starts.len()), "{starts:?}");
    assert!(starts.windows(2).skip(12).all(|pair| pair[1] - pair[0] >= 300_000), "{starts:?}");
    // Mended: the one that is tried finishes a task, and all may come.
    now += 300_000;
    let orders = scaler.apply(now, Event::Demand([3, 0, 0]));
    assert_eq!(orders.len(), 1);
    let _ = scaler.apply(now, Event::Free(0));
    let _ = scaler.apply(now, Event::Leased(0));
    assert_eq!(scaler.apply(now, Event::Free(0)), [Order::Start(1, TaskKind::Segment)], "the room is for two");
}

#[test]
fn old_numbers_start_nobody() {
    let mut scaler = Autoscaler::new(limits()).unwrap();
    let _ = scaler.apply(0, Event::Demand([1, 0, 0]));
    let _ = scaler.apply(1, Event::Exited(0, false));
    // The pause is over, and nobody knows whether the task is still there.
    assert_eq!(scaler.apply(60_000, Event::Ticked), []);
    assert_eq!(scaler.apply(60_001, Event::Demand([1, 0, 0])).len(), 1);
}

#[test]
fn a_shutdown_waits_for_leases_and_has_an_end() {
    let mut scaler = Autoscaler::new(limits()).unwrap();
    let _ = scaler.apply(0, Event::Demand([2, 1, 0]));
    for slot in 0..3 {
        let _ = scaler.apply(1, Event::Free(slot));
    }
    let _ = scaler.apply(2, Event::Leased(0));
    assert_eq!(scaler.apply(3, Event::Shutdown), [Order::Stop(0), Order::Stop(1), Order::Stop(2)]);
    let _ = scaler.apply(4, Event::Exited(1, true));
    assert_eq!(scaler.apply(30_003, Event::Demand([9, 9, 9])), [Order::Kill(2)], "it had nothing to finish");
    assert_eq!(scaler.due_ms(), Some(600_003));
    assert_eq!(scaler.apply(600_003, Event::Ticked), [Order::Kill(0)]);
    let _ = scaler.apply(600_004, Event::Exited(0, false));
    let _ = scaler.apply(600_004, Event::Exited(2, false));
    assert_eq!(scaler.running(), 0);
}

#[test]
fn limits_that_hold_nobody_are_refused() {
    let with = |workers: u16, shares: Vec<Share>| Autoscaler::new(Limits::new(workers, 1_000, 2, shares)).map(|_| ());
    assert_eq!(with(0, vec![share(TaskKind::Merge, 1, 1)]), Err(LimitsError::NoWorkers));
    assert_eq!(with(1, vec![]), Err(LimitsError::NoKinds));
    let twice = vec![share(TaskKind::Merge, 1, 1), share(TaskKind::Merge, 2, 1)];
    assert_eq!(with(1, twice), Err(LimitsError::Twice { kind: TaskKind::Merge }));
    assert!(matches!(with(1, vec![share(TaskKind::Wrap, 1_001, 1)]), Err(LimitsError::TooLarge { .. })));
    assert!(matches!(with(1, vec![share(TaskKind::Wrap, 1, 3)]), Err(LimitsError::TooLarge { .. })));
    assert_eq!(with(1, vec![share(TaskKind::Wrap, 1_000, 2)]), Ok(()));
}

/// A process, as the world has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Starting,
    Free,
    Leased,
    /// Told to stop; the flag says whether it has a lease to finish.
    Stopping(bool),
}

#[derive(Clone, Debug)]
struct World {
    limits: Limits,
    scaler: Autoscaler,
    processes: BTreeMap<Slot, (TaskKind, Process)>,
    now_ms: u64,
    starts: usize,
    is_shutdown: bool,
}

impl World {
    fn new(limits: Limits) -> Self {
        let scaler = Autoscaler::new(limits.clone()).unwrap();
        Self { limits, scaler, processes: BTreeMap::new(), now_ms: 0, starts: 0, is_shutdown: false }
    }

    fn tell(&mut self, event: Event) {
        let orders = self.scaler.apply(self.now_ms, event);
        for order in orders {
            match order {
                Order::Start(slot, kind) => {
                    assert!(!self.is_shutdown, "nobody is started when everything stops");
                    self.starts += 1;
                    let before = self.processes.insert(slot, (kind, Process::Starting));
                    assert_eq!(before, None, "a slot is used once its process has ended");
                }
                Order::Stop(slot) => {
                    let process = &mut self.processes.get_mut(&slot).expect("only what runs is stopped").1;
                    let is_leased = *process == Process::Leased;
                    assert!(!is_leased || self.is_shutdown, "a worker with a lease is stopped for want of demand");
                    assert!(!matches!(process, Process::Stopping(_)), "stopped twice");
                    *process = Process::Stopping(is_leased);
                }
                Order::Kill(slot) => {
                    let (_, process) = self.processes.remove(&slot).expect("only what runs is killed");
                    let Process::Stopping(is_leased) = process else { panic!("killed before it was told to stop") };
                    assert!(!is_leased || self.is_shutdown, "a worker with a lease is killed");
                    self.tell(Event::Exited(slot, false));
                }
            }
        }
        let shares =
            self.processes.values().map(|(kind, _)| self.limits.share(*kind).expect("a kind that is done here"));
        let (memory, cores) =
            shares.fold((0, 0), |(memory, cores), share| (memory + share.memory_mebibytes, cores + share.cores));
        assert!(self.processes.len() <= usize::from(self.limits.workers_max));
        assert!(memory <= self.limits.memory_mebibytes && cores <= self.limits.cores);
        assert_eq!(self.scaler.running(), self.processes.len());
    }

    /// Something happens to the process at `place`, if there is one.
    fn step(&mut self, place: usize, choice: u8) {
        let Some((slot, (_, process))) = self.processes.iter_mut().nth(place) else { return };
        let slot = *slot;
        let event = match (*process, choice % 8) {
            (_, 0) => {
                self.processes.remove(&slot);
                Event::Exited(slot, choice >= 128)
            }
            (Process::Starting, _) => {
                *process = Process::Free;
                Event::Free(slot)
            }
            (Process::Free, 1..=4) => {
                *process = Process::Leased;
                Event::Leased(slot)
            }
            (Process::Leased, 1..=4) => {
                *process = Process::Free;
                Event::Free(slot)
            }
            (Process::Stopping(false), 1) => {
                // It took a lease before it heard.
                *process = Process::Stopping(true);
                Event::Leased(slot)
            }
            (Process::Stopping(_), 2..=4) => {
                self.processes.remove(&slot);
                Event::Exited(slot, true)
            }
            _ => Event::Ticked,
        };
        self.tell(event);
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Time(u64),
    Demand([u32; 3]),
    Process(usize, u8),
    Unknown(Slot),
    Shutdown,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..3_000_u64).prop_map(Happening::Time),
        1 => (0..400_000_u64).prop_map(Happening::Time),
        4 => prop::array::uniform3(0..6_u32).prop_map(Happening::Demand),
        8 => (0..6_usize, any::<u8>()).prop_map(|(place, choice)| Happening::Process(place, choice)),
        1 => any::<Slot>().prop_map(Happening::Unknown),
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let each = prop::array::uniform3((1..6_000_u32, 1..4_u16));
    (1..6_u16, 6_000..20_000_u32, 4..12_u16, each).prop_map(|(workers, memory, cores, each)| {
        let shares = TaskKind::ALL.into_iter().zip(each).map(|(kind, (memory, cores))| share(kind, memory, cores));
        Limits { idle_ms: 1_000, settle_ms: 100, ..Limits::new(workers, memory, cores, shares.collect()) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever happens: never above a bound, never a lease lost to scaling (asserted in `World`), and without demand everybody is gone.
    #[test]
    fn bounds_hold_and_nothing_is_left(
        limits in any_limits(),
        happenings in prop::collection::vec(happening(), 1..120),
        ends in any::<bool>(),
    ) {
        let mut world = World::new(limits);
        for happening in happenings.into_iter().chain(ends.then_some(Happening::Shutdown)) {
            match happening {
                Happening::Time(passes) => {
                    world.now_ms += passes;
                    world.tell(Event::Ticked);
                }
                Happening::Demand(demand) => world.tell(Event::Demand(demand)),
                Happening::Process(place, choice) => world.step(place, choice),
                // Said by nobody who runs: passed over.
                Happening::Unknown(slot) => {
                    if !world.processes.contains_key(&slot) {
                        world.tell(Event::Free(slot));
                        world.tell(Event::Leased(slot));
                        world.tell(Event::Exited(slot, false));
                    }
                }
                Happening::Shutdown => {
                    world.is_shutdown = true;
                    world.tell(Event::Shutdown);
                }
            }
        }
        // No more tasks: leases end, and whoever hears that he should stop stops.
        world.tell(Event::Demand([0; 3]));
        let starts = world.starts;
        for _ in 0..64 {
            for slot in world.processes.keys().copied().collect::<Vec<_>>() {
                let Some((_, process)) = world.processes.get_mut(&slot) else { continue };
                match process {
                    Process::Starting | Process::Leased => {
                        *process = Process::Free;
                        world.tell(Event::Free(slot));
                    }
                    Process::Stopping(_) => {
                        world.processes.remove(&slot);
                        world.tell(Event::Exited(slot, true));
                    }
                    Process::Free => {}
                }
            }
            // Only when it says that something is due: a supervisor sleeps until then.
            if let Some(due) = world.scaler.due_ms() {
                world.now_ms = world.now_ms.max(due);
                world.tell(Event::Ticked);
            }
        }
        prop_assert!(world.processes.is_empty(), "{:?}", world.processes);
        prop_assert_eq!(world.scaler.due_ms(), None);
        prop_assert_eq!(world.starts, starts);
    }

    /// Demand that lasts is served as long as workers do their work: some worker is free or at work for the most urgent kind that fits.
    #[test]
    fn lasting_demand_is_served(limits in any_limits(), demand in prop::array::uniform3(0..4_u32)) {
        let mut world = World::new(limits);
        for _ in 0..256 {
            world.now_ms += 500;
            world.tell(Event::Demand(demand));
            for slot in world.processes.keys().copied().collect::<Vec<_>>() {
                let Some((kind, process)) = world.processes.get_mut(&slot) else { continue };
                match process {
                    Process::Starting => {
                        *process = Process::Free;
                        world.tell(Event::Free(slot));
                    }
                    Process::Free if demand[*kind as usize] > 0 => {
                        *process = Process::Leased;
                        world.tell(Event::Leased(slot));
                    }
                    Process::Free => {}
                    Process::Leased => {
                        *process = Process::Free;
                        world.tell(Event::Free(slot));
                    }
                    Process::Stopping(_) => {
                        world.processes.remove(&slot);
                        world.tell(Event::Exited(slot, true));
                    }
                }
            }
        }
        let serves = |kind: TaskKind| world.processes.values().any(|(other, _)| *other == kind);
        let urgent = URGENCY.into_iter().find(|kind| demand[*kind as usize] > 0);
        prop_assert_eq!(urgent.is_none_or(serves), true);
        prop_assert_eq!(urgent.is_none(), world.processes.is_empty());
    }
}
