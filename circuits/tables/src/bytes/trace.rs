//! Counting lookups.

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::dense::RowMajorMatrix;

use super::{columns::BytesColumns, constraints::HEIGHT};
use crate::{
    Felt,
    buses::Bus,
    check::{Sink, Trace},
};

/// The buses that the bytes table provides, in the order of its multiplicities.
pub const PROVIDED: [&str; BytesColumns::WIDTH] = ["RANGE", "SIGN", "POWER", "AND"];

/// Counts the lookups of other tables in the bytes table.
#[derive(Clone, Debug)]
pub struct Lookups {
    counts: Vec<[u32; BytesColumns::WIDTH]>,
    /// A message that the bytes table has no fact for, if one was looked up: the witness is wrong.
    pub wrong: Option<(&'static str, Vec<u64>)>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { counts: vec![[0; BytesColumns::WIDTH]; HEIGHT], wrong: None }
    }
}

impl Sink for Lookups {
    fn constraint(&mut self, _: Felt, _: impl p3_air::Name) {}

    fn message(&mut self, bus: &'static Bus, fields: &[Felt], count: Felt) {
        let (kind, value) = match (bus.name, fields) {
            ("RANGE", [value]) => (0, value.as_canonical_u64()),
            ("SIGN", [value, _]) => (1, value.as_canonical_u64()),
            ("POWER", [value, _]) => (2, value.as_canonical_u64()),
            // A byte above 255 would land on another row; those are caught by the bound on the sum only if it is large, so bound each.
            ("AND", [left, right, _]) => match (left.as_canonical_u64(), right.as_canonical_u64()) {
                (left @ 0..256, right @ 0..256) => (3, left + 256 * right),
                _ => (3, u64::MAX),
            },
            _ => return,
        };
        if count == Felt::ZERO {
            return;
        }
        match usize::try_from(value).ok().and_then(|value| self.counts.get_mut(value)) {
            Some(counts) => counts[kind] += 1,
            None => {
                self.wrong.get_or_insert_with(|| (bus.name, fields.iter().map(Felt::as_canonical_u64).collect()));
            }
        }
    }
}

impl Lookups {
    /// Adds the counts of another part of the witness.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        self.wrong = self.wrong.or(other.wrong);
        self
    }

    /// The main trace of the bytes table.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let values = self.counts.iter().flatten().map(|&count| Felt::from_u32(count)).collect();
        RowMajorMatrix::new(values, BytesColumns::WIDTH)
    }
}
