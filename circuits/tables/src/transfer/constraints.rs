//! What a row of the transfer table must satisfy.

use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::TransferColumns;
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{self, MemoryAccess, TRANSFER, space},
};

/// The transfer table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer;

impl BaseAir<Felt> for Transfer {
    fn width(&self) -> usize {
        TransferColumns::<()>::WIDTH
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Transfer {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = TransferColumns::read(main.current_slice());
        let is_real: AB::Expr = row.is_real.into();
        let has_second: AB::Expr = row.has_second.into();
        let is_canonical: AB::Expr = row.is_canonical.into();

        builder.assert_bool_named(row.is_real, "F1 is_real is a bit");
        builder.assert_bool_named(row.has_second, "F1 has_second is a bit");
        // A row without a token must not touch memory: has_second counts accesses by itself.
        builder.assert_zero_named(
            has_second.clone() * (AB::Expr::ONE - is_real.clone()),
            "F2 a second word needs a first",
        );
        // The token's fields of a missing word are fixed, so that the sender's arithmetic can rely on them.
        let is_single = AB::Expr::ONE - has_second.clone();
        builder.assert_zero_named(is_single.clone() * row.old[1], "F3 a missing old word is zero");
        builder.assert_zero_named(is_single * row.new[1], "F3 a missing new word is zero");
        // p = 2^64 − 2^32 + 1: of the pairs of words low + 2^32 · high, those with high = 2^32 − 1 and low ≠ 0 stand for a second way to
        // write an element. With high = 2^32 − 1 there is no inverse, the factor is is_canonical, and low must be 0.
        let headroom = AB::Expr::from_u64((1 << 32) - 1) - row.new[1];
        builder.assert_zero_named(
            (is_canonical.clone() - headroom * row.headroom_inverse) * row.new[0],
            "F4 a canonical element is below p",
        );

        TRANSFER.receive(
            builder,
            [
                row.timestamp.into(),
                row.address.into(),
                has_second.clone(),
                is_canonical,
                row.old[0].into(),
                row.old[1].into(),
                row.new[0].into(),
                row.new[1].into(),
            ],
            is_real.clone(),
        );
        for (index, count) in [is_real, has_second].into_iter().enumerate() {
            let access = MemoryAccess {
                space: AB::Expr::from_u32(space::MEMORY),
                address: row.address + AB::Expr::from_usize(4 * index),
                previous_value: row.old[index].into(),
                value: row.new[index].into(),
                previous_timestamp: row.previous_timestamp[index].into(),
                timestamp: row.timestamp.into(),
                gap_low: row.gap_low[index].into(),
            };
            buses::access(builder, access, count.clone());
            buses::check_word(builder, row.new[index], row.new_low[index], count);
        }
    }
}
