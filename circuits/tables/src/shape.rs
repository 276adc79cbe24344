//! Shapes: the fixed heights of all tables in a proof.
//!
//! A circuit that verifies proofs is made for one set of heights, so there are few sets, and every run is padded to one. FRI stops at every distinct
//! height to take further columns in, so few distinct heights are used.

use joule_machine::{Image as MachineImage, Records};

use crate::{
    bitwise::Bitwise,
    bytes::Bytes,
    bytes::constraints::HEIGHT as BYTES_HEIGHT,
    cpu::Cpu,
    image::Image,
    keccak::{self, Keccak},
    memory::Memory,
    narrow::Narrow,
    output::Output,
    poseidon2::{
        permutation::{self, Permutation},
        sponge::{self, Sponge},
        tree::{self, Tree},
    },
    product::Product,
    quotient::Quotient,
    secp256k1::{self, Curve},
    table::{JouleAir, TableName},
    trace::TraceError,
    transfer::{self, Transfer},
};

/// A set of heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// For tests: a run of some ten thousand cycles of a small program.
    Tiny,
    /// For a batch of few payments.
    Small,
    /// For a full segment.
    Large,
}

impl Shape {
    /// Every shape that a deployed program is proven in, in order of size. The program hash covers these.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Large => "large",
        }
    }

    /// The base-two logarithm of a table's height.
    #[must_use]
    pub const fn height_bits(self, table: TableName) -> usize {
        match table {
            // One row per 16-bit value, whatever the run.
            TableName::Bytes => BYTES_HEIGHT.ilog2() as usize,
            TableName::Output => 10,
            // About ten thousand cycles, one signature and three hundred permutations to a payment.
            TableName::Transfer | TableName::Permutation | TableName::Sponge | TableName::Tree | TableName::Curve => {
                match self {
                    Self::Tiny => 10,
                    Self::Small => 14,
                    Self::Large => 16,
                }
            }
            // Six permutations of 48 rows to a payment. It is the widest table, so it is as low as it can be.
            TableName::Keccak => match self {
                Self::Tiny => 10,
                Self::Small => 13,
                Self::Large => 15,
            },
            _ => match (self, table) {
                (Self::Tiny, TableName::Image) => 13,
                (Self::Tiny, TableName::Cpu) => 13,
                (Self::Tiny, _) => 10,
                (Self::Small, TableName::Image) => 16,
                (Self::Small, TableName::Cpu) => 18,
                (Self::Small, TableName::Quotient) => 10,
                (Self::Small, _) => 16,
                (Self::Large, TableName::Image) => 16,
                (Self::Large, TableName::Cpu) => 20,
                (Self::Large, TableName::Quotient) => 13,
                (Self::Large, _) => 18,
            },
        }
    }

    /// A table's height.
    #[must_use]
    pub const fn height(self, table: TableName) -> usize {
        1 << self.height_bits(table)
    }

    /// The tables of a proof about an image, in order.
    ///
    /// # Errors
    ///
    /// [`TraceError::Image`], if the image is too large for the shape.
    pub fn tables(self, image: &MachineImage) -> Result<Vec<JouleAir>, TraceError> {
        let image = Image::new(image, self.height(TableName::Image))?;
        Ok(TableName::ALL.iter().map(|&table| self.table(table, image.clone())).collect())
    }

    /// The tables of a proof about an image that is known by its commitment only.
    #[must_use]
    pub fn tables_without_image(self) -> Vec<JouleAir> {
        TableName::ALL.iter().map(|&table| self.table(table, Image::unknown())).collect()
    }

    fn table(self, table: TableName, image: Image) -> JouleAir {
        match table {
            TableName::Image => JouleAir::Image(image),
            TableName::Cpu => JouleAir::Cpu(Cpu),
            TableName::Bitwise => JouleAir::Bitwise(Bitwise),
            TableName::Narrow => JouleAir::Narrow(Narrow),
            TableName::Product => JouleAir::Product(Product),
            TableName::Quotient => JouleAir::Quotient(Quotient),
            TableName::Memory => JouleAir::Memory(Memory),
            TableName::Bytes => JouleAir::Bytes(Bytes),
            TableName::Output => JouleAir::Output(Output { height: self.height(table) }),
            TableName::Transfer => JouleAir::Transfer(Transfer),
            TableName::Permutation => JouleAir::Permutation(Permutation),
            TableName::Sponge => JouleAir::Sponge(Sponge),
            TableName::Tree => JouleAir::Tree(Tree),
            TableName::Curve => JouleAir::Curve(Curve { height: self.height(table) }),
            TableName::Keccak => JouleAir::Keccak(Keccak { height: self.height(table) }),
        }
    }

    /// The smallest of the deployed shapes that a run fits, judged by its cycles and its precompiles.
    #[must_use]
    pub fn for_run(records: &Records) -> Option<Self> {
        let rows = [
            (TableName::Cpu, records.cycles.len() + 2),
            (TableName::Transfer, transfer::trace::rows(records)),
            (TableName::Permutation, permutation::trace::rows(records)),
            (TableName::Sponge, sponge::trace::rows(records)),
            (TableName::Tree, tree::trace::rows(records)),
            (TableName::Curve, secp256k1::trace::rows(records)),
            (TableName::Keccak, keccak::trace::rows(records)),
        ];
        Self::ALL.into_iter().find(|shape| rows.iter().all(|&(table, rows)| rows <= shape.height(table)))
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
