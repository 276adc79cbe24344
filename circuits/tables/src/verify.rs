//! Verifying a proof, from bytes that anybody may have sent.

use std::sync::{Arc, OnceLock};

use joule_protocol::{Digest, PublicValues};
use p3_air::{Air, BaseAir};
use p3_batch_stark::{
    CommonData, ProverData,
    common::{GlobalPreprocessed, PreprocessedInstanceMeta},
    verify_batch,
};
use p3_field::PrimeCharacteristicRing;
use p3_lookup::{InteractionBuilder, Lookups, check_bus_widths};
use thiserror::Error;

use crate::{
    Felt,
    config::{Config, DIGEST, Profile},
    output::constraints::PUBLIC_VALUES,
    program::{Cap, Program},
    proof::{DecodeError, Proof},
    shape::Shape,
    table::{JouleAir, TableName},
};

/// What a verifier must know of a program in one shape. Everything else follows from the shape.
#[derive(Clone)]
pub struct VerifyingKey {
    shape: Shape,
    cap: Cap,
    /// What follows from the two, once it is asked for.
    layout: Arc<OnceLock<Layout>>,
}

/// The tables and the layout of their buses, as the proof system's verifier takes them.
struct Layout {
    tables: Vec<JouleAir>,
    common: CommonData<Config>,
}

impl core::fmt::Debug for VerifyingKey {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("VerifyingKey")
            .field("shape", &self.shape)
            .field("cap", &self.cap)
            .finish_non_exhaustive()
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        (self.shape, &self.cap) == (other.shape, &other.cap)
    }
}

impl Eq for VerifyingKey {}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The bytes are no proof.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The statement is about another program.
    #[error("the statement is about program {expected}, this is {got}")]
    Program {
        /// The statement's program hash.
        expected: Digest,
        /// The hash of the program verified with.
        got: Digest,
    },
    /// The program has no key for the proof's shape.
    #[error("the program has no key for shape {shape}")]
    Shape {
        /// The proof's shape.
        shape: Shape,
    },
    /// The proof was made with another profile than the one asked for.
    #[error("the proof has profile {got}, expected {expected}")]
    Profile {
        /// The profile asked for.
        expected: Profile,
        /// The proof's.
        got: Profile,
    },
    /// A table of the proof has another height than the shape says.
    #[error("table {table} has height 2^{got}, expected 2^{expected}")]
    Height {
        /// The table.
        table: TableName,
        /// The logarithm of the shape's height.
        expected: usize,
        /// The logarithm of the proof's height.
        got: usize,
    },
    /// The proof is for another number of tables.
    #[error("the proof has {got} tables, expected {expected}")]
    Tables {
        /// The number of tables.
        expected: usize,
        /// The proof's.
        got: usize,
    },
    /// The proof system refuses it.
    #[error("the proof does not verify: {0}")]
    Refused(String),
}

impl Program {
    /// Verifies that a run of this program makes a statement true.
    ///
    /// `profile` is what the verifier insists on; it does not take the prover's word for it.
    ///
    /// # Errors
    ///
    /// [`VerifyError`], for anything but an honest proof of this statement.
    pub fn verify(&self, profile: Profile, statement: &PublicValues, bytes: &[u8]) -> Result<(), VerifyError> {
        if statement.program != self.hash() {
            return Err(VerifyError::Program { expected: statement.program, got: self.hash() });
        }
        let proof = Proof::decode(bytes)?;
        if proof.profile != profile {
            return Err(VerifyError::Profile { expected: profile, got: proof.profile });
        }
        let key =
            self.keys().iter().find(|key| key.shape == proof.shape).ok_or(VerifyError::Shape { shape: proof.shape })?;
        let elements = statement.elements();
        let public_values = core::array::from_fn(|index| Felt::from_u64(elements[DIGEST + index]));
        key.verify(profile, &public_values, &proof)
    }
}

impl VerifyingKey {
    /// The key with this preprocessed commitment.
    #[must_use]
    pub fn new(shape: Shape, cap: Cap) -> Self {
        Self { shape, cap, layout: Arc::default() }
    }

    /// The shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The preprocessed commitment.
    #[must_use]
    pub const fn cap(&self) -> &Cap {
        &self.cap
    }

    /// What the proof system's verifier is given: the commitment, and the layout of all buses.
    ///
    /// # Panics
    ///
    /// If the tables themselves are inconsistent, which tests rule out for every shape.
    #[must_use]
    pub fn common_data(&self, tables: &[JouleAir]) -> CommonData<Config> {
        let heights: Vec<usize> = tables.iter().map(|table| self.shape.height_bits(table.name())).collect();
        let bare: Vec<Bare<'_>> = tables.iter().map(Bare).collect();
        let data = ProverData::from_airs_and_degrees(&Profile::Fast.config(), &bare, &heights)
            .expect("nothing is committed to");
        let mut instances = Vec::with_capacity(tables.len());
        let mut matrix_to_instance = Vec::new();
        for (index, (table, &degree_bits)) in tables.iter().zip(&heights).enumerate() {
            let width = table.preprocessed_width();
            instances.push((width > 0).then(|| {
                matrix_to_instance.push(index);
                PreprocessedInstanceMeta { matrix_index: matrix_to_instance.len() - 1, width, degree_bits }
            }));
        }
        let preprocessed = GlobalPreprocessed { commitment: self.cap.clone(), instances, matrix_to_instance };
        let lookups: Vec<Lookups<Felt>> = data.common.lookups;
        check_bus_widths(&lookups).expect("all messages of a bus have one width");
        CommonData::new(Some(preprocessed), lookups)
    }

    /// Verifies a proof in this key's shape.
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub fn verify(
        &self,
        profile: Profile,
        public_values: &[Felt; PUBLIC_VALUES],
        proof: &Proof,
    ) -> Result<(), VerifyError> {
        // Heights are the prover's choice as far as the proof system is concerned; here they are not. (Range arguments and
        // the program hash speak about these heights.)
        let expected = TableName::ALL.len();
        let heights = &proof.batch.degree_bits;
        if heights.len() != expected {
            return Err(VerifyError::Tables { expected, got: heights.len() });
        }
        for (&table, &got) in TableName::ALL.iter().zip(heights) {
            let expected = self.shape.height_bits(table);
            if got != expected {
                return Err(VerifyError::Height { table, expected, got });
            }
        }
        let Layout { tables, common } = self.layout.get_or_init(|| {
            let tables = self.shape.tables_without_image();
            let common = self.common_data(&tables);
            Layout { tables, common }
        });
        let public_values: Vec<Vec<Felt>> = tables
            .iter()
            .map(|table| if table.name() == TableName::Output { public_values.to_vec() } else { Vec::new() })
            .collect();
        verify_batch(&profile.config(), tables, &proof.batch, &public_values, common)
            .map_err(|error| VerifyError::Refused(error.to_string()))
    }
}

/// A table without its preprocessed columns: lookups are laid out from it without committing to anything.
struct Bare<'a>(&'a JouleAir);

impl BaseAir<Felt> for Bare<'_> {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn preprocessed_width(&self) -> usize {
        self.0.preprocessed_width()
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        self.0.main_next_row_columns()
    }

    fn preprocessed_next_row_columns(&self) -> Vec<usize> {
        self.0.preprocessed_next_row_columns()
    }

    fn num_public_values(&self) -> usize {
        self.0.num_public_values()
    }
}

impl<AB: InteractionBuilder<F = Felt>> Air<AB> for Bare<'_> {
    fn eval(&self, builder: &mut AB) {
        self.0.eval(builder);
    }
}
