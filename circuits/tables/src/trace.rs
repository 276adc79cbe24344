//! What filling traces has in common.

use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;
use p3_maybe_rayon::prelude::*;
use thiserror::Error;

use crate::{Felt, check::Trace, image::ImageTooLarge, secp256k1::trace::CurveError};

/// Why a run does not fit a shape's tables.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TraceError {
    /// A table is too low for the run.
    #[error(
        "table {table} needs {rows} rows and has {height}: cut the batch into smaller segments, or use a larger shape"
    )]
    TooManyRows {
        /// The table.
        table: &'static str,
        /// The rows that the run needs.
        rows: usize,
        /// The rows that the table has.
        height: usize,
    },
    /// The image itself is too large.
    #[error(transparent)]
    Image(#[from] ImageTooLarge),
    /// The run did not make public values.
    #[error("the run committed no public values")]
    NoCommit,
    /// The run did not end well.
    #[error("the run halted with code {exit_code}, and only halt(0) can be proven")]
    ExitCode {
        /// Its exit code.
        exit_code: u32,
    },
    /// The records are not those of a run of this image.
    #[error("the records do not fit the image: {what}")]
    WrongRecords {
        /// What is wrong.
        what: String,
    },
    /// An `ecrecover` that has no proof.
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// The records' private input is not what the memory regions allow, or the interpreter left something inconsistent behind.
    #[error("bus {bus} was asked for {fields:?}, which is no fact")]
    NoFact {
        /// The bus.
        bus: &'static str,
        /// The message.
        fields: Vec<u64>,
    },
}

/// A trace being filled from the top.
#[derive(Debug)]
pub struct Rows<const WIDTH: usize> {
    values: Vec<Felt>,
    filled: usize,
}

impl<const WIDTH: usize> Rows<WIDTH> {
    /// An empty trace with room for `rows` rows of the given height.
    ///
    /// # Errors
    ///
    /// [`TraceError::TooManyRows`].
    pub fn new(table: &'static str, rows: usize, height: usize) -> Result<Self, TraceError> {
        if rows > height {
            return Err(TraceError::TooManyRows { table, rows, height });
        }
        Ok(Self { values: vec![Felt::ZERO; height * WIDTH], filled: 0 })
    }

    /// Fills one row per item, in parallel.
    ///
    /// # Panics
    ///
    /// If there are more items than were announced.
    pub fn extend<T: Sync>(&mut self, items: &[T], fill: impl Fn(&T, &mut [Felt]) + Sync) {
        let rest = &mut self.values[self.filled * WIDTH..];
        assert!(items.len() * WIDTH <= rest.len(), "more rows than announced");
        rest.par_chunks_exact_mut(WIDTH).zip(items.par_iter()).for_each(|(cells, item)| fill(item, cells));
        self.filled += items.len();
    }

    /// Fills the rest with padding.
    #[must_use]
    pub fn pad(mut self, fill: impl Fn(&mut [Felt]) + Send + Sync) -> Trace {
        self.values[self.filled * WIDTH..].par_chunks_exact_mut(WIDTH).for_each(fill);
        RowMajorMatrix::new(self.values, WIDTH)
    }

    /// Leaves the rest zero.
    #[must_use]
    pub fn pad_with_zeros(self) -> Trace {
        RowMajorMatrix::new(self.values, WIDTH)
    }
}

/// The bytes of a word, least significant first.
pub fn bytes(word: u32) -> [Felt; 4] {
    word.to_le_bytes().map(Felt::from_u8)
}

/// The low 16 bits of a word.
pub fn low_limb(word: u32) -> Felt {
    Felt::from_u16(word as u16)
}

/// The two 16-bit limbs of a word, least significant first.
pub fn limbs(word: u32) -> [Felt; 2] {
    [low_limb(word), low_limb(word >> 16)]
}
