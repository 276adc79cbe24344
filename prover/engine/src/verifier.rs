//! What a coordinator keeps: enough to verify every result of a batch, and nothing that proves.
//!
//! ```text
//! "JouleVer" · format u8 · profile u8 · P (32) · lifts u32 · wrap key length u32 · layout length u64 · layout · per lift a key · the merge's key · wrap key · SHA-256
//! ```
//! All lifts and the merge share one layout, so a key is a digest and a cap. The file is as trustworthy as the disk it is on, like the program hash in
//! a configuration file; [`CircuitVerifier::circuits`] is what operators compare.

use joule_protocol::{Digest, Hash, PublicValues};
use joule_recursion::{
    aggregate::{Aggregation, ChildKind, key_hash},
    circuit::{Inner, Key, Proof},
    field::{D, F},
    gates::GateSerializer,
    profile::Profile,
    statement::from_elements,
};
use joule_wrap::VerifyingKey;
use plonky2::plonk::circuit_data::{CommonCircuitData, VerifierCircuitData, VerifierOnlyCircuitData};
use sha2::{Digest as _, Sha256};

use crate::{
    BatchProof, CircuitsDigest, TaskKind, Verifier, WireError,
    wire::{ResultHeader, decode_wrap, profile_number, profile_of_number},
};

const MAGIC: &[u8; 8] = b"JouleVer";
const FORMAT: u8 = 1;
/// More lifts than there will be shapes.
const LIFTS_MAX: u32 = 64;
/// The most bytes of a verifier file; one has some 4,000.
pub const VERIFIER_BYTES_MAX: usize = 1 << 20;

/// Keys of all circuits of a program in one profile, for verifying results of tasks.
#[derive(Clone, Debug)]
pub struct CircuitVerifier {
    profile: Profile,
    program: Digest,
    lifts: Vec<VerifierCircuitData<F, Inner, D>>,
    merge: VerifierCircuitData<F, Inner, D>,
    merge_key_hash: [F; 4],
    circuits: CircuitsDigest,
    wrap: Option<VerifyingKey>,
}

/// A lifted or merged proof that was read and verified.
#[derive(Debug)]
pub(crate) struct VerifiedChild {
    pub(crate) kind: ChildKind,
    pub(crate) proof: Proof<Inner>,
    pub(crate) statement: PublicValues,
}

impl CircuitVerifier {
    /// The verifier of a program's proofs by these circuits; without a wrap key it verifies all but wraps.
    pub(crate) fn new(
        profile: Profile,
        program: Digest,
        aggregation: &Aggregation,
        wrap: Option<VerifyingKey>,
    ) -> Self {
        let data = |key: Key<Inner>| VerifierCircuitData { verifier_only: key.verifier, common: key.common };
        let lifts = aggregation.lifts.iter().map(|lift| data(lift.key())).collect();
        Self::from_data(profile, program, lifts, data(aggregation.merge.key()), wrap)
    }

    fn from_data(
        profile: Profile,
        program: Digest,
        lifts: Vec<VerifierCircuitData<F, Inner, D>>,
        merge: VerifierCircuitData<F, Inner, D>,
        wrap: Option<VerifyingKey>,
    ) -> Self {
        let mut hasher = Sha256::new();
        hasher.update("joule circuits v1");
        hasher.update([profile_number(profile)]);
        hasher.update((lifts.len() as u64).to_be_bytes());
        for circuit in lifts.iter().chain([&merge]) {
            let (layout, key) = (encode_layout(&circuit.common), encode_key(&circuit.verifier_only));
            for part in [layout, key] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        let circuits = CircuitsDigest(hasher.finalize().into());
        let merge_key_hash = key_hash(&merge.verifier_only);
        Self { profile, program, lifts, merge, merge_key_hash, circuits, wrap }
    }

    /// The profile.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// The program hash P that every statement must be about.
    #[must_use]
    pub const fn program(&self) -> Digest {
        self.program
    }

    /// What provers must have built to be of use.
    #[must_use]
    pub const fn circuits(&self) -> CircuitsDigest {
        self.circuits
    }

    /// The key of wraps, if there is one.
    #[must_use]
    pub const fn wrap_key(&self) -> Option<&VerifyingKey> {
        self.wrap.as_ref()
    }

    /// The same with this key of wraps.
    #[must_use]
    pub fn with_wrap_key(mut self, key: VerifyingKey) -> Self {
        self.wrap = Some(key);
        self
    }

    pub(crate) const fn header(&self, kind: TaskKind) -> ResultHeader {
        ResultHeader { kind, profile: self.profile, circuits: self.circuits }
    }

    fn child(&self, kind: ChildKind, bytes: &[u8]) -> Result<VerifiedChild, WireError> {
        let count = self.lifts.len();
        let circuit = match kind {
            ChildKind::Merge => &self.merge,
            ChildKind::Segment(shape) => {
                self.lifts.get(shape).ok_or(WireError::UnknownShape { got: shape as u32, count })?
            }
        };
        let refused = |error: anyhow::Error| WireError::Refused(format!("{error:#}"));
        let proof = Proof::<Inner>::from_bytes(bytes.to_vec(), &circuit.common).map_err(refused)?;
        // plonky2 reads numbers above the prime, and stops before the end: either would give one proof many encodings.
        if proof.to_bytes() != bytes {
            return Err(WireError::NotCanonical);
        }
        circuit.verify(proof.clone()).map_err(refused)?;
        let statement = from_elements(&proof.public_inputs)?;
        if statement.program != self.program {
            return Err(WireError::Program { expected: self.program, got: statement.program });
        }
        // A lift may name any merge, and a merge of another key would name its own: such a proof is true and of no use to ours.
        if proof.public_inputs[PublicValues::ELEMENTS..] != self.merge_key_hash {
            return Err(WireError::OtherMerge);
        }
        Ok(VerifiedChild { kind, proof, statement })
    }

    pub(crate) fn segment(&self, result: &[u8]) -> Result<VerifiedChild, WireError> {
        let payload = self.header(TaskKind::Segment).expect(result)?;
        let (shape, bytes) = payload.split_first_chunk().ok_or(WireError::Length { what: "segment's proof" })?;
        self.child(ChildKind::Segment(u32::from_be_bytes(*shape) as usize), bytes)
    }

    pub(crate) fn merge(&self, result: &[u8]) -> Result<VerifiedChild, WireError> {
        self.child(ChildKind::Merge, self.header(TaskKind::Merge).expect(result)?)
    }

    /// Reads and verifies the result of a wrap task: the proof that L1 takes.
    ///
    /// # Errors
    /// As [`Verifier::verify_wrap`].
    pub fn wrap(&self, result: &[u8]) -> Result<BatchProof, WireError> {
        let key = self.wrap.as_ref().ok_or(WireError::NoWrapKey)?;
        let (proof, statement) = decode_wrap(self.header(TaskKind::Wrap).expect(result)?)?;
        joule_wrap::verify(key, &proof, &statement).map_err(|error| WireError::Refused(error.to_string()))?;
        if statement.program != self.program {
            return Err(WireError::Program { expected: self.program, got: statement.program });
        }
        Ok(BatchProof { proof, statement })
    }

    /// What a merge takes: the result of a segment or of a merge.
    pub(crate) fn node(&self, result: &[u8]) -> Result<VerifiedChild, WireError> {
        match ResultHeader::decode(result)?.0.kind {
            TaskKind::Segment => self.segment(result),
            TaskKind::Merge => self.merge(result),
            TaskKind::Wrap => Err(WireError::Kind { expected: TaskKind::Merge, got: TaskKind::Wrap.to_string() }),
        }
    }

    /// The file that a coordinator loads.
    ///
    /// # Errors
    /// If the wrap key cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, joule_wrap::WrapError> {
        let wrap = self.wrap.as_ref().map(VerifyingKey::to_bytes).transpose()?.unwrap_or_default();
        let layout = encode_layout(&self.merge.common);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[FORMAT, profile_number(self.profile)]);
        bytes.extend_from_slice(&self.program.to_hash().0);
        bytes.extend_from_slice(&(self.lifts.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&(wrap.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&(layout.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&layout);
        for circuit in self.lifts.iter().chain([&self.merge]) {
            bytes.extend_from_slice(&encode_key(&circuit.verifier_only));
        }
        bytes.extend_from_slice(&wrap);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// If the bytes are damaged or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let not = || WireError::NotAnArtefact { expected: "verifier file" };
        let length = || WireError::Length { what: "verifier file" };
        if bytes.len() > VERIFIER_BYTES_MAX {
            return Err(WireError::TooLong { what: "a verifier file", got: bytes.len(), limit: VERIFIER_BYTES_MAX });
        }
        let (body, digest) = bytes.split_last_chunk::<32>().ok_or_else(not)?;
        let rest = body.strip_prefix(MAGIC).ok_or_else(not)?;
        let (&[format, profile], rest) = rest.split_first_chunk().ok_or_else(length)?;
        if format != FORMAT {
            return Err(WireError::Format { expected: FORMAT, got: format });
        }
        // Before plonky2 decodes anything, which does not expect damage.
        if <[u8; 32]>::from(Sha256::digest(body)) != *digest {
            return Err(not());
        }
        let profile = profile_of_number(profile).ok_or_else(not)?;
        let (program, rest) = rest.split_first_chunk::<32>().ok_or_else(length)?;
        let program = Digest::from_hash(Hash(*program)).map_err(|_| WireError::WordRange { what: "program hash" })?;
        let (count, rest) = rest.split_first_chunk().ok_or_else(length)?;
        let count = u32::from_be_bytes(*count);
        let (wrap, rest) = rest.split_first_chunk().ok_or_else(length)?;
        let wrap = u32::from_be_bytes(*wrap) as usize;
        let (layout, rest) = rest.split_first_chunk().ok_or_else(length)?;
        let layout = usize::try_from(u64::from_be_bytes(*layout)).map_err(|_| length())?;
        let (layout, rest) = rest.split_at_checked(layout).ok_or_else(length)?;
        if count > LIFTS_MAX {
            return Err(not());
        }
        let common = CommonCircuitData::<F, D>::from_bytes(layout.to_vec(), &GateSerializer).map_err(|_| not())?;
        let key_bytes = key_bytes(&common);
        let keys_length = (count as usize + 1) * key_bytes;
        let (keys, wrap_bytes) = rest.split_at_checked(keys_length).ok_or_else(length)?;
        if wrap_bytes.len() != wrap {
            return Err(length());
        }
        let mut circuits = Vec::with_capacity(count as usize + 1);
        for key in keys.chunks_exact(key_bytes) {
            let verifier_only = VerifierOnlyCircuitData::from_bytes(key.to_vec()).map_err(|_| not())?;
            circuits.push(VerifierCircuitData { verifier_only, common: common.clone() });
        }
        let merge = circuits.pop().ok_or_else(length)?;
        let wrap = match wrap_bytes {
            [] => None,
            bytes => Some(VerifyingKey::from_bytes(bytes).map_err(|error| WireError::Refused(error.to_string()))?),
        };
        Ok(Self::from_data(profile, program, circuits, merge, wrap))
    }
}

impl Verifier for CircuitVerifier {
    fn verify_segment(&self, result: &[u8]) -> Result<PublicValues, WireError> {
        Ok(self.segment(result)?.statement)
    }

    fn verify_merge(&self, result: &[u8]) -> Result<PublicValues, WireError> {
        Ok(self.merge(result)?.statement)
    }

    fn verify_wrap(&self, result: &[u8]) -> Result<PublicValues, WireError> {
        Ok(self.wrap(result)?.statement)
    }
}

/// Gates, degree and FRI parameters as bytes. Every gate of our circuits is known to the serialiser, or they could not be kept either.
fn encode_layout(common: &CommonCircuitData<F, D>) -> Vec<u8> {
    common.to_bytes(&GateSerializer).expect("every gate of our circuits has an encoding")
}

/// A key: the circuit's digest, then its cap.
fn encode_key(key: &VerifierOnlyCircuitData<Inner, D>) -> Vec<u8> {
    key.to_bytes().expect("writing to memory does not fail")
}

/// Bytes of a key in this layout: the cap's length, the cap, and the digest.
fn key_bytes(common: &CommonCircuitData<F, D>) -> usize {
    8 + (1 << common.config.fri_config.cap_height) * 32 + 32
}
