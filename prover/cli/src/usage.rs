//! What this process has used, as the system counts it.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Ticks of `/proc/self/stat` in a second. Linux has told user space 100 on every architecture since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Wall-clock and processor seconds of a piece of work. The second is what it costs on a machine that others use too.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Seconds {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    /// How much of the processor's time was the system's: for the most part, giving memory out for the first time.
    pub(crate) system: f64,
}

impl core::ops::AddAssign for Seconds {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.system += other.system;
    }
}

/// Processor seconds of all threads of this process so far; zeros where the system does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessorTime {
    user: f64,
    system: f64,
}

impl ProcessorTime {
    /// Until now.
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the program's name in parentheses and may hold anything; fields after it are numbers.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<u32>().unwrap_or(0));
        let mut seconds = || f64::from(ticks.next().unwrap_or(0)) / TICKS_PER_SECOND;
        Self { user: seconds(), system: seconds() }
    }

    /// What a piece of work has used that began here and took `wall`.
    pub(crate) fn since(self, wall: Duration) -> Seconds {
        let now = Self::now();
        let system = now.system - self.system;
        Seconds { wall: wall.as_secs_f64(), cpu: now.user - self.user + system, system }
    }
}

/// Does a piece of work and says what it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Seconds) {
    let (start, processor) = (Instant::now(), ProcessorTime::now());
    let value = work();
    (value, processor.since(start.elapsed()))
}

/// The most memory this process has held; 0 where the system does not say.
pub(crate) fn memory_peak_mebibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0)
        / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn work_is_seen() {
        let (sum, seconds) = timed(|| (0..200_000_000_u64).fold(1_u64, |sum, i| sum.wrapping_mul(31) ^ i));
        assert_ne!(sum, 0);
        assert!(seconds.cpu >= 0.0 && seconds.wall > 0.0 && ProcessorTime::now().user > 0.0);
        assert!(memory_peak_mebibytes() > 0);
    }
}
