//! Labour in a process of its own.
//!
//! Circuits and the memory of a proof are gigabytes, and an allocator gives little of it back. So the process that talks to the coordinator holds none of it: it starts a child
//! for the first task, hands it task after task, and ends it when none has come for a while. What is idle then costs nothing but the connection. It is also what
//! keeps the connection up when a proof is too much for the machine (the system kills the child, and the lease is failed in order), and what lets a proof be ended that
//! nobody wants any more.
//!
//! Parent and child are the same version of one program, over the child's standard input and output:
//!
//! ```text
//! child → parent   3 · circuits (32)                          ready
//! parent → child   task · per input its length u32 and bytes  a frame
//! child → parent   0 · result | 1 · reason | 2 · reason       a frame: done, the input is refused, the machine failed
//! ```
//! A frame is its length, eight bytes, and its bytes. The child ends when its input does: with its parent, however that ended.

use std::{
    io::{self, Read, Write},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use crate::{
    task::{ARTEFACT_BYTES_MAX, CircuitsId, INPUTS_MAX, Task},
    wire::{Wire as _, WireError, put_bytes, read_with},
    work::{Labour, LabourError},
};

/// Bytes of a request: a task with its inputs.
const REQUEST_BYTES_MAX: u64 = 4_096 + INPUTS_MAX as u64 * ARTEFACT_BYTES_MAX;
/// Bytes of an answer: a result, far above the largest proof.
const ANSWER_BYTES_MAX: u64 = ARTEFACT_BYTES_MAX;
/// How often it is asked whether a task is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 4_096;

fn write_frame(out: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.write_all(&(length as u64).to_be_bytes())?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()
}

/// The next frame, `None` at the end.
fn read_frame(input: &mut impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u64::from_be_bytes(length);
    if length > limit {
        let reason = format!("a frame of {length} bytes, and at most {limit} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(Some(bytes)) } else { Ok(None) }
}

fn encode_request(task: &Task, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = task.encode();
    inputs.iter().for_each(|input| put_bytes(&mut bytes, input));
    bytes
}

fn decode_request(bytes: &[u8]) -> Result<(Task, Vec<Vec<u8>>), WireError> {
    read_with("request", bytes, |input| {
        let task = Task::read(input)?;
        let limit = ARTEFACT_BYTES_MAX as usize;
        let inputs = (0..task.inputs.len()).map(|_| Ok(input.bytes("bytes of an input", limit)?.to_vec()));
        let inputs = inputs.collect::<Result<_, WireError>>()?;
        Ok((task, inputs))
    })
}

/// A child that works.
struct Running {
    child: Child,
    /// Dropped before the child is waited for, so that it ends by itself.
    requests: Option<ChildStdin>,
    answers: Receiver<Vec<u8>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.requests.take());
        // It may be in the middle of a proof that nobody wants.
        let _: io::Result<()> = self.child.kill();
        let _: io::Result<std::process::ExitStatus> = self.child.wait();
    }
}

#[derive(Default)]
struct Slot {
    running: Option<Running>,
    /// Tells a child that was used again from one that was not.
    uses: u64,
}

/// Does tasks in a child, one at a time.
pub struct ChildLabour {
    command: Box<dyn Fn() -> Command + Send + Sync>,
    circuits: CircuitsId,
    idle: Duration,
    slot: Arc<Mutex<Slot>>,
}

impl core::fmt::Debug for ChildLabour {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("ChildLabour").field("circuits", &self.circuits).finish_non_exhaustive()
    }
}

impl ChildLabour {
    /// Starts `command`, which runs [`answer_parent`] with these circuits, when there is a task, and ends it when it was `idle` for so long.
    pub fn new(command: impl Fn() -> Command + Send + Sync + 'static, circuits: CircuitsId, idle: Duration) -> Self {
        Self { command: Box::new(command), circuits, idle, slot: Arc::default() }
    }

    /// Starts the child if it does not run, which takes as long as it takes to have its circuits.
    ///
    /// # Errors
    /// [`LabourError`].
    pub fn start(&self, is_over: &AtomicBool) -> Result<(), LabourError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.running.is_none() {
            slot.running = Some(self.spawn(is_over)?);
        }
        slot.uses += 1;
        self.end_later(slot.uses);
        Ok(())
    }

    /// The child's process, if it runs.
    #[must_use]
    pub fn child(&self) -> Option<u32> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).running.as_ref().map(|running| running.child.id())
    }

    fn spawn(&self, is_over: &AtomicBool) -> Result<Running, LabourError> {
        let failed = |error: io::Error| LabourError::Machine(format!("the proving process cannot be started: {error}"));
        let mut command = (self.command)();
        // A group of its own: Ctrl-C on a terminal is for the parent, which decides what becomes of the proof.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let (requests, mut output) = (child.stdin.take(), child.stdout.take().expect("it was asked for"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            while let Ok(Some(frame)) = read_frame(&mut output, ANSWER_BYTES_MAX) {
                if sender.send(frame).is_err() {
                    return;
                }
            }
        });
        let mut running = Running { child, requests, answers };
        let ready = running.answer(is_over)?;
        match ready.split_first() {
            Some((3, circuits)) if circuits == self.circuits.0 => Ok(running),
            Some((3, _)) => Err(LabourError::Machine(
                "the circuits that were built are not those that were declared: run `joule-prover setup`".to_owned(),
            )),
            _ => Err(answer_of(&ready).err().unwrap_or_else(|| LabourError::Machine("no proving process".to_owned()))),
        }
    }

    /// Ends the child if it is not used again.
    fn end_later(&self, uses: u64) {
        let (slot, idle) = (self.slot.clone(), self.idle);
        thread::spawn(move || {
            thread::sleep(idle);
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.uses == uses && slot.running.take().is_some() {
                tracing::info!("no tasks: the proving process has ended, and its memory is free");
            }
        });
    }
}

impl Running {
    /// The next answer, unless the task is over before.
    fn answer(&mut self, is_over: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) if is_over.load(Ordering::Relaxed) => return Err(LabourError::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                    return Err(LabourError::Machine(format!(
                        "the proving process ended ({status}); a signal 9 that nobody sent is the system's, for want of memory"
                    )));
                }
            }
        }
    }
}

fn answer_of(answer: &[u8]) -> Result<Vec<u8>, LabourError> {
    let reason = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(REASON_BYTES_MAX)]).into_owned();
    match answer.split_first() {
        Some((0, result)) => Ok(result.to_vec()),
        Some((1, bytes)) => Err(LabourError::Input(reason(bytes))),
        Some((2, bytes)) => Err(LabourError::Machine(reason(bytes))),
        _ => Err(LabourError::Machine("the proving process said something else than a result".to_owned())),
    }
}

impl Labour for ChildLabour {
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], is_over: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.uses += 1;
        let mut running = match slot.running.take() {
            Some(running) => running,
            None => self.spawn(is_over)?,
        };
        let requests = running.requests.as_mut().expect("it is open as long as the child runs");
        if let Err(error) = write_frame(requests, &[&encode_request(task, inputs)]) {
            return Err(LabourError::Machine(format!("the proving process takes no task: {error}")));
        }
        // A child that did not answer is not asked again: dropped here, it is ended.
        let answer = running.answer(is_over)?;
        slot.running = Some(running);
        self.end_later(slot.uses);
        drop(slot);
        answer_of(&answer)
    }
}

/// The child's side: does what comes over standard input until that ends, and then ends the process at once, whatever it is at.
///
/// # Errors
/// If the parent cannot be written to.
pub fn answer_parent(circuits: CircuitsId, labour: &dyn Labour) -> io::Result<()> {
    let (sender, requests) = channel();
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(request)) = read_frame(&mut input, REQUEST_BYTES_MAX) {
            if sender.send(request).is_err() {
                break;
            }
        }
        // Nobody waits for what is being proven.
        std::process::exit(0);
    });
    let mut out = io::stdout().lock();
    write_frame(&mut out, &[&[3], &circuits.0])?;
    for request in requests {
        let done = match decode_request(&request) {
            Ok((task, inputs)) => labour.prove(&task, &inputs, &AtomicBool::new(false)),
            Err(error) => Err(LabourError::Machine(error.to_string())),
        };
        match done {
            Ok(result) => write_frame(&mut out, &[&[0], &result])?,
            Err(LabourError::Input(reason)) => write_frame(&mut out, &[&[1], reason.as_bytes()])?,
            Err(LabourError::Machine(reason)) => write_frame(&mut out, &[&[2], reason.as_bytes()])?,
            Err(LabourError::Stopped) => write_frame(&mut out, &[&[2], b"stopped"])?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use joule_protocol::{Digest, Hash, PublicValues};

    use super::*;
    use crate::task::{ArtefactId, TaskKind};

    fn task(inputs: usize) -> Task {
        Task {
            kind: TaskKind::Merge,
            shape: 0,
            statement: PublicValues { program: Digest::EMPTY, chain_id: 1, from: Hash([1; 32]), to: Hash([2; 32]) },
            circuits: CircuitsId([3; 32]),
            inputs: vec![ArtefactId([4; 32]); inputs],
            input_bytes: vec![5; inputs],
            deadline_ms: 6,
            price: 7,
        }
    }

    #[test]
    fn requests_read_back_and_no_part_of_one_does() {
        let (task, inputs) = (task(2), vec![vec![1; 5], vec![2; 9]]);
        let bytes = encode_request(&task, &inputs);
        assert_eq!(decode_request(&bytes).unwrap(), (task, inputs));
        for length in 0..bytes.len() {
            assert!(decode_request(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(decode_request(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn frames_are_whole_and_bounded() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &[b"one", b"two"]).unwrap();
        assert_eq!(read_frame(&mut &bytes[..], 6).unwrap().unwrap(), b"onetwo");
        assert_eq!(read_frame(&mut &bytes[..], 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        for length in 0..bytes.len() {
            assert_eq!(read_frame(&mut &bytes[..length], 6).unwrap(), None);
        }
    }

    fn shell(script: &'static str) -> ChildLabour {
        shell_for(script, Duration::from_secs(3_600))
    }

    fn shell_for(script: &'static str, idle: Duration) -> ChildLabour {
        let command = move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        ChildLabour::new(command, CircuitsId([b'c'; 32]), idle)
    }

    /// What a child says when it is ready: a frame of 33 bytes.
    macro_rules! ready {
        ($then:literal) => {
            concat!("printf '\\0\\0\\0\\0\\0\\0\\0\\041\\003cccccccccccccccccccccccccccccccc'; ", $then)
        };
    }

    #[test]
    fn a_child_that_dies_or_says_nonsense_has_failed_and_the_next_task_gets_another() {
        let never = AtomicBool::new(false);
        let prove = |labour: &ChildLabour| labour.prove(&task(1), &[vec![1]], &never);
        assert!(matches!(prove(&shell("exit 3")), Err(LabourError::Machine(reason)) if reason.contains("status: 3")));
        assert!(
            matches!(prove(&shell("kill -9 $$")), Err(LabourError::Machine(reason)) if reason.contains("signal: 9"))
        );
        let other = "printf '\\0\\0\\0\\0\\0\\0\\0\\041\\003dddddddddddddddddddddddddddddddd'; cat > /dev/null";
        assert!(matches!(prove(&shell(other)), Err(LabourError::Machine(reason)) if reason.contains("setup")));
        // Ready, and then gone with the task.
        let gone = shell(ready!("head -c 9 > /dev/null; exit 4"));
        assert!(matches!(prove(&gone), Err(LabourError::Machine(_))));
        assert_eq!(gone.child(), None);
        let good = shell(ready!("head -c 9 > /dev/null; printf '\\0\\0\\0\\0\\0\\0\\0\\003\\0ok'; cat > /dev/null"));
        assert_eq!(prove(&good).unwrap(), b"ok");
        assert!(good.child().is_some(), "it stays for the next task");
        let refuses =
            shell(ready!("head -c 9 > /dev/null; printf '\\0\\0\\0\\0\\0\\0\\0\\003\\001no'; cat > /dev/null"));
        assert_eq!(prove(&refuses), Err(LabourError::Input("no".to_owned())));
    }

    /// Without tasks nothing is held: the child is there, and then it is not.
    #[test]
    fn a_child_without_tasks_is_ended() {
        let labour = shell_for(ready!("cat > /dev/null"), Duration::from_millis(200));
        labour.start(&AtomicBool::new(false)).unwrap();
        let child = labour.child().expect("it has just begun");
        while labour.child().is_some() {
            thread::yield_now();
        }
        assert!(!std::path::Path::new(&format!("/proc/{child}")).exists(), "it was waited for");
    }

    #[test]
    fn a_task_that_is_over_ends_the_child() {
        let labour = shell(ready!("cat > /dev/null"));
        labour.start(&AtomicBool::new(false)).unwrap();
        assert!(labour.child().is_some());
        assert_eq!(labour.prove(&task(1), &[vec![1]], &AtomicBool::new(true)), Err(LabourError::Stopped));
        assert_eq!(labour.child(), None);
    }
}
