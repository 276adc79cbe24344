//! The segment circuit of a shape, which is read when it is first needed.
//!
//! A circuit holds hundreds of megabytes and takes seconds to read, of which clearing memory is the larger part. A batch's segments are of one shape or two, and merges and wraps need none
//! of these circuits. What is needed from the start is their keys alone: the circuits above are made with them. So a key is kept beside its circuit, and a circuit is read, or built,
//! at the start only where there is no key.

use joule_recursion::{
    circuit::{Inner, Key},
    fingerprint::Fingerprint,
    profile::Profile,
    segment::SegmentCircuit,
    shape::Shape,
};

use crate::{CacheFolder, EngineError, Progress, Step, lazy::Lazy};

/// What a segment circuit is built from, and where it is kept.
struct Source {
    profile: Profile,
    shape: Shape,
    /// Position of the shape among as many shapes of the program.
    index: usize,
    shapes: usize,
    name: String,
    fingerprint: Fingerprint,
    cache: CacheFolder,
}

impl Source {
    /// Reads the circuit, or builds and keeps it.
    fn take(&self, progress: &impl Progress) -> Result<SegmentCircuit, EngineError> {
        progress.during(&Step::Circuit { name: self.name.clone() }, || {
            self.cache.circuit(
                &self.name,
                self.fingerprint,
                |bytes| SegmentCircuit::from_bytes(self.fingerprint, self.shapes, bytes),
                || Ok(SegmentCircuit::build(self.profile, &self.shape, self.index, self.shapes)?),
                |circuit| circuit.to_bytes(self.fingerprint),
            )
        })
    }
}

/// A segment circuit that may not be read yet.
pub(crate) struct LazySegment {
    source: Source,
    key: Key<Inner>,
    circuit: Lazy<SegmentCircuit>,
}

impl LazySegment {
    /// The circuit of the shape at `index` among `shapes`: it waits in `cache` if it is kept there with its key, and is read or built now otherwise.
    pub(crate) fn new(
        profile: Profile,
        shape: Shape,
        index: usize,
        shapes: usize,
        cache: &CacheFolder,
        progress: &impl Progress,
    ) -> Result<Self, EngineError> {
        let fingerprint = Fingerprint::segment(profile, &shape, index, shapes);
        let name = format!("segment-{}", shape.name);
        let source = Source { profile, shape, index, shapes, name, fingerprint, cache: cache.clone() };
        if let Some(key) = cache.circuit_key(&source.name, fingerprint) {
            return Ok(Self { source, key, circuit: Lazy::new() });
        }
        let circuit = source.take(progress)?;
        let key = circuit.circuit.key();
        cache.keep_circuit_key(&source.name, fingerprint, &key)?;
        Ok(Self { source, key, circuit: Lazy::ready(circuit) })
    }

    /// The shape of the proofs that it verifies.
    pub(crate) const fn shape(&self) -> &Shape {
        &self.source.shape
    }

    /// Its key, which is there before it is.
    pub(crate) const fn key(&self) -> &Key<Inner> {
        &self.key
    }

    /// The circuit, read or built by the first who asks.
    ///
    /// # Errors
    /// If it cannot be built, or is another one than its key promised: the circuits above would refuse every proof of it.
    pub(crate) fn circuit(&self, progress: &impl Progress) -> Result<&SegmentCircuit, EngineError> {
        self.circuit.get_or_make(|| {
            let circuit = self.source.take(progress)?;
            let data = &circuit.circuit.data;
            if data.verifier_only != self.key.verifier || data.common != self.key.common {
                let cache = self.source.cache.path().to_owned();
                return Err(EngineError::OtherKey { name: self.source.name.clone(), cache });
            }
            Ok(circuit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        sync::{Barrier, Mutex},
        thread,
        time::Duration,
    };

    use joule_recursion::cache::{decode_key, encode_key};
    use plonky2::field::types::Field as _;

    use super::*;
    use crate::{Silent, engine::describe_any};

    /// Remembers what was begun.
    #[derive(Default)]
    struct Begun(Mutex<Vec<String>>);

    impl Progress for Begun {
        fn begin(&self, step: &Step) {
            self.0.lock().unwrap().push(step.to_string());
        }

        fn end(&self, _: &Step, _: Option<Duration>) {}
    }

    impl Begun {
        fn steps(self) -> Vec<String> {
            self.0.into_inner().unwrap()
        }
    }

    struct Kept {
        cache: CacheFolder,
        circuit: PathBuf,
        key: PathBuf,
    }

    impl Kept {
        fn open(&self, progress: &impl Progress) -> LazySegment {
            let shape = describe_any(Profile::Fast, joule_tables::shape::Shape::Tiny).unwrap();
            LazySegment::new(Profile::Fast, shape, 0, 1, &self.cache, progress).unwrap()
        }

        /// What opening begins, and then asking for the circuit.
        fn steps(&self) -> (Vec<String>, Vec<String>) {
            let (opening, asking) = (Begun::default(), Begun::default());
            self.open(&opening).circuit(&asking).unwrap();
            (opening.steps(), asking.steps())
        }
    }

    #[test]
    fn a_circuit_waits_until_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let name = "circuit-segment-tiny".to_owned();
        let mut kept = Kept { cache: CacheFolder::new(folder.path()), circuit: PathBuf::new(), key: PathBuf::new() };

        // Nothing is kept: it is built at once, and not once more when it is needed.
        let begun = Begun::default();
        let built = kept.open(&begun);
        built.circuit(&begun).unwrap();
        assert_eq!(begun.steps(), [name.as_str()]);
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("circuit") => kept.circuit = path,
                Some("verifier") => kept.key = path,
                other => panic!("a file of another kind, {other:?}"),
            }
        }
        let (circuit, key) = (fs::read(&kept.circuit).unwrap(), fs::read(&kept.key).unwrap());
        println!("circuit of {} bytes, key of {}", circuit.len(), key.len());

        // Kept: its key is there before it, and whoever asks at the same time shares one reading.
        let begun = Begun::default();
        let waiting = kept.open(&begun);
        assert_eq!((&waiting.key().common, &waiting.key().verifier), (&built.key().common, &built.key().verifier));
        assert!(waiting.circuit.get().is_none());
        let together = Barrier::new(2);
        let ask = || {
            together.wait();
            core::ptr::from_ref(waiting.circuit(&begun).unwrap()) as usize
        };
        let (one, other) = thread::scope(|scope| {
            let (one, other) = (scope.spawn(ask), scope.spawn(ask));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_eq!(one, other);
        assert_eq!(waiting.circuit(&Silent).unwrap().circuit.inputs, built.circuit(&Silent).unwrap().circuit.inputs);
        assert_eq!(begun.steps(), [name.as_str()]);

        // A damaged key is as none: the circuit is read at once, and its key kept again.
        for damaged in [&key[..key.len() - 1], &circuit[..200], &[]] {
            fs::write(&kept.key, damaged).unwrap();
            assert_eq!(kept.steps(), (vec![name.clone()], Vec::new()));
            assert_eq!(fs::read(&kept.key).unwrap(), key);
        }

        // A damaged circuit is built and kept again by whoever needs it.
        let mut damaged = circuit.clone();
        damaged[circuit.len() / 2] ^= 1;
        fs::write(&kept.circuit, &damaged).unwrap();
        assert_eq!(kept.steps(), (Vec::new(), vec![name.clone()]));
        assert!(fs::read(&kept.circuit).unwrap() == circuit);

        // The key of another circuit gets no proof of this one.
        let fingerprint = waiting.source.fingerprint;
        let mut other: Key<Inner> = decode_key(fingerprint, &key).unwrap();
        other.verifier.circuit_digest.elements[0] += joule_recursion::field::F::ONE;
        fs::write(&kept.key, encode_key(fingerprint, &other).unwrap()).unwrap();
        let refusing = kept.open(&Silent);
        for _ in 0..2 {
            assert!(matches!(refusing.circuit(&Silent), Err(EngineError::OtherKey { .. })));
        }
        fs::write(&kept.key, &key).unwrap();
        assert_eq!(kept.steps(), (Vec::new(), vec![name]));

        // A key without its circuit is as none, too.
        fs::remove_file(&kept.circuit).unwrap();
        assert!(kept.cache.circuit_key("segment-tiny", fingerprint).is_none());
    }
}
