//! The memory of a process that proves.
//!
//! A segment's tables take gigabytes, which are freed with its proof and taken again for the next one. C's allocator on Linux gives each large piece back to the system at once,
//! and the system clears every page that it gives out again: a fifth of a prover's time, and more on virtual machines whose host takes freed memory too. So a proving process is
//! told to keep what it has, in one heap and in huge pages. It gives everything back by ending, which proving processes do when nothing is to be proven: idling costs nothing.
//!
//! The settings are read when a process starts, so they are set by whoever starts it. Other allocators and systems do not know them and prove as they do.

use std::{env, io, process::Command};

/// Where C's allocator on Linux (glibc) reads its settings.
const SETTINGS: &str = "GLIBC_TUNABLES";

/// Large pieces come from the heap as small ones do, nothing is given back, all threads share the heap, and it is made of huge pages where the system has them.
const KEEP: &str =
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1";

/// Lets a process that is about to be started keep its memory, unless its environment says how it should.
pub fn keep_memory(command: &mut Command) -> &mut Command {
    if env::var_os(SETTINGS).is_none() { command.env(SETTINGS, KEEP) } else { command }
}

/// Starts this process again as one that keeps its memory, with the same arguments, unless it does already. It returns only if that is so, or with what went wrong: then proving is
/// slower, and no different otherwise.
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn restart_keeping_memory() -> io::Result<()> {
    use std::os::unix::process::CommandExt;

    if env::var_os(SETTINGS).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(keep_memory(command.args(arguments)).exec())
}

/// Does nothing: only Unix replaces a process.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn restart_keeping_memory() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_to_keep_its_memory_once() {
        let mut command = Command::new("true");
        keep_memory(&mut command);
        let told: Vec<_> = command.get_envs().filter(|(name, _)| *name == SETTINGS).collect();
        // What the environment of the test says is left as it is.
        assert_eq!(told.is_empty(), env::var_os(SETTINGS).is_some());
        assert!(told.iter().all(|(_, value)| value.is_some_and(|value| value == KEEP)));
        assert!(command.status().is_ok_and(|status| status.success()));
    }
}
