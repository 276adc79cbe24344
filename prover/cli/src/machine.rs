//! What this machine has: processors, memory, disk.

use std::{fs, path::Path, process::Command};

/// Processors that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Memory in mebibytes: all of it, and what is free for new processes. 0 where the system does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    pub(crate) total_mebibytes: u64,
    pub(crate) available_mebibytes: u64,
}

impl Memory {
    /// Of this machine, or of the container that this process is in if that has less.
    pub(crate) fn of_this_machine() -> Self {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let whole =
            Self { total_mebibytes: field(&text, "MemTotal:"), available_mebibytes: field(&text, "MemAvailable:") };
        let limit = number("/sys/fs/cgroup/memory.max").map(|bytes| bytes >> 20);
        match limit {
            Some(limit) if limit < whole.total_mebibytes => {
                let used = number("/sys/fs/cgroup/memory.current").map_or(0, |bytes| bytes >> 20);
                Self {
                    total_mebibytes: limit,
                    available_mebibytes: whole.available_mebibytes.min(limit.saturating_sub(used)),
                }
            }
            _ => whole,
        }
    }
}

/// The most memory that a process has held so far, mebibytes; 0 where the system does not say.
pub(crate) fn memory_peak_of(process: u32) -> u64 {
    field(&fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default(), "VmHWM:")
}

/// A field in kibibytes, as mebibytes.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// A file that holds one number. A limit of `max` is none.
fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Free mebibytes where a folder is, as `df` tells.
pub(crate) fn disk_free_mebibytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok().filter(|output| output.status.success())?;
    free_of(&String::from_utf8_lossy(&output.stdout))
}

/// The fourth column of the second line.
fn free_of(text: &str) -> Option<u64> {
    let kibibytes: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kibibytes / 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(field("MemTotal:  2048 kB\nMemAvailable: 1024 kB\n", "MemAvailable:"), 1);
        assert_eq!(field("nothing", "MemTotal:"), 0);
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 100 50 40960 50% /\n";
        assert_eq!(free_of(text), Some(40));
        assert_eq!(free_of("only a head"), None);
        assert!(cores() > 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_memory_and_a_disk() {
        let memory = Memory::of_this_machine();
        assert!(memory.total_mebibytes >= memory.available_mebibytes && memory.available_mebibytes > 0);
        assert!(disk_free_mebibytes(Path::new("/")).is_some());
        assert_eq!(disk_free_mebibytes(Path::new("/no/such/folder")), None);
        assert!(memory_peak_of(std::process::id()) > 0);
    }
}
