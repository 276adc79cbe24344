//! What travels between machines: inputs and results of tasks as bytes.
//!
//! ```text
//! result  "JouleArt" · format u8 · kind u8 · profile u8 · circuits (32) · payload
//!   segment  shape u32 · a plonky2 proof
//!   merge    a plonky2 proof
//!   wrap     statement (104) · A, B, C as eight words of 32 bytes
//! input   "JouleSeg" · format u8 · words u32 · the words · paths u32 · the paths
//! batch   "JouleBat" · format u8 · segments u32 · for each the length u32 of its input, and the input
//! ```
//! Integers are big-endian. `circuits` digests the keys of all lifts and of the merge, so that two machines whose circuits differ learn it from the
//! header and not from a proof that does not verify. Nothing in a header is trusted: it makes errors clear, and proofs are verified.

use joule_machine::{layout::TREE_DEPTH, records::DigestElements};
use joule_protocol::{Digest, Hash, NonCanonical, PublicValues};
use joule_recursion::{profile::Profile, statement::StatementError};
use joule_wrap::WrapProof;
use thiserror::Error;

use crate::{SegmentInput, TaskKind};

const RESULT_MAGIC: &[u8; 8] = b"JouleArt";
const INPUT_MAGIC: &[u8; 8] = b"JouleSeg";
const BATCH_MAGIC: &[u8; 8] = b"JouleBat";
const FORMAT: u8 = 1;
const RESULT_HEADER_BYTES: usize = 8 + 3 + 32;
/// Bytes of a statement: P, C, hX, hY.
const STATEMENT_BYTES: usize = 104;

/// The most bytes of a segment's input: sixteen times what 512 payments need.
pub const SEGMENT_INPUT_BYTES_MAX: usize = 64 << 20;

/// The most segments of a batch: at 64 payments to a segment, a quarter of a million payments.
pub const SEGMENTS_MAX: usize = 4_096;

/// The most bytes of a batch's file.
pub const BATCH_BYTES_MAX: usize = 1 << 30;

/// The most bytes of a task's result: ten times the largest proof of `proven`.
pub const RESULT_BYTES_MAX: usize = 8 << 20;

/// Digest of the keys of all lifts and of the merge: what two machines must agree on to work on one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CircuitsDigest(pub [u8; 32]);

impl core::fmt::Display for CircuitsDigest {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Why bytes are not the input or the result of a task. Whoever sent them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the values are what the message names")]
pub enum WireError {
    #[error("{what} of {got} bytes, and at most {limit} are taken")]
    TooLong { what: &'static str, got: usize, limit: usize },
    #[error("{got} {what}, and at most {limit} are taken")]
    TooMany { what: &'static str, got: usize, limit: usize },
    #[error("the bytes are no {expected}")]
    NotAnArtefact { expected: &'static str },
    #[error("format {got}, and this version of joule-prover reads {expected}: both sides must run the same version")]
    Format { expected: u8, got: u8 },
    #[error("the result of a {got} task where one of a {expected} task is wanted")]
    Kind { expected: TaskKind, got: String },
    #[error("made with profile {got}, and this machine works with {expected}: choose the other with --profile")]
    Profile { expected: &'static str, got: String },
    #[error(
        "made with circuits {got}, and this machine has {expected}: both sides must run the same version of joule-prover"
    )]
    Circuits { expected: CircuitsDigest, got: CircuitsDigest },
    #[error("there is no shape {got}, there are {count}")]
    UnknownShape { got: u32, count: usize },
    #[error("the {what} ends early or goes on after its end")]
    Length { what: &'static str },
    #[error("the proof is not encoded canonically")]
    NotCanonical,
    #[error("a word of the {what} is not below the field's prime")]
    WordRange { what: &'static str },
    #[error("the proof does not verify: {0}")]
    Refused(String),
    #[error("the proof makes no statement: {0}")]
    Statement(#[from] StatementError),
    #[error("the proof is about program {got}, expected {expected}")]
    Program { expected: Digest, got: Digest },
    #[error("the proof was made by a merge with another key")]
    OtherMerge,
    #[error("there is no key to verify wraps with: `joule-prover setup` makes one")]
    NoWrapKey,
}

/// What the header of a result says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultHeader {
    /// The task.
    pub kind: TaskKind,
    /// The profile it was done with.
    pub profile: Profile,
    /// The circuits it was done with.
    pub circuits: CircuitsDigest,
}

impl ResultHeader {
    /// The header with its payload behind it.
    #[must_use]
    pub fn encode(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RESULT_HEADER_BYTES + payload.len());
        bytes.extend_from_slice(RESULT_MAGIC);
        bytes.extend_from_slice(&[FORMAT, self.kind.number(), profile_number(self.profile)]);
        bytes.extend_from_slice(&self.circuits.0);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// A header and the payload behind it.
    ///
    /// # Errors
    /// If the bytes are no result of a task.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        if bytes.len() > RESULT_BYTES_MAX {
            return Err(WireError::TooLong { what: "a result", got: bytes.len(), limit: RESULT_BYTES_MAX });
        }
        let not = WireError::NotAnArtefact { expected: "result of a task" };
        let (header, payload) = bytes.split_first_chunk::<RESULT_HEADER_BYTES>().ok_or(not.clone())?;
        if !header.starts_with(RESULT_MAGIC) {
            return Err(not);
        }
        let [format, kind, profile] = [header[8], header[9], header[10]];
        if format != FORMAT {
            return Err(WireError::Format { expected: FORMAT, got: format });
        }
        let kind = TaskKind::ALL.into_iter().find(|known| known.number() == kind).ok_or(not.clone())?;
        let profile = PROFILES.into_iter().find(|known| profile_number(*known) == profile).ok_or(not)?;
        let circuits = CircuitsDigest(core::array::from_fn(|index| header[11 + index]));
        Ok((Self { kind, profile, circuits }, payload))
    }

    /// The payload of a result that must have this header.
    ///
    /// # Errors
    /// If the bytes are no result, or one of another kind, profile or circuits.
    pub fn expect<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], WireError> {
        let (got, payload) = Self::decode(bytes)?;
        if got.kind != self.kind {
            return Err(WireError::Kind { expected: self.kind, got: got.kind.to_string() });
        }
        if got.profile != self.profile {
            let (expected, got) = (self.profile.name(), got.profile.name().to_owned());
            return Err(WireError::Profile { expected, got });
        }
        if got.circuits != self.circuits {
            return Err(WireError::Circuits { expected: self.circuits, got: got.circuits });
        }
        Ok(payload)
    }
}

const PROFILES: [Profile; 2] = [Profile::Fast, Profile::Proven];

/// The byte that names a profile.
pub(crate) const fn profile_number(profile: Profile) -> u8 {
    match profile {
        Profile::Fast => 0,
        Profile::Proven => 1,
    }
}

/// The profile that a byte names.
pub(crate) fn profile_of_number(number: u8) -> Option<Profile> {
    PROFILES.into_iter().find(|profile| profile_number(*profile) == number)
}

/// Reads a statement's 104 bytes.
pub(crate) fn split_statement(bytes: &[u8]) -> Result<(PublicValues, &[u8]), WireError> {
    let (statement, rest) =
        bytes.split_first_chunk::<STATEMENT_BYTES>().ok_or(WireError::Length { what: "statement" })?;
    let hash = |from: usize| Hash(core::array::from_fn(|index| statement[from + index]));
    let program =
        Digest::from_hash(hash(0)).map_err(|_: NonCanonical| WireError::WordRange { what: "program hash" })?;
    let chain_id = u64::from_be_bytes(core::array::from_fn(|index| statement[32 + index]));
    Ok((PublicValues { program, chain_id, from: hash(40), to: hash(72) }, rest))
}

/// A wrap's payload.
pub(crate) fn encode_wrap(proof: &WrapProof, statement: &PublicValues) -> Vec<u8> {
    [statement.encode().as_slice(), proof.words.as_flattened()].concat()
}

/// Reads a wrap's payload; what it says is not checked here.
pub(crate) fn decode_wrap(payload: &[u8]) -> Result<(WrapProof, PublicValues), WireError> {
    let (statement, rest) = split_statement(payload)?;
    let (words, []) = rest.as_chunks::<32>() else { return Err(WireError::Length { what: "wrap proof" }) };
    let words = words.try_into().map_err(|_| WireError::Length { what: "wrap proof" })?;
    Ok((WrapProof { words }, statement))
}

/// A segment's input as bytes.
#[must_use]
pub fn encode_input(input: &SegmentInput) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(17 + input.input.len() * 4 + input.siblings.len() * TREE_DEPTH * 32);
    bytes.extend_from_slice(INPUT_MAGIC);
    bytes.push(FORMAT);
    bytes.extend_from_slice(&(input.input.len() as u32).to_be_bytes());
    input.input.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
    bytes.extend_from_slice(&(input.siblings.len() as u32).to_be_bytes());
    let elements = input.siblings.iter().flatten().flatten();
    elements.for_each(|element| bytes.extend_from_slice(&element.to_be_bytes()));
    bytes
}

/// Reads a segment's input. Its words are data to the program and its paths advice, so only their form is checked.
///
/// # Errors
/// If the bytes are none.
pub fn decode_input(bytes: &[u8]) -> Result<SegmentInput, WireError> {
    if bytes.len() > SEGMENT_INPUT_BYTES_MAX {
        let (got, limit) = (bytes.len(), SEGMENT_INPUT_BYTES_MAX);
        return Err(WireError::TooLong { what: "a segment's input", got, limit });
    }
    let not = WireError::NotAnArtefact { expected: "segment's input" };
    let rest = bytes.strip_prefix(INPUT_MAGIC).ok_or(not.clone())?;
    let (&[format], rest) = rest.split_first_chunk().ok_or(not)?;
    if format != FORMAT {
        return Err(WireError::Format { expected: FORMAT, got: format });
    }
    let short = || WireError::Length { what: "segment's input" };
    let list = |bytes: &'_ [u8], unit: usize| -> Result<(usize, usize), WireError> {
        let count = u32::from_be_bytes(*bytes.first_chunk().ok_or_else(short)?) as usize;
        // No overflow: both factors are below 2^32 and a pointer has 64 bits on every machine that proves.
        let length = count.checked_mul(unit).filter(|&length| length <= bytes.len() - 4).ok_or_else(short)?;
        Ok((count, length))
    };
    let (_, length) = list(rest, 4)?;
    let (words, rest) = rest[4..].split_at(length);
    let input = words.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
    let (_, length) = list(rest, TREE_DEPTH * 32)?;
    let (paths, rest) = rest[4..].split_at(length);
    if !rest.is_empty() {
        return Err(short());
    }
    let path = |bytes: &[u8]| -> Result<[DigestElements; TREE_DEPTH], WireError> {
        let mut path = [DigestElements::default(); TREE_DEPTH];
        for (digest, bytes) in path.iter_mut().zip(bytes.as_chunks::<32>().0) {
            let digest_of = Digest::from_hash(Hash(*bytes));
            *digest = digest_of.map_err(|_: NonCanonical| WireError::WordRange { what: "path" })?.elements();
        }
        Ok(path)
    };
    let siblings = paths.chunks_exact(TREE_DEPTH * 32).map(path).collect::<Result<_, _>>()?;
    Ok(SegmentInput { input, siblings })
}

/// A batch's segments as a file.
#[must_use]
pub fn encode_batch(segments: &[SegmentInput]) -> Vec<u8> {
    let mut bytes = BATCH_MAGIC.to_vec();
    bytes.push(FORMAT);
    bytes.extend_from_slice(&(segments.len() as u32).to_be_bytes());
    for segment in segments {
        let input = encode_input(segment);
        bytes.extend_from_slice(&(input.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&input);
    }
    bytes
}

/// Reads a batch's file.
///
/// # Errors
/// If the bytes are none, or one of its segments is malformed.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<SegmentInput>, WireError> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(WireError::TooLong { what: "a batch", got: bytes.len(), limit: BATCH_BYTES_MAX });
    }
    let not = WireError::NotAnArtefact { expected: "batch of segments" };
    let rest = bytes.strip_prefix(BATCH_MAGIC).ok_or(not.clone())?;
    let (&[format], rest) = rest.split_first_chunk().ok_or(not)?;
    if format != FORMAT {
        return Err(WireError::Format { expected: FORMAT, got: format });
    }
    let short = || WireError::Length { what: "batch" };
    let (count, mut rest) = rest.split_first_chunk().ok_or_else(short)?;
    let count = u32::from_be_bytes(*count) as usize;
    if count > SEGMENTS_MAX {
        return Err(WireError::TooMany { what: "segments", got: count, limit: SEGMENTS_MAX });
    }
    let mut segments = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
        let (input, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(short)?;
        segments.push(decode_input(input)?);
        rest = after;
    }
    if rest.is_empty() { Ok(segments) } else { Err(short()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> SegmentInput {
        let path = |first: u64| core::array::from_fn(|level| [first, level as u64, 2, 3]);
        SegmentInput { input: vec![1, u32::MAX, 3], siblings: vec![path(7), path(9)] }
    }

    #[test]
    fn inputs_come_back_and_malformed_ones_do_not() {
        let bytes = encode_input(&input());
        let read = decode_input(&bytes).unwrap();
        assert_eq!((&read.input, &read.siblings), (&input().input, &input().siblings));
        assert_eq!(encode_input(&read), bytes);
        for length in 0..bytes.len() {
            assert!(decode_input(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        assert_eq!(
            decode_input(&[&bytes[..], &[0]].concat()).unwrap_err(),
            WireError::Length { what: "segment's input" }
        );
        let mut other = bytes.clone();
        other[8] = 2;
        assert_eq!(decode_input(&other).unwrap_err(), WireError::Format { expected: 1, got: 2 });
        // Counts that promise more than there is, one so large that a product of 32 bits would wrap.
        for count in [4_u32, 1 << 30, u32::MAX] {
            let mut other = bytes.clone();
            other[9..13].copy_from_slice(&count.to_be_bytes());
            assert!(decode_input(&other).is_err(), "{count} words");
        }
        let mut other = bytes;
        let last = other.len() - 8;
        other[last..].fill(0xff);
        assert_eq!(decode_input(&other).unwrap_err(), WireError::WordRange { what: "path" });
    }

    #[test]
    fn batches_come_back_and_malformed_ones_do_not() {
        let empty = SegmentInput { input: Vec::new(), siblings: Vec::new() };
        let bytes = encode_batch(&[input(), empty]);
        let read = decode_batch(&bytes).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(encode_batch(&read), bytes);
        for length in 0..bytes.len() {
            assert!(decode_batch(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        assert_eq!(decode_batch(&[&bytes[..], &[0]].concat()).unwrap_err(), WireError::Length { what: "batch" });
        let mut other = bytes;
        other[9..13].fill(0xff);
        assert!(matches!(decode_batch(&other), Err(WireError::TooMany { .. })));
    }

    #[test]
    fn headers_tell_results_apart() {
        let header = ResultHeader { kind: TaskKind::Merge, profile: Profile::Fast, circuits: CircuitsDigest([3; 32]) };
        let bytes = header.encode(b"payload");
        assert_eq!(ResultHeader::decode(&bytes).unwrap(), (header, &b"payload"[..]));
        let refused = |wanted: ResultHeader| wanted.expect(&bytes).unwrap_err();
        assert!(matches!(refused(ResultHeader { kind: TaskKind::Wrap, ..header }), WireError::Kind { .. }));
        assert!(matches!(refused(ResultHeader { profile: Profile::Proven, ..header }), WireError::Profile { .. }));
        let circuits = CircuitsDigest([4; 32]);
        assert!(matches!(refused(ResultHeader { circuits, ..header }), WireError::Circuits { .. }));
        for (at, error) in [
            (0, WireError::NotAnArtefact { expected: "result of a task" }),
            (8, WireError::Format { expected: 1, got: 0xff }),
            (9, WireError::NotAnArtefact { expected: "result of a task" }),
            (10, WireError::NotAnArtefact { expected: "result of a task" }),
        ] {
            let mut changed = bytes.clone();
            changed[at] = 0xff;
            assert_eq!(ResultHeader::decode(&changed).unwrap_err(), error);
        }
        assert!(ResultHeader::decode(&bytes[..RESULT_HEADER_BYTES - 1]).is_err());
        assert!(matches!(ResultHeader::decode(&vec![0; RESULT_BYTES_MAX + 1]), Err(WireError::TooLong { .. })));
    }

    #[test]
    fn wraps_come_back_and_malformed_ones_do_not() {
        let proof = WrapProof { words: core::array::from_fn(|word| [word as u8; 32]) };
        let program = Digest::new([1, 2, 3, 4]).unwrap();
        let statement = PublicValues { program, chain_id: 5, from: Hash([6; 32]), to: Hash([7; 32]) };
        let bytes = encode_wrap(&proof, &statement);
        assert_eq!(decode_wrap(&bytes).unwrap(), (proof, statement));
        for length in 0..bytes.len() {
            assert!(decode_wrap(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(decode_wrap(&[&bytes[..], &[0]].concat()).is_err());
        assert!(decode_wrap(&[&bytes[..], &[0; 32]].concat()).is_err());
        let mut other = bytes;
        other[..8].fill(0xff);
        assert_eq!(decode_wrap(&other).unwrap_err(), WireError::WordRange { what: "program hash" });
    }
}
