//! The bytes table: no constraints of its own, since what it states is preprocessed.

use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;

use super::columns::{BytesColumns, BytesPreprocessed};
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{AND, POWER, RANGE, SIGN},
    check::Trace,
};

/// The number of 16-bit values, which is the table's height.
pub const HEIGHT: usize = 1 << 16;

/// Facts about 16-bit values and pairs of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl BaseAir<Felt> for Bytes {
    fn width(&self) -> usize {
        BytesColumns::WIDTH
    }

    fn preprocessed_width(&self) -> usize {
        BytesPreprocessed::WIDTH
    }

    fn preprocessed_trace(&self) -> Option<Trace> {
        let mut trace =
            RowMajorMatrix::new(vec![Felt::ZERO; HEIGHT * BytesPreprocessed::WIDTH], BytesPreprocessed::WIDTH);
        for (value, cells) in (0..HEIGHT as u32).zip(trace.values.chunks_exact_mut(BytesPreprocessed::WIDTH)) {
            let (low, high) = (value & 255, value >> 8);
            let row = BytesPreprocessed { low, high, and: low & high, top_bit: value >> 15, power: 1 << (value % 32) };
            let BytesPreprocessed { low, high, and, top_bit, power } = row;
            BytesPreprocessed {
                low: Felt::from_u32(low),
                high: Felt::from_u32(high),
                and: Felt::from_u32(and),
                top_bit: Felt::from_u32(top_bit),
                power: Felt::from_u32(power),
            }
            .write(cells);
        }
        Some(trace)
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }

    fn preprocessed_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Bytes {
    fn eval(&self, builder: &mut AB) {
        let (main, preprocessed) = (builder.main(), builder.preprocessed().clone());
        let counts = BytesColumns::read(main.current_slice());
        let fixed = BytesPreprocessed::read(preprocessed.current_slice());
        let value: AB::Expr = fixed.high * Felt::from_u32(256) + fixed.low;

        RANGE.provide(builder, [value.clone()], counts.range_count);
        SIGN.provide(builder, [value.clone(), fixed.top_bit.into()], counts.sign_count);
        POWER.provide(builder, [value, fixed.power.into()], counts.power_count);
        AND.provide(builder, [fixed.low.into(), fixed.high.into(), fixed.and.into()], counts.and_count);
    }
}
