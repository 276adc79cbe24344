//! The interface between a table's constraints and whatever evaluates them.
//!
//! A table is a plain [`p3_air::Air`] whose builder is a [`TableBuilder`]: it asserts with a name (`assert_zero_named` and its siblings, from
//! Plonky3) and speaks on buses ([`crate::buses`]). Plonky3's own builders know no names, so [`Unnamed`] wraps any of them;
//! [`crate::check`] has the builder that keeps names.

use p3_air::{AirBuilder, NamedAirBuilder, PassthroughNamedAirBuilder};
use p3_field::PrimeCharacteristicRing;
use p3_lookup::{Count, InteractionBuilder};

use crate::Felt;

/// The largest degree of any constraint, a bus's included: with a blowup of four the quotient then has two chunks, and two
/// messages of one bus share an auxiliary column.
pub const DEGREE_MAX: usize = 3;

/// What a table's constraints are written against.
pub trait TableBuilder: AirBuilder<F = Felt> + NamedAirBuilder + InteractionBuilder {}

impl<T: AirBuilder<F = Felt> + NamedAirBuilder + InteractionBuilder> TableBuilder for T {}

/// Lets a builder without names evaluate a table; it drops the names.
pub struct Unnamed<'a, AB>(&'a mut AB);

impl<'a, AB> Unnamed<'a, AB> {
    /// Wraps a builder.
    pub const fn new(builder: &'a mut AB) -> Self {
        Self(builder)
    }
}

impl<AB: AirBuilder> AirBuilder for Unnamed<'_, AB> {
    type F = AB::F;
    type Expr = AB::Expr;
    type Var = AB::Var;
    type PreprocessedWindow = AB::PreprocessedWindow;
    type MainWindow = AB::MainWindow;
    type PublicVar = AB::PublicVar;
    type PeriodicVar = AB::PeriodicVar;

    #[inline]
    fn main(&self) -> Self::MainWindow {
        self.0.main()
    }

    #[inline]
    fn preprocessed(&self) -> &Self::PreprocessedWindow {
        self.0.preprocessed()
    }

    #[inline]
    fn is_first_row(&self) -> Self::Expr {
        self.0.is_first_row()
    }

    #[inline]
    fn is_last_row(&self) -> Self::Expr {
        self.0.is_last_row()
    }

    #[inline]
    fn is_transition(&self) -> Self::Expr {
        self.0.is_transition()
    }

    #[inline]
    fn assert_zero<I: Into<Self::Expr>>(&mut self, x: I) {
        self.0.assert_zero(x);
    }

    #[inline]
    fn assert_zeros<const N: usize, I: Into<Self::Expr>>(&mut self, array: [I; N]) {
        self.0.assert_zeros(array);
    }

    #[inline]
    fn public_values(&self) -> &[Self::PublicVar] {
        self.0.public_values()
    }

    #[inline]
    fn periodic_values(&self) -> &[Self::PeriodicVar] {
        self.0.periodic_values()
    }
}

impl<AB: AirBuilder> PassthroughNamedAirBuilder for Unnamed<'_, AB> {}

impl<AB: InteractionBuilder> InteractionBuilder for Unnamed<'_, AB> {
    #[inline]
    fn push_interaction<E: Into<Self::Expr>>(
        &mut self,
        bus_name: &str,
        fields: impl IntoIterator<Item = E>,
        count: impl Into<Count<Self::Expr>>,
    ) {
        self.0.push_interaction(bus_name, fields, count);
    }

    #[inline]
    fn push_local_interaction(&mut self, tuples: impl IntoIterator<Item = (Vec<Self::Expr>, Count<Self::Expr>)>) {
        self.0.push_local_interaction(tuples);
    }

    #[inline]
    fn push_exclusive_interaction(
        &mut self,
        bus_name: &str,
        branches: impl IntoIterator<Item = (Self::Expr, Count<Self::Expr>, Vec<Self::Expr>)>,
    ) {
        self.0.push_exclusive_interaction(bus_name, branches);
    }

    #[inline]
    fn num_global_interactions(&self) -> usize {
        self.0.num_global_interactions()
    }

    #[inline]
    fn num_local_interactions(&self) -> usize {
        self.0.num_local_interactions()
    }

    #[inline]
    fn num_exclusive_interactions(&self) -> usize {
        self.0.num_exclusive_interactions()
    }
}

/// The word of four bytes, least significant first.
pub fn from_bytes<AB: TableBuilder>(bytes: [AB::Var; 4]) -> AB::Expr {
    let [first, second, third, fourth] = bytes;
    fourth * Felt::from_u32(1 << 24) + third * Felt::from_u32(1 << 16) + second * Felt::from_u32(1 << 8) + first
}

/// The word of two 16-bit limbs, least significant first.
pub fn from_limbs<AB: TableBuilder>(limbs: [AB::Var; 2]) -> AB::Expr {
    let [low, high] = limbs;
    high * Felt::from_u32(1 << 16) + low
}

/// The sum of flags.
pub fn sum<AB: TableBuilder, const N: usize>(flags: [AB::Var; N]) -> AB::Expr {
    flags.into_iter().map(Into::into).sum()
}
