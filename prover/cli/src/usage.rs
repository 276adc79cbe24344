//! What this process has used, as the system counts it.

use std::{fs, time::Instant};

/// Ticks of `/proc/self/stat` in a second. Linux has told user space 100 on every architecture since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// Wall-clock and processor seconds of a piece of work. The second is what it costs on a machine that others use too.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Seconds {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Does a piece of work and says what it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Seconds) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let value = work();
    (value, Seconds { wall: start.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu })
}

/// Processor seconds of all threads of this process so far; 0 where the system does not say.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses and may hold anything; fields after it are numbers.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_SECOND
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
        assert!(seconds.cpu >= 0.0 && seconds.wall > 0.0 && cpu_seconds() > 0.0);
        assert!(memory_peak_mebibytes() > 0);
    }
}
