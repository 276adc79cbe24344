//! Shapes: the fixed heights of all tables in a proof.
//!
//! A circuit that verifies proofs is made for one set of heights, so there are few sets, and every run is padded to one. FRI stops at every distinct
//! height to take further columns in, so few distinct heights are used.

use joule_machine::Image as MachineImage;

use crate::{
    bitwise::Bitwise,
    bytes::Bytes,
    bytes::constraints::HEIGHT as BYTES_HEIGHT,
    cpu::Cpu,
    image::Image,
    keccak::Keccak,
    memory::Memory,
    narrow::Narrow,
    output::Output,
    poseidon2::{permutation::Permutation, sponge::Sponge, tree::Tree},
    product::Product,
    quotient::Quotient,
    rows::RowCounts,
    secp256k1::Curve,
    table::{JouleAir, TableName},
    trace::TraceError,
    transfer::Transfer,
};

/// A set of heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// For tests: a run of some ten thousand cycles of a small program.
    Tiny,
    /// For a batch of few payments.
    Small,
    /// For a full segment of mixed payments, which costs the fewest cells a payment in it.
    Medium,
    /// For a block as full of the worst calls as its limits allow.
    Large,
}

impl Shape {
    /// Every shape that a deployed program is proven in, in order of size. The program hash covers these.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Every shape that a proof can be in, that of tests included, in order of size.
    pub const KNOWN: [Self; 4] = [Self::Tiny, Self::Small, Self::Medium, Self::Large];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// The base-two logarithm of a table's height.
    ///
    /// Fitted with `joule-prover bench tables`, which prints how full each table is. Few distinct heights are used, and what stands at one
    /// height is hashed together, so a table that is narrow or nearly empty stands with its neighbours.
    #[must_use]
    pub const fn height_bits(self, table: TableName) -> usize {
        use TableName::{
            Bitwise, Bytes, Cpu, Curve, Image, Keccak, Memory, Narrow, Output, Permutation, Product, Quotient, Sponge,
            Transfer, Tree,
        };
        match (self, table) {
            // One row per 16-bit value, whatever the run.
            (_, Bytes) => BYTES_HEIGHT.ilog2() as usize,
            (Self::Tiny, Image | Cpu) => 13,
            (Self::Tiny, _) => 10,

            // The image takes what it takes. It is the program hash's business, so shapes do not differ in it.
            (_, Image) => 16,
            (Self::Small, Cpu) => 18,
            (Self::Small, Bitwise | Narrow | Product) => 15,
            (Self::Small, Curve | Memory) => 14,
            // The widest table, so it is as low as it can be: 170 permutations.
            (Self::Small, Keccak | Transfer) => 13,
            (Self::Small, Permutation | Sponge | Tree | Quotient | Output) => 13,

            // Mixed payments fill cpu, bitwise and curve at some 82, all at once: the large shape's cpu, which counts most, would stand half empty.
            (Self::Medium, Cpu) => 19,
            (Self::Medium, Bitwise | Narrow | Product | Curve) => 16,
            // Payments share what they open and write, and take half of the rows that one sort of call alone does.
            (Self::Medium, Keccak | Transfer | Memory) => 15,
            (Self::Medium, Permutation | Sponge | Tree | Quotient | Output) => 13,

            // A block can be as full as its limits allow, and must have a proof: one full of the worst calls of each kind (`joule_workload::Extreme`)
            // fits. Measured at 120 transfers' gas: cpu 667,000, bitwise 86,000, narrow 41,000, product 71,000, memory 39,000, transfer 27,500,
            // permutation 23,000, sponge 8,500, tree 12,000, keccak 560 permutations, quotient 0 (`joule-prover trace --extremes`). Mixed payments share
            // their objects and need a quarter of the rows that updates of the tree do.
            (Self::Large, Cpu) => 20,
            (Self::Large, Bitwise | Narrow | Product) => 17,
            // 115 signatures, which bounds a block's gas to as many transfers.
            (Self::Large, Memory | Curve) => 16,
            // 682 permutations of Keccak-f.
            (Self::Large, Keccak | Transfer | Permutation | Sponge | Tree) => 15,
            (Self::Large, Quotient | Output) => 13,
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

    /// The smallest of the deployed shapes that has enough rows.
    #[must_use]
    pub fn for_rows(rows: &RowCounts) -> Option<Self> {
        Self::ALL.into_iter().find(|&shape| rows.check(shape).is_ok())
    }
}

impl core::fmt::Display for Shape {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use joule_machine::layout::{CLOCK_START, CLOCK_STRIDE};

    use super::*;

    /// Gaps between timestamps are checked to be below 2^32, and no clock of any row may be above.
    #[test]
    fn the_clock_fits_every_shape() {
        for shape in Shape::KNOWN {
            let rows = shape.height(TableName::Cpu) as u64;
            assert!(u64::from(CLOCK_START) + u64::from(CLOCK_STRIDE) * rows < 1 << 32, "{shape}");
        }
    }

    #[test]
    fn shapes_are_in_order_of_size() {
        for pair in Shape::KNOWN.windows(2) {
            assert!(TableName::ALL.iter().all(|&table| pair[0].height(table) <= pair[1].height(table)));
        }
        assert_eq!(Shape::KNOWN[1..], Shape::ALL);
    }
}
