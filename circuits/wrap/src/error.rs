//! What can go wrong, and with which values.

use ark_relations::gr1cs::SynthesisError;

/// Errors of building, keying, proving and verifying the wrap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The inner circuit uses a gate that the wrap has no constraints for.
    #[error("the inner circuit uses the gate {gate}, which the wrap does not know")]
    UnknownGate {
        /// plonky2's name of the gate.
        gate: String,
    },
    /// The inner circuit uses a feature of plonky2 that the wrap does not implement.
    #[error("the inner circuit uses {feature}, which the wrap does not implement")]
    Unsupported {
        /// The feature.
        feature: &'static str,
    },
    /// The inner circuit's parameters lie outside what the wrap's arithmetic is proven for.
    #[error("the inner circuit's {parameter} is {got}, and the wrap takes {expected}")]
    Parameter {
        /// Which parameter.
        parameter: &'static str,
        /// The accepted values.
        expected: String,
        /// The value found.
        got: usize,
    },
    /// A part of the proof has another length than the circuit says.
    #[error("the proof's {field} has length {got}, expected {expected}")]
    ProofShape {
        /// Which part.
        field: &'static str,
        /// The length that the circuit says.
        expected: usize,
        /// The length found.
        got: usize,
    },
    /// plonky2's own verifier refuses the inner proof.
    #[error("the inner proof does not verify: {reason}")]
    InnerProof {
        /// plonky2's words.
        reason: String,
    },
    /// A statement's element is out of range.
    #[error("public input {index} is {got}, above its limit {limit}")]
    PublicInputRange {
        /// Position among the inner proof's public inputs.
        index: usize,
        /// The value found.
        got: u64,
        /// The largest accepted value.
        limit: u64,
    },
    /// Building the constraint system failed.
    #[error("synthesis failed: {0}")]
    Synthesis(#[from] SynthesisError),
    /// The witness does not satisfy the constraint system.
    #[error("the witness does not satisfy the wrap circuit")]
    Unsatisfied,
    /// A key belongs to another circuit.
    #[error("the key is for circuit {got}, expected {expected}")]
    KeyOfAnotherCircuit {
        /// Digest of the circuit at hand.
        expected: String,
        /// Digest in the key file.
        got: String,
    },
    /// A key file is malformed.
    #[error("the key file is malformed: {reason}")]
    KeyFile {
        /// What is wrong with it.
        reason: String,
    },
    /// A key whose ceremony nobody has checked. Keys from a ceremony can be used once this crate checks contributions.
    #[error(
        "the key says that it comes from a ceremony of {contributions} contributions, which this version cannot check, so it is refused: \
         use development keys on local chains, or a version that checks contributions"
    )]
    UncheckedCeremony {
        /// Contributions that the header lists.
        contributions: usize,
    },
    /// The proof's encoding is not canonical or not on the curve.
    #[error("proof word {word} does not encode a proof: {reason}")]
    ProofEncoding {
        /// The first word of the offending point.
        word: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A Groth16 proof does not verify.
    #[error("the wrap proof does not verify")]
    InvalidProof,
}
