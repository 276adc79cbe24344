//! Proving a run.

use joule_machine::{Image as MachineImage, Records};
use p3_batch_stark::{ProverData, StarkInstance, prove_batch};
use thiserror::Error;

use crate::{
    config::Profile,
    opening::{ProverConfig, into_verifiers},
    proof::Proof,
    shape::Shape,
    table::{JouleAir, TableName},
    trace::TraceError,
    verify::VerifyingKey,
    witness::Witness,
};

/// What a prover knows of a program in one shape: the tables and the committed preprocessed columns.
pub struct Setup {
    shape: Shape,
    image: MachineImage,
    tables: Vec<JouleAir>,
    data: ProverData<ProverConfig>,
}

impl core::fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_struct("Setup").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// Why a program cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The image does not fit the shape.
    #[error(transparent)]
    Image(#[from] TraceError),
    /// The preprocessed columns could not be committed to.
    #[error("commitment to preprocessed columns: {0}")]
    Commitment(String),
}

/// Why a run has no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProveError {
    /// The run does not fit, or is not one that can be proven.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The proof system failed.
    #[error("proof system: {0}")]
    System(String),
}

impl Setup {
    /// Sets a program up in a shape.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(shape: Shape, image: &MachineImage) -> Result<Self, SetupError> {
        let tables = shape.tables(image)?;
        let heights: Vec<usize> = TableName::ALL.iter().map(|&table| shape.height_bits(table)).collect();
        // The profile matters to queries only, and there are none here.
        let data = ProverData::from_airs_and_degrees(&Profile::Fast.prover_config(), &tables, &heights)
            .map_err(|error| SetupError::Commitment(error.to_string()))?;
        Ok(Self { shape, image: image.clone(), tables, data })
    }

    /// The shape.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> &[JouleAir] {
        &self.tables
    }

    /// What a verifier needs.
    ///
    /// # Panics
    ///
    /// Never: a setup has preprocessed columns.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        let preprocessed = self.data.common.preprocessed.as_ref().expect("there are preprocessed columns");
        VerifyingKey::new(self.shape, preprocessed.commitment.clone())
    }

    /// Fills the tables for a run.
    ///
    /// # Errors
    ///
    /// [`TraceError`].
    pub fn witness(&self, records: &Records) -> Result<Witness, TraceError> {
        Witness::new(self.shape, &self.tables, &self.image, records)
    }

    /// Proves a run.
    ///
    /// # Errors
    ///
    /// [`ProveError`]. Of a witness that breaks a constraint a proof is made all the same, and no verifier accepts it: check the
    /// witness first if in doubt.
    pub fn prove(&self, profile: Profile, records: &Records) -> Result<Proof, ProveError> {
        self.prove_witness(profile, &self.witness(records)?)
    }

    /// Proves a run from its filled tables.
    ///
    /// # Errors
    ///
    /// As [`Setup::prove`].
    pub fn prove_witness(&self, profile: Profile, witness: &Witness) -> Result<Proof, ProveError> {
        let instances: Vec<_> = self
            .tables
            .iter()
            .zip(&witness.traces)
            .map(|(air, trace)| StarkInstance {
                air,
                trace,
                public_values: witness.public_values_of(air.name()).to_vec(),
            })
            .collect();
        let batch = prove_batch(&profile.prover_config(), &instances, &self.data)
            .map_err(|error| ProveError::System(error.to_string()))?;
        Ok(Proof { shape: self.shape, profile, batch: into_verifiers(batch) })
    }
}
