//! Built circuits, and their keys alone, as bytes with a header that says what they are.
//!
//! ```text
//! "JOULECIR" ‖ version u32 ‖ fingerprint (32) ‖ payload length u64 ‖ SHA-256 of the payload (32) ‖ payload
//! "JOULECVK" ‖ the same
//! ```
//! Integers are little-endian. The payload is a list of circuits, each as its inputs and plonky2's own encoding; or one circuit's key, which
//! has kilobytes where the circuit has hundreds of megabytes, as the length of its layout, the layout, and the commitment.
//!
//! The payload's hash guards against truncation and decay, and everything is checked before plonky2 decodes anything.
//! It does not guard against somebody who can write the file: whoever keeps circuits keeps them where only the prover
//! writes. Soundness does not hang on it either way, because the contract knows the wrap's key.

use plonky2::plonk::circuit_data::{CircuitData, CommonCircuitData, VerifierOnlyCircuitData};
use plonky2::plonk::config::GenericConfig;
use plonky2::util::serialization::{Buffer, Read as _, Write as _};
use sha2::{Digest as _, Sha256};

use crate::circuit::{Circuit, Key};
use crate::field::{D, F};
use crate::fingerprint::Fingerprint;
use crate::gates::{GateSerializer, GeneratorSerializer};

/// Version of the code that builds circuits and of this format. Whoever changes a circuit changes this number; the test
/// `circuits_are_pinned` says when.
pub const VERSION: u32 = 1;

const CIRCUITS: &[u8; 8] = b"JOULECIR";
const KEY: &[u8; 8] = b"JOULECVK";
const HEADER: usize = 8 + 4 + 32 + 8 + 32;
/// More circuits than any file holds.
const CIRCUITS_MAX: usize = 64;

/// Why a kept circuit is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The bytes are not a circuit file, or not a key file where one is wanted.
    #[error("not a file of the kind that is wanted")]
    Magic,
    /// The file was written by another version of this crate.
    #[error("circuit file of version {got}, this is version {expected}")]
    Version {
        /// Version of this crate.
        expected: u32,
        /// Version of the file.
        got: u32,
    },
    /// The file holds circuits of another description.
    #[error("circuit file for {got:02x?}, wanted {expected:02x?}")]
    Fingerprint {
        /// The description wanted.
        expected: Fingerprint,
        /// The description in the header.
        got: Fingerprint,
    },
    /// The file is cut or has something after its end.
    #[error("circuit file of {got} bytes, expected {expected}")]
    Length {
        /// Bytes the header promises.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The payload is damaged.
    #[error("the payload does not have the hash in the header")]
    Damaged,
    /// The payload does not decode; with an intact payload this is a bug of ours.
    #[error("the payload does not decode")]
    Payload,
}

/// Encodes circuits built from one description.
///
/// # Errors
/// If a circuit contains a gate or generator the serialisers do not know.
pub fn encode<C: GenericConfig<D, F = F>>(
    fingerprint: Fingerprint,
    circuits: &[&Circuit<C>],
) -> Result<Vec<u8>, CacheError> {
    let mut payload = Vec::new();
    let failed = |_| CacheError::Payload;
    payload.write_usize(circuits.len()).map_err(failed)?;
    for circuit in circuits {
        payload.write_target_vec(&circuit.inputs).map_err(failed)?;
        let data = circuit.data.to_bytes(&GateSerializer, &GeneratorSerializer).map_err(failed)?;
        payload.write_usize(data.len()).map_err(failed)?;
        payload.extend(data);
    }
    Ok(with_header(CIRCUITS, fingerprint, &payload))
}

/// Encodes the key of the circuit with this fingerprint.
///
/// # Errors
/// If the circuit contains a gate the serialiser does not know.
pub fn encode_key<C: GenericConfig<D, F = F>>(fingerprint: Fingerprint, key: &Key<C>) -> Result<Vec<u8>, CacheError> {
    let failed = |_| CacheError::Payload;
    let layout = key.common.to_bytes(&GateSerializer).map_err(failed)?;
    let commitment = key.verifier.to_bytes().map_err(failed)?;
    let payload = [&(layout.len() as u64).to_le_bytes()[..], &layout, &commitment].concat();
    Ok(with_header(KEY, fingerprint, &payload))
}

/// Decodes the key of the circuit with this fingerprint.
///
/// # Errors
/// If the bytes are damaged, of another version, or for another circuit.
pub fn decode_key<C: GenericConfig<D, F = F>>(expected: Fingerprint, bytes: &[u8]) -> Result<Key<C>, CacheError> {
    let payload = checked_payload(KEY, expected, bytes)?;
    let failed = |_| CacheError::Payload;
    let (length, rest) = payload.split_first_chunk().ok_or(CacheError::Payload)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| CacheError::Payload)?;
    let (layout, commitment) = rest.split_at_checked(length).ok_or(CacheError::Payload)?;
    Ok(Key {
        common: CommonCircuitData::from_bytes(layout.to_vec(), &GateSerializer).map_err(failed)?,
        verifier: VerifierOnlyCircuitData::from_bytes(commitment.to_vec()).map_err(failed)?,
    })
}

fn with_header(magic: &[u8; 8], fingerprint: Fingerprint, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(magic);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(fingerprint.0);
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(payload));
    bytes.extend(payload);
    bytes
}

/// Decodes circuits built from the description with this fingerprint.
///
/// # Errors
/// If the bytes are damaged, of another version, or for another description.
pub fn decode<C: GenericConfig<D, F = F>>(expected: Fingerprint, bytes: &[u8]) -> Result<Vec<Circuit<C>>, CacheError> {
    let mut rest = checked_payload(CIRCUITS, expected, bytes)?;
    let failed = |_| CacheError::Payload;
    let mut buffer = Buffer::new(rest);
    let count = buffer.read_usize().map_err(failed)?;
    if count > CIRCUITS_MAX {
        return Err(CacheError::Payload);
    }
    rest = &rest[buffer.pos()..];
    let mut circuits = Vec::with_capacity(count);
    for _ in 0..count {
        let mut buffer = Buffer::new(rest);
        let inputs = buffer.read_target_vec().map_err(failed)?;
        let length = buffer.read_usize().map_err(failed)?;
        rest = &rest[buffer.pos()..];
        let (data, after) = rest.split_at_checked(length).ok_or(CacheError::Payload)?;
        let data = CircuitData::from_bytes(data, &GateSerializer, &GeneratorSerializer).map_err(failed)?;
        circuits.push(Circuit { data, inputs });
        rest = after;
    }
    if rest.is_empty() { Ok(circuits) } else { Err(CacheError::Payload) }
}

/// The payload, once everything the header says about it holds.
fn checked_payload<'a>(magic: &[u8; 8], expected: Fingerprint, bytes: &'a [u8]) -> Result<&'a [u8], CacheError> {
    if !bytes.starts_with(magic) {
        return Err(CacheError::Magic);
    }
    let (header, payload) = bytes
        .split_at_checked(HEADER)
        .ok_or(CacheError::Length { expected: HEADER as u64, got: bytes.len() as u64 })?;
    let version = u32::from_le_bytes(array(header, 8));
    if version != VERSION {
        return Err(CacheError::Version { expected: VERSION, got: version });
    }
    let got = Fingerprint(array(header, 12));
    if got != expected {
        return Err(CacheError::Fingerprint { expected, got });
    }
    let length = u64::from_le_bytes(array(header, 44));
    if length != payload.len() as u64 {
        let expected = length.saturating_add(HEADER as u64);
        return Err(CacheError::Length { expected, got: bytes.len() as u64 });
    }
    if array(header, 52) != <[u8; 32]>::from(Sha256::digest(payload)) {
        return Err(CacheError::Damaged);
    }
    Ok(payload)
}

/// `N` bytes of the header, which is long enough for every field.
fn array<const N: usize>(header: &[u8], start: usize) -> [u8; N] {
    core::array::from_fn(|i| header[start + i])
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeField64 as _;

    use super::*;
    use crate::circuit::Inner;
    use crate::profile::Profile;
    use crate::program::Program;
    use crate::segment::SegmentCircuit;
    use crate::testing::{TestSystem, small_parameters};

    #[test]
    fn a_kept_segment_circuit_proves_the_same_and_a_wrong_file_is_refused() {
        let system = TestSystem::new(small_parameters(), 5, 5);
        let fingerprint = Fingerprint::segment(Profile::Fast, &system.shape, 0, 1);
        let built = SegmentCircuit::build(Profile::Fast, &system.shape, 0, 1).unwrap();
        let bytes = built.to_bytes(fingerprint).unwrap();
        let kept = SegmentCircuit::from_bytes(fingerprint, 1, &bytes).unwrap();
        assert_eq!(kept.circuit.data.verifier_only, built.circuit.data.verifier_only);
        assert_eq!(kept.circuit.data.common, built.circuit.data.common);
        assert_eq!(kept.circuit.inputs, built.circuit.inputs);
        let test = system.prove(9, [3; 8]);
        let program = Program::new(vec![test.restored.preprocessed_cap.clone()]);
        let proof = kept.prove(&test.restored, &program).unwrap();
        built.circuit.verify(proof).unwrap();

        // Building is deterministic: the same description gives the same circuit.
        let again = SegmentCircuit::build(Profile::Fast, &system.shape, 0, 1).unwrap();
        assert_eq!(again.circuit.data.verifier_only, built.circuit.data.verifier_only);

        let read = |bytes: &[u8]| decode::<Inner>(fingerprint, bytes).map(|_| ()).unwrap_err();
        assert_eq!(read(&[]), CacheError::Magic);
        assert_eq!(read(&bytes[..20]), CacheError::Length { expected: HEADER as u64, got: 20 });
        assert!(matches!(read(&bytes[..bytes.len() - 1]), CacheError::Length { .. }));
        let change = |position: usize| {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            read(&changed)
        };
        assert_eq!(change(0), CacheError::Magic);
        assert!(matches!(change(8), CacheError::Version { .. }));
        assert!(matches!(change(12), CacheError::Fingerprint { .. }));
        assert!(matches!(change(44), CacheError::Length { .. }));
        assert_eq!(change(52), CacheError::Damaged);
        assert_eq!(change(HEADER), CacheError::Damaged);
        assert_eq!(change(bytes.len() - 1), CacheError::Damaged);

        a_kept_key_is_the_circuits(fingerprint, &kept, &bytes);
    }

    /// What stands for a circuit that is not read yet must lead to the same circuits above it.
    fn a_kept_key_is_the_circuits(fingerprint: Fingerprint, circuit: &SegmentCircuit, circuit_bytes: &[u8]) {
        let key = circuit.circuit.key();
        let bytes = encode_key(fingerprint, &key).unwrap();
        let kept: Key<Inner> = decode_key(fingerprint, &bytes).unwrap();
        assert_eq!((&kept.common, &kept.verifier), (&key.common, &key.verifier));
        assert_eq!(
            Fingerprint::aggregation(Profile::Fast, &[kept]),
            Fingerprint::aggregation(Profile::Fast, &[circuit.circuit.key()])
        );

        let read = |bytes: &[u8]| decode_key::<Inner>(fingerprint, bytes).map(|_| ()).unwrap_err();
        assert_eq!(read(circuit_bytes), CacheError::Magic);
        assert_eq!(decode::<Inner>(fingerprint, &bytes).map(|_| ()).unwrap_err(), CacheError::Magic);
        for at in (0..bytes.len()).step_by(bytes.len() / 50) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            read(&changed);
            read(&bytes[..at]);
        }
        // With its hash right, a length that is wrong is still no key.
        let payload = &bytes[HEADER..];
        for length in [0, payload.len() as u64, u64::MAX] {
            let payload = [&length.to_le_bytes()[..], &payload[8..]].concat();
            assert_eq!(read(&with_header(KEY, fingerprint, &payload)), CacheError::Payload);
        }
        assert_eq!(read(&with_header(KEY, fingerprint, &[])), CacheError::Payload);
    }

    #[test]
    fn fingerprints_tell_descriptions_apart() {
        let parameters = small_parameters();
        let one = TestSystem::new(parameters, 5, 5);
        let fingerprint =
            |system: &TestSystem, profile, index, shapes| Fingerprint::segment(profile, &system.shape, index, shapes);
        let first = fingerprint(&one, Profile::Fast, 0, 1);
        assert_eq!(first, fingerprint(&TestSystem::new(parameters, 5, 5), Profile::Fast, 0, 1));
        let mut others = vec![
            fingerprint(&one, Profile::Proven, 0, 1),
            fingerprint(&one, Profile::Fast, 0, 2),
            fingerprint(&one, Profile::Fast, 1, 2),
            fingerprint(&TestSystem::new(parameters, 6, 5), Profile::Fast, 0, 1),
            fingerprint(&TestSystem::new(parameters, 5, 6), Profile::Fast, 0, 1),
        ];
        let fewer = crate::parameters::StarkParameters { queries: 2, ..parameters };
        others.push(fingerprint(&TestSystem::new(fewer, 5, 5), Profile::Fast, 0, 1));
        // One constraint differs and nothing else.
        let mut changed = TestSystem::new(parameters, 5, 5);
        changed.shape.tables[0].constraints.swap(0, 1);
        others.push(fingerprint(&changed, Profile::Fast, 0, 1));
        others.push(first);
        let count = others.len();
        others.sort_by_key(|fingerprint| fingerprint.0);
        others.dedup();
        assert_eq!(others.len(), count);
    }

    /// Changes exactly when a change of code changes a circuit. Then raise [`VERSION`], or old files would be used for
    /// new circuits, and set the new value here.
    #[test]
    fn circuits_are_pinned() {
        let system = TestSystem::new(small_parameters(), 5, 5);
        let built = SegmentCircuit::build(Profile::Fast, &system.shape, 0, 1).unwrap();
        let digest = built.circuit.data.verifier_only.circuit_digest.elements;
        let digest = digest.map(|element| crate::field::to_plonky3(element).as_canonical_u64());
        assert_eq!((VERSION, digest), (1, PINNED));
    }

    const PINNED: [u64; 4] = [1020011650093581580, 12294709259784483650, 7371651908823076427, 14782763269063385737];
}
