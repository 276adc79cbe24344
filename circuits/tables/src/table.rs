//! All tables as one type, which is what the batch prover takes.

use std::borrow::Cow;

use p3_air::{Air, BaseAir, BoundaryPublic};
use p3_lookup::InteractionBuilder;

use crate::{
    Felt,
    bitwise::{Bitwise, columns::BitwiseColumns},
    builder::{TableBuilder, Unnamed},
    bytes::{Bytes, columns::BytesColumns},
    check::Trace,
    cpu::{Cpu, columns::CpuColumns},
    image::{Image, columns::ImageColumns},
    keccak::{Keccak, columns::KeccakColumns},
    memory::{Memory, columns::MemoryColumns},
    narrow::{Narrow, columns::NarrowColumns},
    output::{Output, columns::OutputColumns},
    poseidon2::{
        permutation::{Permutation, columns::PermutationColumns},
        sponge::{Sponge, columns::SpongeColumns},
        tree::{Tree, columns::TreeColumns},
    },
    product::{Product, columns::ProductColumns},
    quotient::{Quotient, columns::QuotientColumns},
    secp256k1::{Curve, columns::CurveColumns},
    transfer::{Transfer, columns::TransferColumns},
};

macro_rules! tables {
    ($( $(#[$meta:meta])* $table:ident = $name:literal, $columns:ident; )*) => {
        /// The names of the tables, in the order in which a proof has them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum TableName {
            $( $(#[$meta])* $table, )*
        }

        impl TableName {
            /// Every table, in the order in which a proof has them.
            pub const ALL: &'static [Self] = &[$( Self::$table, )*];

            /// The table's name, which is also its folder's and its chapter's.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$table => $name, )*
                }
            }

            /// The names of its columns.
            #[must_use]
            pub fn columns(self) -> Vec<String> {
                match self {
                    $( Self::$table => $columns::names(), )*
                }
            }
        }

        /// One of the tables: a plain AIR, whichever it is.
        #[derive(Clone, Debug)]
        pub enum JouleAir {
            $( $(#[$meta])* $table($table), )*
        }

        impl JouleAir {
            /// Which table it is.
            #[must_use]
            pub const fn name(&self) -> TableName {
                match self {
                    $( Self::$table(_) => TableName::$table, )*
                }
            }

            /// Evaluates the table with a builder that keeps the constraints' names.
            pub fn eval_named<AB: TableBuilder>(&self, builder: &mut AB) {
                match self {
                    $( Self::$table(table) => table.eval(builder), )*
                }
            }

            fn base(&self) -> &dyn BaseAir<Felt> {
                match self {
                    $( Self::$table(table) => table, )*
                }
            }
        }
    };
}

tables! {
    /// The program, its initial memory and the registers.
    Image = "image", ImageColumns;
    /// The cycles of a run.
    Cpu = "cpu", CpuColumns;
    /// And, or and xor.
    Bitwise = "bitwise", BitwiseColumns;
    /// Narrow loads and stores.
    Narrow = "narrow", NarrowColumns;
    /// Products, shifts and signed comparisons.
    Product = "product", ProductColumns;
    /// Quotients and remainders.
    Quotient = "quotient", QuotientColumns;
    /// The heap and the private input.
    Memory = "memory", MemoryColumns;
    /// Facts about 16-bit values and pairs of bytes.
    Bytes = "bytes", BytesColumns;
    /// The commit, the halt and the public values.
    Output = "output", OutputColumns;
    /// Words of memory for the precompiles.
    Transfer = "transfer", TransferColumns;
    /// Poseidon2 permutations.
    Permutation = "permutation", PermutationColumns;
    /// Hashes of words.
    Sponge = "sponge", SpongeColumns;
    /// Updates of the state tree.
    Tree = "tree", TreeColumns;
    /// Recoveries of secp256k1 keys.
    Curve = "curve", CurveColumns;
    /// Keccak-f permutations.
    Keccak = "keccak", KeccakColumns;
}

impl core::fmt::Display for TableName {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// Every method is forwarded, those with defaults too: a default that hides what the table says would be a hole.
impl BaseAir<Felt> for JouleAir {
    fn width(&self) -> usize {
        self.base().width()
    }

    fn preprocessed_trace(&self) -> Option<Trace> {
        self.base().preprocessed_trace()
    }

    fn preprocessed_width(&self) -> usize {
        self.base().preprocessed_width()
    }

    fn num_periodic_columns(&self) -> usize {
        self.base().num_periodic_columns()
    }

    fn periodic_columns(&self) -> Cow<'_, [Vec<Felt>]> {
        self.base().periodic_columns()
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        self.base().main_next_row_columns()
    }

    fn preprocessed_next_row_columns(&self) -> Vec<usize> {
        self.base().preprocessed_next_row_columns()
    }

    fn num_constraints(&self) -> Option<usize> {
        self.base().num_constraints()
    }

    fn max_constraint_degree(&self) -> Option<usize> {
        self.base().max_constraint_degree()
    }

    fn num_public_values(&self) -> usize {
        self.base().num_public_values()
    }

    fn public_boundary_io(&self) -> &[BoundaryPublic] {
        self.base().public_boundary_io()
    }

    fn assumes_boolean_trace(&self) -> bool {
        self.base().assumes_boolean_trace()
    }
}

impl<AB: InteractionBuilder<F = Felt>> Air<AB> for JouleAir {
    fn eval(&self, builder: &mut AB) {
        self.eval_named(&mut Unnamed::new(builder));
    }
}

/// A table whose builder keeps the constraints' names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a>(pub &'a JouleAir);

impl BaseAir<Felt> for Named<'_> {
    fn width(&self) -> usize {
        self.0.width()
    }

    fn preprocessed_trace(&self) -> Option<Trace> {
        self.0.preprocessed_trace()
    }

    fn preprocessed_width(&self) -> usize {
        self.0.preprocessed_width()
    }

    fn num_public_values(&self) -> usize {
        self.0.num_public_values()
    }
}

impl<AB: TableBuilder> Air<AB> for Named<'_> {
    fn eval(&self, builder: &mut AB) {
        self.0.eval_named(builder);
    }
}
