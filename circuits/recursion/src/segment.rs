//! The segment circuit: a table proof, and the statement it makes.

use plonky2::iop::target::Target;
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::cache::{self, CacheError};
use crate::circuit::{Circuit, Inner, Proof, ProveError};
use crate::field::{D, DIGEST, F, Val, to_plonky2};
use crate::fingerprint::Fingerprint;
use crate::profile::{Layer, Profile};
use crate::program::{Program, program_hash};
use crate::proof::TableProof;
use crate::shape::Shape;
use crate::statement::{StatementTarget, TABLE_STATEMENT};
use crate::verifier;

/// Why a segment circuit cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// A program has no entry for this shape.
    #[error("shape {index} of a program with {shapes} shapes")]
    Index {
        /// Position of the shape.
        index: usize,
        /// Number of shapes.
        shapes: usize,
    },
    /// The proof has no preprocessed commitment, so there would be no program in it.
    #[error("shape {name} has no preprocessed columns")]
    NoProgram {
        /// Name of the shape.
        name: String,
    },
    /// Public values other than the statement would be left unconstrained.
    #[error("exactly one table must have public values, {expected} of them; the tables have {got:?}")]
    PublicValues {
        /// Public values of a statement.
        expected: usize,
        /// Public values by table.
        got: Vec<usize>,
    },
}

/// The circuit that verifies table proofs of one shape.
#[derive(Debug)]
pub struct SegmentCircuit {
    /// The circuit; its inputs are the proof's elements and the digests of the program's caps.
    pub circuit: Circuit<Inner>,
    shapes: usize,
}

impl SegmentCircuit {
    /// Builds the circuit of the shape at `index` among `shapes`.
    ///
    /// # Errors
    /// If the shape has no program or its public values are not one statement.
    pub fn build(profile: Profile, shape: &Shape, index: usize, shapes: usize) -> Result<Self, SegmentError> {
        let (builder, inputs) = Self::describe(profile, shape, index, shapes)?;
        Ok(Self { circuit: Circuit { data: builder.build(), inputs }, shapes })
    }

    /// The circuit before it is built, and its inputs.
    pub(crate) fn describe(
        profile: Profile,
        shape: &Shape,
        index: usize,
        shapes: usize,
    ) -> Result<(CircuitBuilder<F, D>, Vec<Target>), SegmentError> {
        if index >= shapes {
            return Err(SegmentError::Index { index, shapes });
        }
        if !shape.has_preprocessed() {
            return Err(SegmentError::NoProgram { name: shape.name.clone() });
        }
        let counts: Vec<usize> = shape.tables.iter().map(|table| table.public_values).collect();
        let holders: Vec<usize> = (0..counts.len()).filter(|&table| counts[table] > 0).collect();
        let &[holder] = holders.as_slice() else {
            return Err(SegmentError::PublicValues { expected: TABLE_STATEMENT, got: counts });
        };
        if counts[holder] != TABLE_STATEMENT {
            return Err(SegmentError::PublicValues { expected: TABLE_STATEMENT, got: counts });
        }

        let mut builder = CircuitBuilder::<F, D>::new(profile.plonky2(Layer::Segment));
        let (proof, _) = verifier::verify(&mut builder, shape);
        let digests: Vec<[Target; DIGEST]> = (0..shapes).map(|_| builder.add_virtual_target_arr()).collect();
        let program = program_hash(&mut builder, &proof.preprocessed_cap, &digests, index);
        let statement = StatementTarget::from_table(program, &proof.public_values[holder]);
        statement.check_ranges(&mut builder);
        builder.register_public_inputs(&statement.elements());

        let mut inputs = proof.elements();
        inputs.extend(digests.iter().flatten());
        Ok((builder, inputs))
    }

    /// The circuit as bytes to keep; see [`cache`].
    ///
    /// # Errors
    /// If the circuit cannot be encoded.
    pub fn to_bytes(&self, fingerprint: Fingerprint) -> Result<Vec<u8>, CacheError> {
        cache::encode(fingerprint, &[&self.circuit])
    }

    /// A kept circuit for a program of `shapes` shapes.
    ///
    /// # Errors
    /// If the bytes are not the circuit with this fingerprint.
    pub fn from_bytes(fingerprint: Fingerprint, shapes: usize, bytes: &[u8]) -> Result<Self, CacheError> {
        let circuits: [_; 1] = cache::decode(fingerprint, bytes)?.try_into().map_err(|_| CacheError::Payload)?;
        let [circuit] = circuits;
        Ok(Self { circuit, shapes })
    }

    /// Proves that the table proof verifies and the program is `program`.
    ///
    /// # Errors
    /// If the proof does not verify, is of another shape, or is about another program.
    pub fn prove(&self, proof: &TableProof<Val>, program: &Program) -> Result<Proof<Inner>, ProveError> {
        if program.shapes() != self.shapes {
            return Err(ProveError::Size { name: "program", expected: self.shapes, got: program.shapes() });
        }
        let values: Vec<F> =
            proof.elements().into_iter().chain(program.digests().into_iter().flatten()).map(to_plonky2).collect();
        self.circuit.prove(&values)
    }
}
