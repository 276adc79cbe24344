//! The columns of the curve table: what a call is about, what the program says, and seven groups of sixteen limbs.

use super::{arithmetic::LIMBS, constants::CHOICES};
use crate::columns::columns;

columns! {
    /// The preprocessed columns: one row of the program, which repeats for every call. See [`super::program`].
    pub struct ProgramColumns {
        /// a and b are the values named.
        uses_ab,
        /// The name of a.
        name_a,
        /// The name of b.
        name_b,
        /// c is the value named; without, the row defines the name.
        uses_c,
        /// The name of c. Nobody uses name 0.
        name_c,
        /// d is the value named; without, the row defines the name.
        uses_d,
        /// The name of d.
        name_d,
        /// a · b + c = d + q · modulus.
        relates,
        /// The modulus is p.
        modulo_prime,
        /// The modulus is n. With neither, the relation holds as it stands.
        modulo_order,
        /// c and d are constants: see [`super::program::Constant`].
        constants: [6],
        /// The low limbs of c are words read from memory.
        is_input,
        /// The low limbs of c are words written to memory.
        is_output,
        /// Input, output: the words' byte offset. Scalar: the lower word's position. End of a word: the position in u.
        index,
        /// The next row's c is this one's without its lowest four limbs.
        shifts,
        /// The low limbs of c are words of a scalar.
        is_scalar,
        /// First half of a step: (a, b) becomes twice itself and the row before's (a, b).
        is_step,
        /// (a, b) starts as: see [`super::program::Origin`].
        origins: [3],
        /// (a, b) is chosen by a bit of u and a bit of v.
        selects,
        /// The bits of a word of u and v are complete.
        ends_word,
        /// The first row of a call.
        is_head,
    }
}

columns! {
    /// The main columns.
    pub struct CurveColumns {
        /// Does the block of rows serve a call?
        is_real,
        /// The clock of the call.
        clock,
        /// Where its words are.
        address,
        /// The parity asked of R.y.
        parity,
        /// Is there a point R?
        is_liftable,
        /// Is Q finite? This is the status.
        is_finite,
        /// Which starting point, one-hot.
        choice: [CHOICES],
        /// Is the step really made?
        is_on,
        /// The bit of u that selects.
        bit_u,
        /// The bit of v that selects.
        bit_v,
        /// The bits of u since the last end of a word.
        word_u,
        /// The bits of v since the last end of a word.
        word_v,
        /// How often c is on CURVE_VALUE: once if used, minus its uses if defined.
        count_c,
        /// The same for d.
        count_d,
        /// The words found in memory.
        old: [2],
        /// D · (D − p) · (D + p) for D = (the row before's a) − a, all evaluated in the field.
        distance,
        /// Its inverse, in steps.
        distance_inverse,
        /// First factor. Step: x of what is doubled. Elsewhere: x of the point the next step adds.
        a: [LIMBS],
        /// Second factor. Step: y of what is doubled. Elsewhere: y of the point the next step adds.
        b: [LIMBS],
        /// Quotient. Step and the row after: slope.
        q: [LIMBS],
        /// Summand. Step: x of the intermediate sum. The row after: x of the sum.
        c: [LIMBS],
        /// Result. Step: carries of the third relation. The row after: y of the sum.
        d: [LIMBS],
        /// Low limbs of carries.
        carry_low: [16],
        /// High limbs of carries.
        carry_high: [16],
    }
}
