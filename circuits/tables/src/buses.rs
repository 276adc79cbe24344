//! Every bus: its message, who sends, who receives, and why it cannot be abused.
//!
//! A bus is a multiset that must end empty: a send adds its message, a receive takes one away, over all rows of all tables. Two kinds
//! are used:
//!
//! * A **lookup** bus carries *facts*. One table provides each fact a free number of times; the others look facts up. A row
//!   that provides states something true whatever its multiplicity is, so a dishonest multiplicity can only unbalance the bus. What it
//!   must not do is wrap around p: the verifier checks that all lookups of all rows together stay below p.
//! * An **exchange** bus carries *tokens*. Every send is taken by exactly one receive; every multiplicity on it is constrained to be
//!   0 or 1 by its table.
//! * A **definition** bus carries the *values* of one table's own computation, by name. A row defines a name a free number of
//!   times, other rows of the same table use it. No two rows define one name, so all uses of a name see one value.
//!
//! The balance is an identity of rational functions at a challenge that is drawn after the traces are committed (logUp). Messages of different
//! buses are told apart by their bus's offset, messages of one bus have one width; the shared gadget checks both.

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_lookup::Count;

use crate::{Felt, builder::TableBuilder};

/// A bus's kind; see the head of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One side provides facts, with free multiplicities.
    Lookup,
    /// Sends and receives meet one to one.
    Exchange,
    /// One row of a table defines a name, others of the same table use it.
    Definition,
}

/// A bus and its description.
#[derive(Debug)]
pub struct Bus {
    /// Its name, which also separates it from other buses.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The fields of its message, in order.
    pub message: &'static [&'static str],
    /// The tables that send (look up).
    pub senders: &'static [&'static str],
    /// The tables that receive (provide).
    pub receivers: &'static [&'static str],
    /// Why it cannot be abused.
    pub argument: &'static str,
}

impl PartialEq for Bus {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Offline checking of registers and memory.
pub const MEMORY: Bus = Bus {
    name: "MEMORY",
    kind: Kind::Exchange,
    message: &["space", "address", "value", "timestamp"],
    senders: &["image", "memory", "cpu", "output", "precompiles"],
    receivers: &["image", "memory", "cpu", "output", "precompiles"],
    argument: "A message is the token of one address: its word and when it was left there. The initial rows send each address's one \
        token with timestamp 0, an access takes a token and sends one with a strictly greater timestamp (its gap is range-checked), the final rows \
        take the last. Initial addresses are distinct, so an address has one token at a time and accesses form one chain ordered by \
        time: each finds what the one before left. An address without an initial row has no token: of the accesses there, the \
        one with the least timestamp takes a message nobody sent. Timestamps are sums of a clock below 2^32 and a slot below 4, far \
        below p, so that greater means later.",
};

/// Instruction fetch.
pub const PROGRAM: Bus = Bus {
    name: "PROGRAM",
    kind: Kind::Lookup,
    message: &[
        "pc",
        "first_register",
        "second_register",
        "third_register",
        "immediate",
        "second_factor",
        "next",
        "jump",
        "opcode",
        "writes_word",
        "writes_less",
        "writes_equal",
        "writes_link",
        "copies_second",
        "asks",
        "is_load",
        "is_store",
        "is_call",
    ],
    senders: &["cpu"],
    receivers: &["image"],
    argument: "The receiver's fields are preprocessed, so they are part of the program hash; only their multiplicity is the prover's. \
        Flags that the cpu takes from here are therefore boolean and exclusive as `image::decode` made them.",
};

/// What does not fit in the cpu: bitwise operations, shifts, products, signed comparisons, quotients, narrow loads and stores.
pub const ARITHMETIC: Bus = Bus {
    name: "ARITHMETIC",
    kind: Kind::Lookup,
    message: &["operation", "offset", "left", "right", "result"],
    senders: &["cpu"],
    receivers: &["bitwise", "narrow", "product", "quotient"],
    argument: "Every row of a receiver states a fact `result = operation(left, right)` for words `left` and `right`, with `result` a word, whatever \
        its multiplicity; for narrow loads and stores `offset` is the place of the bytes in the word, otherwise it is 0. Operation \
        codes are distinct across the receivers, so a fact of one cannot stand for another's, and the code is the program's.",
};

/// Sixteen-bit range check.
pub const RANGE: Bus = Bus {
    name: "RANGE",
    kind: Kind::Lookup,
    message: &["value"],
    senders: &["every table"],
    receivers: &["bytes"],
    argument: "The receiver's values are preprocessed: 0 to 65535, each once. A word is checked as low + 2^16 · high with both limbs looked \
        up: at most 2^32 − 1, so the field equation is one of integers and no value + p passes.",
};

/// Sixteen-bit range check together with the top bit.
pub const SIGN: Bus = Bus {
    name: "SIGN",
    kind: Kind::Lookup,
    message: &["value", "top_bit"],
    senders: &["product", "quotient", "narrow"],
    receivers: &["bytes"],
    argument: "Preprocessed on the receiver's side: `top_bit` is bit 15 of `value`.",
};

/// Powers of two, by the five low bits of a sixteen-bit value.
pub const POWER: Bus = Bus {
    name: "POWER",
    kind: Kind::Lookup,
    message: &["value", "power"],
    senders: &["product"],
    receivers: &["bytes"],
    argument: "Preprocessed on the receiver's side: `power` is 2^(value mod 32), and `value` is below 2^16.",
};

/// Bitwise and of bytes; with it or and xor, and the range check of a pair of bytes.
pub const AND: Bus = Bus {
    name: "AND",
    kind: Kind::Lookup,
    message: &["left", "right", "and"],
    senders: &["bitwise", "narrow", "precompiles"],
    receivers: &["bytes"],
    argument: "Preprocessed on the receiver's side: all pairs of bytes, each once.",
};

/// Environment calls.
pub const CALL: Bus = Bus {
    name: "CALL",
    kind: Kind::Exchange,
    message: &["number", "argument", "clock"],
    senders: &["cpu"],
    receivers: &["output", "precompiles"],
    argument: "The cpu sends one message per executed `ecall`: a7, a0 and the clock of its cycle, which no two rows share. A receiver \
        takes it once (its multiplicity is boolean) and must then do the whole call at that clock: a call without a table that \
        takes it cannot be proven, and a table cannot act on memory without a call.",
};

/// Words of memory for the precompiles, two at a time.
pub const TRANSFER: Bus = Bus {
    name: "TRANSFER",
    kind: Kind::Exchange,
    message: &["timestamp", "address", "has_second", "is_canonical", "old_0", "old_1", "new_0", "new_1"],
    senders: &["sponge", "tree", "keccak", "curve"],
    receivers: &["transfer"],
    argument: "A token says: at this time the two words at `address` were found as `old` and left as `new`. The receiver takes it once, makes the         two accesses on MEMORY and makes sure that `new` are words, and of a canonical field element where the token asks for it. An         access without a token, or a token without its access, leaves a bus unbalanced.",
};

/// The Poseidon2 permutation.
pub const PERMUTATION: Bus = Bus {
    name: "PERMUTATION",
    kind: Kind::Lookup,
    message: &[
        "input_0", "input_1", "input_2", "input_3", "input_4", "input_5", "input_6", "input_7", "half", "output_0",
        "output_1", "output_2", "output_3",
    ],
    senders: &["sponge", "tree"],
    receivers: &["permutation"],
    argument: "Every row of the receiver states two facts: the first (half 0) and the second (half 1) four elements of the permutation of its         input, whatever their multiplicities.",
};

/// The 256-bit values of an `ecrecover`, by call and name.
pub const CURVE_VALUE: Bus = Bus {
    name: "CURVE_VALUE",
    kind: Kind::Definition,
    message: &[
        "clock", "name", "limb_0", "limb_1", "limb_2", "limb_3", "limb_4", "limb_5", "limb_6", "limb_7", "limb_8",
        "limb_9", "limb_10", "limb_11", "limb_12", "limb_13", "limb_14", "limb_15",
    ],
    senders: &["curve"],
    receivers: &["curve"],
    argument: "Which row of a call defines a name is fixed by preprocessed columns, each name in one row only; name 0 is used by nobody. A call's         clock names it: CALL gives each clock to one block of rows, and a block that takes no call has no multiplicities.",
};

/// The 32-bit words of the scalars of an `ecrecover`.
pub const CURVE_WORD: Bus = Bus {
    name: "CURVE_WORD",
    kind: Kind::Exchange,
    message: &["clock", "position", "word"],
    senders: &["curve"],
    receivers: &["curve"],
    argument: "Positions are preprocessed: each of the sixteen words of a call is sent by one row, from the limbs of the scalar, and taken by         one row, from the bits that chose the points.",
};

/// Every bus that core tables use, and those that precompile tables add.
pub const ALL: &[&Bus] = &[
    &MEMORY,
    &PROGRAM,
    &ARITHMETIC,
    &RANGE,
    &SIGN,
    &POWER,
    &AND,
    &CALL,
    &TRANSFER,
    &PERMUTATION,
    &CURVE_VALUE,
    &CURVE_WORD,
];

/// Looks a bus up by name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Bus> {
    ALL.iter().copied().find(|bus| bus.name == name)
}

impl Bus {
    /// Adds a message `count` times, where the table constrains `count` to be 0 or 1 in every row.
    pub fn send<AB: TableBuilder>(
        &self,
        builder: &mut AB,
        message: impl IntoIterator<Item = AB::Expr>,
        count: impl Into<AB::Expr>,
    ) {
        builder.push_interaction(self.name, message, Count::bounded(count.into(), 1));
    }

    /// Takes a message away `count` times, where the table constrains `count` to be 0 or 1 in every row.
    pub fn receive<AB: TableBuilder>(
        &self,
        builder: &mut AB,
        message: impl IntoIterator<Item = AB::Expr>,
        count: impl Into<AB::Expr>,
    ) {
        debug_assert!(self.kind == Kind::Exchange, "facts are provided, not received");
        builder.push_interaction(self.name, message, Count::bounded(-count.into(), 1));
    }

    /// Provides a fact `multiplicity` times. The multiplicity is the prover's free choice; the fact must hold whatever it is.
    pub fn provide<AB: TableBuilder>(
        &self,
        builder: &mut AB,
        message: impl IntoIterator<Item = AB::Expr>,
        multiplicity: impl Into<AB::Expr>,
    ) {
        debug_assert!(self.kind != Kind::Exchange, "tokens are received, not provided");
        builder.push_interaction(self.name, message, Count::provided(-multiplicity.into()));
    }
}

/// The address spaces of [`MEMORY`].
pub mod space {
    /// Memory: the address is a byte address that is a multiple of four.
    pub const MEMORY: u32 = 0;
    /// Registers: the address is the register's number.
    pub const REGISTERS: u32 = 1;
}

/// One access to memory or a register, as expressions of a row.
///
/// A read is an access with `value = previous_value`.
#[derive(Clone, Debug)]
pub struct MemoryAccess<E> {
    /// One of [`space`].
    pub space: E,
    /// The word's address in its space.
    pub address: E,
    /// The word it finds. It needs no range check: it is what some access or initial row left.
    pub previous_value: E,
    /// The word it leaves. The table must make sure that it is below 2^32.
    pub value: E,
    /// When the word was left.
    pub previous_timestamp: E,
    /// When this access happens: its call's clock plus a slot below four.
    pub timestamp: E,
    /// The low sixteen bits of `timestamp − previous_timestamp − 1`: a column of its own, checked here.
    pub gap_low: E,
}

/// Performs an access `count` times (0 or 1): two messages on MEMORY and two on RANGE.
pub fn access<AB: TableBuilder>(builder: &mut AB, access: MemoryAccess<AB::Expr>, count: impl Into<AB::Expr>) {
    let count = count.into();
    // Strictly later: the gap is an integer below 2^32, so the previous timestamp, which is itself one of an access or 0, is smaller.
    let gap = access.timestamp.clone() - access.previous_timestamp.clone() - AB::Expr::ONE;
    check_word(builder, gap, access.gap_low, count.clone());
    let place = [access.space, access.address];
    let [space, address] = place.clone();
    MEMORY.receive(builder, [space, address, access.previous_value, access.previous_timestamp], count.clone());
    let [space, address] = place;
    MEMORY.send(builder, [space, address, access.value, access.timestamp], count);
}

/// Checks that `value` is below 2^16.
pub fn check_limb<AB: TableBuilder>(builder: &mut AB, value: impl Into<AB::Expr>, count: impl Into<AB::Expr>) {
    RANGE.send(builder, [value.into()], count);
}

/// Checks that `word` is below 2^32, given a column with its low sixteen bits. The high limb is (word − low) / 2^16, so that
/// no second column and no equation are needed; `low` in range and `high` in range make `word` their sum as integers.
pub fn check_word<AB: TableBuilder>(
    builder: &mut AB,
    word: impl Into<AB::Expr>,
    low: impl Into<AB::Expr>,
    count: impl Into<AB::Expr>,
) {
    let (low, count) = (low.into(), count.into());
    let high = high_limb::<AB>(word.into(), low.clone());
    check_limb(builder, low, count.clone());
    check_limb(builder, high, count);
}

/// The high limb that goes with a low limb: (word − low) / 2^16.
pub fn high_limb<AB: TableBuilder>(word: AB::Expr, low: AB::Expr) -> AB::Expr {
    (word - low) * inverse_of_power_of_two(16)
}

/// 2^−`exponent` in the field, for exponents up to 32: p − (p − 1) / 2^exponent, which times 2^exponent is 1 modulo p.
pub const fn inverse_of_power_of_two(exponent: u32) -> Felt {
    assert!(exponent <= 32, "2^32 is the largest power of two that divides p − 1");
    Felt::new(Felt::ORDER_U64 - ((Felt::ORDER_U64 - 1) >> exponent))
}

/// Takes one environment call `count` times (0 or 1).
pub fn take_call<AB: TableBuilder>(
    builder: &mut AB,
    number: u32,
    argument: impl Into<AB::Expr>,
    clock: impl Into<AB::Expr>,
    count: impl Into<AB::Expr>,
) {
    CALL.receive(builder, [AB::Expr::from_u32(number), argument.into(), clock.into()], count);
}
