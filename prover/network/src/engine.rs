//! The engine's provers and verifiers, as the network wants them.

use std::sync::atomic::AtomicBool;

use joule_prover_engine::{self as engine, Engine, Prover, Verifier, WireError};

use crate::{
    serve::{Judge, NotAccepted},
    task::{CircuitsId, Task, TaskKind},
    work::{Labour, LabourError},
};

/// An engine's verifier at work for the network.
#[derive(Clone, Copy, Debug)]
pub struct ByEngine<T>(pub T);

impl From<TaskKind> for engine::TaskKind {
    fn from(kind: TaskKind) -> Self {
        match kind {
            TaskKind::Segment => Self::Segment,
            TaskKind::Merge => Self::Merge,
            TaskKind::Wrap => Self::Wrap,
        }
    }
}

impl From<engine::CircuitsDigest> for CircuitsId {
    fn from(digest: engine::CircuitsDigest) -> Self {
        Self(digest.0)
    }
}

/// An engine at work for the network.
///
/// Circuits are the same for every program, so that two versions may share them and prove about different ones. A proof about another program than the task's is true and refused,
/// so none is made: the fault is this machine's, and it says so.
#[derive(Debug)]
pub struct EngineLabour(pub Engine);

impl Labour for EngineLabour {
    /// The proof is made to its end: an engine cannot be interrupted, a process can ([`crate::ChildLabour`]).
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        let (mine, wanted) = (self.0.program_hash(), task.statement.program);
        if mine != wanted {
            return Err(LabourError::Machine(format!(
                "this version proves program {mine}, and the task is about {wanted}: both sides must run the same version"
            )));
        }
        prove_with(&self.0, task, inputs)
    }
}

fn prove_with(prover: &impl Prover, task: &Task, inputs: &[Vec<u8>]) -> Result<Vec<u8>, LabourError> {
    let work = match (task.kind, inputs) {
        (TaskKind::Segment, [input]) => engine::Task::Segment { input },
        (TaskKind::Merge, [left]) => engine::Task::Merge { left, right: None },
        (TaskKind::Merge, [left, right]) => engine::Task::Merge { left, right: Some(right) },
        (TaskKind::Wrap, [merged]) => engine::Task::Wrap { merged },
        (kind, inputs) => {
            return Err(LabourError::Input(format!("a {kind} task does not take {} inputs", inputs.len())));
        }
    };
    prover.prove(work).map_err(|error| match error.is_input() {
        true => LabourError::Input(error.to_string()),
        false => LabourError::Machine(error.to_string()),
    })
}

impl<V: Verifier + 'static> Judge for ByEngine<V> {
    fn judge(&self, task: &Task, result: &[u8]) -> Result<(), NotAccepted> {
        let statement = self.0.verify(task.kind.into(), result).map_err(|error| match error {
            WireError::NoWrapKey => NotAccepted::Unable(error.to_string()),
            error => NotAccepted::Wrong(error.to_string()),
        })?;
        if statement == task.statement {
            Ok(())
        } else {
            Err(NotAccepted::Wrong(format!("it proves {statement:?}, and {:?} is wanted", task.statement)))
        }
    }
}

#[cfg(test)]
mod tests {
    use joule_protocol::{Digest, Hash, PublicValues};
    use joule_prover_engine::{CircuitsDigest, Profile, TaskError};

    use super::*;
    use crate::task::ArtefactId;

    /// Says what it was asked, and verifies whatever starts with a number.
    struct Echo;

    impl Prover for Echo {
        fn profile(&self) -> Profile {
            Profile::Fast
        }

        fn circuits(&self) -> CircuitsDigest {
            CircuitsDigest([1; 32])
        }

        fn prove(&self, task: engine::Task<'_>) -> Result<Vec<u8>, TaskError> {
            Ok(match task {
                engine::Task::Segment { input } => [b"s", input].concat(),
                engine::Task::Merge { left, right } => [b"m", left, right.unwrap_or(b"-")].concat(),
                engine::Task::Wrap { merged } => [b"w", merged].concat(),
            })
        }
    }

    fn statement(to: u8) -> PublicValues {
        PublicValues { program: Digest::EMPTY, chain_id: 1, from: Hash::ZERO, to: Hash([to; 32]) }
    }

    impl Verifier for Echo {
        fn verify_segment(&self, result: &[u8]) -> Result<PublicValues, WireError> {
            Ok(statement(result[0]))
        }

        fn verify_merge(&self, _: &[u8]) -> Result<PublicValues, WireError> {
            Err(WireError::Refused("no".to_owned()))
        }

        fn verify_wrap(&self, _: &[u8]) -> Result<PublicValues, WireError> {
            Err(WireError::NoWrapKey)
        }
    }

    fn task(kind: TaskKind, inputs: usize) -> Task {
        Task {
            kind,
            shape: 0,
            statement: statement(5),
            circuits: CircuitsDigest([1; 32]).into(),
            inputs: vec![ArtefactId::default(); inputs],
            input_bytes: vec![1; inputs],
            deadline_ms: 0,
            price: 0,
        }
    }

    #[test]
    fn tasks_reach_the_engine_as_what_they_are() {
        let prove = |kind, inputs: &[&[u8]]| {
            let inputs: Vec<Vec<u8>> = inputs.iter().map(|input| input.to_vec()).collect();
            prove_with(&Echo, &task(kind, inputs.len()), &inputs)
        };
        assert_eq!(prove(TaskKind::Segment, &[b"1"]).unwrap(), b"s1");
        assert_eq!(prove(TaskKind::Merge, &[b"1", b"2"]).unwrap(), b"m12");
        assert_eq!(prove(TaskKind::Merge, &[b"1"]).unwrap(), b"m1-");
        assert_eq!(prove(TaskKind::Wrap, &[b"1"]).unwrap(), b"w1");
        assert!(matches!(prove(TaskKind::Wrap, &[b"1", b"2"]), Err(LabourError::Input(_))));
    }

    /// A true proof of something else is no result.
    #[test]
    fn the_statement_must_be_the_one_asked_for() {
        let judge = |kind, result: &[u8]| ByEngine(Echo).judge(&task(kind, 1), result);
        assert_eq!(judge(TaskKind::Segment, &[5]), Ok(()));
        assert!(matches!(judge(TaskKind::Segment, &[6]), Err(NotAccepted::Wrong(_))));
        assert!(matches!(judge(TaskKind::Merge, &[5]), Err(NotAccepted::Wrong(_))));
        // No key to verify with is not the prover's fault.
        assert!(matches!(judge(TaskKind::Wrap, &[5]), Err(NotAccepted::Unable(_))));
    }
}
