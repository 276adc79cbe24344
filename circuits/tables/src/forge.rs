//! The forgery harness: every constraint and bus of a table must catch somebody.
//!
//! A table is tried alone. The rest of the witness is taken to be as strong as it can be for the forger: facts that are true are
//! there to be looked up, with whatever multiplicity is needed; but tokens (memory, calls) are those of the honest witness. A forged
//! trace of the table is then caught
//!
//! * by a **constraint** that does not hold on some row,
//! * by a **lookup bus**, when it looks up something that is not a fact,
//! * by an **exchange bus**, when what it takes and sends, all in all, differs from what the honest trace takes and sends.
//!
//! [`catches`] wants every forgery to be caught by *exactly* what it names, and every constraint and every bus to have a forgery that
//! it catches *alone*: were it missing, that forgery would pass. Two things help a forger to do nothing else wrong. He may be
//! [granted](By::Granted) the tokens of an exchange bus: then the tables at its other end play along, as they do for whoever
//! forges memory too. And what cannot be broken alone is listed as [entangled](Entangled), with the reason; what is
//! listed must really have no forgery of its own.
//!
//! [`every_cell_counts`] changes one cell at a time and wants every change caught, except in cells that are listed as free, with the reason. A
//! lookup that still asks for a fact does not count as caught: a forger counts it where it is provided.

use std::collections::{BTreeMap, BTreeSet};

use p3_air::{Air, BaseAir};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::Matrix;

use crate::{
    Felt,
    buses::{self, Bus, Kind},
    check::{Checker, Collect, Instance, Inventory, Trace, code},
    operations::{Operation, Question},
    trace::TraceError,
};

/// What catches a forgery: the code of a constraint (the first word of its name), or the name of a bus.
#[derive(Clone, Debug)]
pub(crate) enum By {
    Constraint(&'static str),
    Bus(&'static str),
    /// A constraint or a bus, though the forger is granted the tokens of the exchange buses in front of it: whatever the table takes and
    /// sends there, the rest of the witness goes along with it.
    Granted(&'static [&'static str], &'static str),
    /// Several, of which this forgery does not break one without the other.
    These(&'static [&'static str]),
}

impl By {
    fn names(&self) -> BTreeSet<String> {
        match self {
            Self::Constraint(name) | Self::Bus(name) | Self::Granted(_, name) => BTreeSet::from([(*name).to_owned()]),
            Self::These(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn granted(&self) -> &'static [&'static str] {
        match self {
            Self::Granted(buses, _) => buses,
            Self::Constraint(_) | Self::Bus(_) | Self::These(_) => &[],
        }
    }
}

/// Changes a trace and its public values.
type Forge = dyn Fn(&mut Trace, &mut [Felt]);
/// Says whether a message of a lookup bus is a fact.
type Facts = dyn Fn(&Bus, &[Felt]) -> bool;

/// A way to cheat.
pub(crate) struct Forgery {
    what: &'static str,
    forge: Box<Forge>,
    by: By,
}

/// Constraints and buses that no forgery breaks alone.
pub(crate) struct Entangled {
    /// Which.
    pub(crate) names: &'static [&'static str],
    /// Why whoever breaks one breaks another.
    pub(crate) reason: &'static str,
}

/// A forgery: what the cheat wants, how it changes the honest trace, and what must catch it.
pub(crate) fn forgery(what: &'static str, forge: impl Fn(&mut Trace) + 'static, by: By) -> Forgery {
    Forgery { what, forge: Box::new(move |trace, _| forge(trace)), by }
}

/// A forgery that also changes the public values.
pub(crate) fn forged_statement(
    what: &'static str,
    forge: impl Fn(&mut Trace, &mut [Felt]) + 'static,
    by: By,
) -> Forgery {
    Forgery { what, forge: Box::new(forge), by }
}

/// A table with an honest trace.
pub(crate) struct Honest<T> {
    pub(crate) table: T,
    pub(crate) trace: Trace,
    pub(crate) public_values: Vec<Felt>,
    /// Is a message of a lookup bus a fact? Asked for buses that [`is_fact`] does not know.
    pub(crate) facts: Box<Facts>,
}

impl<T> Honest<T> {
    pub(crate) fn new(table: T, trace: Trace) -> Self {
        let facts =
            |bus: &Bus, _: &[Felt]| panic!("the facts of {} are not known: give them with `with_facts`", bus.name);
        Self { table, trace, public_values: Vec::new(), facts: Box::new(facts) }
    }

    pub(crate) fn with_public_values(mut self, public_values: Vec<Felt>) -> Self {
        self.public_values = public_values;
        self
    }

    /// Tells the facts of the lookup buses that only this table's neighbours know.
    pub(crate) fn with_facts(mut self, facts: impl Fn(&Bus, &[Felt]) -> bool + 'static) -> Self {
        self.facts = Box::new(facts);
        self
    }
}

/// What the harness can evaluate: any plain AIR.
pub(crate) trait Forgeable:
    BaseAir<Felt> + for<'c> Air<Checker<'c, Collect>> + for<'c> Air<Checker<'c, Inventory>>
{
}

impl<T> Forgeable for T where T: BaseAir<Felt> + for<'c> Air<Checker<'c, Collect>> + for<'c> Air<Checker<'c, Inventory>> {}

/// The facts of the preprocessed tables and of arithmetic; `None` for other buses.
fn is_fact(bus: &Bus, fields: &[Felt]) -> Option<bool> {
    let field = |index: usize| fields[index].as_canonical_u64();
    Some(match bus.name {
        "RANGE" => field(0) < 1 << 16,
        "SIGN" => field(0) < 1 << 16 && field(1) == field(0) >> 15,
        "POWER" => field(0) < 1 << 16 && field(1) == 1 << (field(0) % 32),
        "AND" => field(0) < 256 && field(1) < 256 && field(2) == field(0) & field(1),
        "ARITHMETIC" => is_arithmetic(fields),
        _ => return None,
    })
}

/// Is it true what a message of ARITHMETIC says?
pub(crate) fn is_arithmetic(fields: &[Felt]) -> bool {
    let fields: Vec<u64> = fields.iter().map(Felt::as_canonical_u64).collect();
    let Ok([code, offset, left, right, result]) =
        <[u32; 5]>::try_from(fields.iter().filter_map(|&field| u32::try_from(field).ok()).collect::<Vec<_>>())
    else {
        return false;
    };
    let Some(operation) = Operation::ALL.into_iter().find(|operation| operation.code() == code) else { return false };
    let offset_is_legal = match operation {
        Operation::LoadByte | Operation::LoadByteUnsigned | Operation::StoreByte => offset < 4,
        Operation::LoadHalf | Operation::LoadHalfUnsigned | Operation::StoreHalf => offset == 0 || offset == 2,
        _ => offset == 0,
    };
    offset_is_legal && operation.apply(offset, left, right) == result
}

type Net = BTreeMap<(&'static str, Vec<u64>), Felt>;

/// What a trace breaks: codes of constraints and names of buses.
fn broken<T: Forgeable>(
    honest: &Honest<T>,
    preprocessed: Option<&Trace>,
    trace: &Trace,
    public_values: &[Felt],
    tokens: &Net,
) -> BTreeSet<String> {
    let instance = Instance { table: &honest.table, preprocessed, main: trace, public_values };
    let mut broken = BTreeSet::new();
    let mut net = Net::new();
    let mut collect = Collect::default();
    for row in 0..trace.height() {
        instance.evaluate(row, &mut collect);
        broken.extend(collect.broken.drain(..).map(|name| code(&name).to_owned()));
        for (name, fields, count) in collect.messages.drain(..) {
            let bus = buses::by_name(name).expect("declared");
            match bus.kind {
                Kind::Exchange | Kind::Definition => {
                    let key = (name, fields.iter().map(Felt::as_canonical_u64).collect());
                    *net.entry(key).or_insert(Felt::ZERO) += count;
                }
                // Positive counts look up; negative ones provide, which is the table's own statement.
                Kind::Lookup if count.as_canonical_u64() < 1 << 32 => {
                    let holds = is_fact(bus, &fields).unwrap_or_else(|| (honest.facts)(bus, &fields));
                    if !holds {
                        broken.insert(name.to_owned());
                    }
                }
                Kind::Lookup => {}
            }
        }
    }
    net.retain(|_, count| *count != Felt::ZERO);
    for key in net.keys().chain(tokens.keys()) {
        if net.get(key) != tokens.get(key) {
            broken.insert(key.0.to_owned());
        }
    }
    broken
}

/// The tokens that the honest trace takes and sends, all in all. Panics if it breaks anything.
fn honest_tokens<T: Forgeable>(honest: &Honest<T>, preprocessed: Option<&Trace>) -> Net {
    let instance =
        Instance { table: &honest.table, preprocessed, main: &honest.trace, public_values: &honest.public_values };
    let mut net = Net::new();
    let mut collect = Collect::default();
    for row in 0..honest.trace.height() {
        instance.evaluate(row, &mut collect);
        for (name, fields, count) in collect.messages.drain(..) {
            if buses::by_name(name).expect("declared").kind != Kind::Lookup {
                let key = (name, fields.iter().map(Felt::as_canonical_u64).collect());
                *net.entry(key).or_insert(Felt::ZERO) += count;
            }
        }
        collect.broken.clear();
    }
    net.retain(|_, count| *count != Felt::ZERO);
    let broken = broken(honest, preprocessed, &honest.trace, &honest.public_values, &net);
    assert!(broken.is_empty(), "the honest trace breaks {broken:?}");
    net
}

/// Tries every forgery: each must be caught by exactly what it names, and every constraint and every bus that the table sends on or
/// receives from must catch some forgery alone.
pub(crate) fn catches<T: Forgeable>(honest: &Honest<T>, forgeries: impl IntoIterator<Item = Forgery>) {
    catches_but(honest, forgeries, &[]);
}

/// As [`catches`], but for constraints and buses that are broken in company only. Those must be named by some forgery as well.
pub(crate) fn catches_but<T: Forgeable>(
    honest: &Honest<T>,
    forgeries: impl IntoIterator<Item = Forgery>,
    entangled: &[Entangled],
) {
    let preprocessed = honest.table.preprocessed_trace();
    let tokens = honest_tokens(honest, preprocessed.as_ref());

    let mut problems = Vec::new();
    let (mut named, mut alone) = (BTreeSet::new(), BTreeSet::new());
    for forgery in forgeries {
        let granted = forgery.by.granted();
        for bus in granted {
            let kind = buses::by_name(bus).expect("declared").kind;
            assert!(kind == Kind::Exchange, "{bus} has no tokens to grant");
        }
        let (mut trace, mut public_values) = (honest.trace.clone(), honest.public_values.clone());
        (forgery.forge)(&mut trace, &mut public_values);
        if trace.values == honest.trace.values && public_values == honest.public_values {
            problems.push(format!("\"{}\" changes nothing", forgery.what));
            continue;
        }
        let mut caught = broken(honest, preprocessed.as_ref(), &trace, &public_values, &tokens);
        caught.retain(|name| !granted.contains(&name.as_str()));
        let expected = forgery.by.names();
        if caught != expected {
            problems.push(format!("\"{}\" should be caught by {expected:?}, but is by {caught:?}", forgery.what));
        }
        if expected.len() == 1 {
            alone.extend(expected.clone());
        }
        named.extend(expected);
    }

    let inventory = Inventory::of(&honest.table);
    let provided = provided(honest, preprocessed.as_ref());
    let wanted: BTreeSet<&str> = inventory
        .codes()
        .into_iter()
        .chain(inventory.buses.keys().copied().filter(|bus| !provided.contains(bus)))
        .collect();
    let listed: BTreeSet<&str> = entangled.iter().flat_map(|entangled| entangled.names).copied().collect();
    for name in wanted.union(&listed) {
        match (named.contains(*name), alone.contains(*name), listed.contains(name)) {
            _ if !wanted.contains(name) => problems.push(format!("{name} is listed as entangled, and is not there")),
            (false, ..) => problems.push(format!("{name} has no forgery against it")),
            (true, true, true) => problems.push(format!("{name} is listed as entangled, but catches a forgery alone")),
            (true, false, false) => problems.push(format!("{name} catches no forgery alone, and no reason is listed")),
            (true, true, false) | (true, false, true) => {}
        }
    }
    assert!(entangled.iter().all(|entangled| !entangled.reason.is_empty()), "a reason is a sentence");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The lookup buses that the table provides. (What it says there is what all its constraints are about.)
fn provided<T: Forgeable>(honest: &Honest<T>, preprocessed: Option<&Trace>) -> BTreeSet<&'static str> {
    let instance =
        Instance { table: &honest.table, preprocessed, main: &honest.trace, public_values: &honest.public_values };
    let mut collect = Collect::default();
    (0..honest.trace.height()).for_each(|row| instance.evaluate(row, &mut collect));
    let negative = collect.messages.iter().filter(|(.., count)| count.as_canonical_u64() >= 1 << 32);
    negative
        .map(|(name, ..)| *name)
        .filter(|name| buses::by_name(name).expect("declared").kind == Kind::Lookup)
        .collect()
}

/// Cells whose change nothing catches, and need not.
pub(crate) struct Free {
    /// The column's name.
    pub(crate) column: &'static str,
    /// In which rows, given the row's cells.
    pub(crate) when: fn(&[Felt]) -> bool,
    /// Why that is harmless.
    pub(crate) reason: &'static str,
}

/// Changes every cell of the honest trace in turn, in several ways, and wants each change caught: by a constraint, by a lookup of what is no
/// fact, or because the row's tokens or the facts that it provides change (the rest of the witness, which is honest, then no longer balances
/// them). Cells listed as free must really be free.
pub(crate) fn every_cell_counts<T: Forgeable>(honest: &Honest<T>, columns: &[String], free: &[Free]) {
    assert_eq!(columns.len(), honest.table.width(), "one name per column");
    let preprocessed = honest.table.preprocessed_trace();
    honest_tokens(honest, preprocessed.as_ref());
    let provided = provided(honest, preprocessed.as_ref());
    let height = honest.trace.height();
    let mut trace = honest.trace.clone();
    let look = |trace: &Trace, row: usize| {
        let instance = Instance {
            table: &honest.table,
            preprocessed: preprocessed.as_ref(),
            main: trace,
            public_values: &honest.public_values,
        };
        let mut net = Net::new();
        let mut holds = true;
        // A constraint sees its row and the next, so the row before sees the change as well.
        for row in [row, (row + height - 1) % height] {
            let mut collect = Collect::default();
            instance.evaluate(row, &mut collect);
            holds &= collect.broken.is_empty();
            for (name, fields, count) in collect.messages {
                let bus = buses::by_name(name).expect("declared");
                // What the table provides itself is its own statement, whatever the multiplicity.
                if bus.kind == Kind::Lookup && !provided.contains(name) {
                    holds &= is_fact(bus, &fields).unwrap_or_else(|| (honest.facts)(bus, &fields));
                    continue;
                }
                let key = (name, fields.iter().map(Felt::as_canonical_u64).collect());
                *net.entry(key).or_insert(Felt::ZERO) += count;
            }
        }
        net.retain(|_, count| *count != Felt::ZERO);
        (holds, net)
    };

    let mut problems = BTreeMap::<String, usize>::new();
    let mut used = vec![false; free.len()];
    for row in 0..height {
        let before = look(&trace, row);
        for (column, name) in columns.iter().enumerate() {
            let cell = row * trace.width + column;
            let value = trace.values[cell];
            // Small steps, a bit flip, the alias of a word (plus 2^32), its negation and something large.
            let changes = [
                value + Felt::ONE,
                value - Felt::ONE,
                Felt::ONE - value,
                value + Felt::from_u64(1 << 32),
                -value,
                value * Felt::from_u64(0x1234_5678_9abc_def1) + Felt::from_u64(0x0fed_cba9_8765_4321),
            ];
            let is_caught = |trace: &mut Trace, change: Felt| {
                trace.values[cell] = change;
                let (holds, net) = look(trace, row);
                trace.values[cell] = value;
                !holds || net != before.1
            };
            let escaped =
                changes.into_iter().filter(|change| *change != value).find(|change| !is_caught(&mut trace, *change));
            let cells = &trace.values[row * trace.width..(row + 1) * trace.width];
            let listed = free.iter().position(|free| free.column == name && (free.when)(cells));
            match (escaped, listed) {
                (Some(_), Some(listed)) => used[listed] = true,
                (Some(change), None) => {
                    let cells: Vec<u64> = cells.iter().map(Felt::as_canonical_u64).collect();
                    problems.entry(format!("{name} is free")).and_modify(|count| *count += 1).or_insert_with(|| {
                        println!("row {row}: {name} can become {change}; the row is {cells:?}");
                        1
                    });
                }
                (None, _) => {}
            }
        }
    }
    for (free, used) in free.iter().zip(used) {
        assert!(!free.reason.is_empty());
        if !used {
            problems
                .insert(format!("{} is listed as free ({}), but every change is caught", free.column, free.reason), 1);
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

/// A question about whole words.
pub(crate) fn question(operation: Operation, left: u32, right: u32) -> Question {
    Question { operation, offset: 0, left, right }
}

/// A table that provides ARITHMETIC, with an honest trace of the answers to some questions and of padding.
pub(crate) fn answering<T>(table: T, fill: Fill, questions: &[Question]) -> Honest<T> {
    Honest::new(table, fill(questions, (questions.len() + 1).next_power_of_two()).expect("fits"))
}

/// Fills a table that provides ARITHMETIC.
pub(crate) type Fill = fn(&[Question], usize) -> Result<Trace, TraceError>;

/// Cells of a row that states a fact to nobody.
pub(crate) fn unasked(column: &'static str, when: fn(&[Felt]) -> bool) -> Free {
    Free { column, when, reason: "a fact that nobody looks up may be another true one" }
}

/// Declares `edit`, which changes one row of a table's trace by the names of its columns.
macro_rules! edits {
    ($columns:ident) => {
        fn edit(trace: &mut $crate::check::Trace, row: usize, change: impl FnOnce(&mut $columns<$crate::Felt>)) {
            $columns::edit(trace, row, change);
        }
    };
}
pub(crate) use edits;

/// Fills a table that provides ARITHMETIC with questions, at random and at the edges: the trace must satisfy it, and what it provides must be
/// the true answers.
pub(crate) fn answers_are_true<T: Forgeable>(table: T, fill: Fill, operations: &[Operation]) {
    const EDGES: [u32; 9] = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_0000, 0xffff_fffe, 0xffff_ffff];
    let mut questions = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // An xorshift: the questions only need to differ.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    };
    for &operation in operations {
        let offsets = match operation {
            Operation::LoadByte | Operation::LoadByteUnsigned | Operation::StoreByte => 0..=3,
            Operation::LoadHalf | Operation::LoadHalfUnsigned | Operation::StoreHalf => 0..=1,
            _ => 0..=0,
        };
        for offset in offsets.clone() {
            let offset = if offsets == (0..=1) { 2 * offset } else { offset };
            for left in EDGES {
                questions.extend(EDGES.map(|right| Question { operation, offset, left, right }));
            }
            questions.extend((0..100).map(|_| Question { operation, offset, left: random(), right: random() }));
        }
    }
    let trace = fill(&questions, questions.len().next_power_of_two()).expect("fits");
    let instance = Instance { table: &table, preprocessed: None, main: &trace, public_values: &[] };
    let mut collect = Collect::default();
    let mut provided = Vec::new();
    for row in 0..trace.height() {
        instance.evaluate(row, &mut collect);
        assert!(collect.broken.is_empty(), "{:?} breaks {:?}", questions.get(row), collect.broken);
        for (name, fields, count) in collect.messages.drain(..) {
            if name == "ARITHMETIC" {
                assert_eq!(count, Felt::NEG_ONE);
                assert!(is_arithmetic(&fields), "{fields:?}");
                provided.push(fields);
            } else {
                assert_eq!(is_fact(buses::by_name(name).unwrap(), &fields), Some(true), "{:?}", questions.get(row));
            }
        }
    }
    assert_eq!(provided.len(), questions.len());
    for (question, fields) in questions.iter().zip(provided) {
        let Question { operation, offset, left, right } = *question;
        let expected = [operation.code(), offset, left, right, question.answer()].map(Felt::from_u32);
        assert_eq!(fields, expected, "{question:?}");
    }
}
