//! Ways to cheat the curve table.
//!
//! The large lies change what the prover [`Claim`]s and let an honest prover's code fill in everything that follows from it, so that
//! nothing but the lie itself is wrong. What such a lie says in memory differs from the truth; the liar is granted that memory.

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::Matrix;

use super::{
    Curve,
    arithmetic::{GENERATOR, ORDER, PRIME, Point, U256, add, multiply},
    columns::CurveColumns,
    constants::{HALF_ORDER, STARTS},
    program::{Modulo, Name, Next, Origin, Row, program},
    tests::{HEIGHT, event, number, sign, signed},
    trace::{Claim, Ladder, Step, finish, trace},
};
use crate::{
    Felt,
    buses::{self, Kind, inverse_of_power_of_two},
    check::{Collect, Instance, Trace},
    forge::{By, Entangled, Forgery, Honest, catches_but, edits, forgery},
};

fn honest() -> Honest<Curve> {
    Honest::new(Curve { height: HEIGHT }, trace(&[signed(1)], HEIGHT).expect("an honest call"))
}

/// The row of the program that `which` describes.
fn find(which: impl Fn(&Row) -> bool) -> usize {
    program().iter().position(which).expect("the program has such a row")
}

edits!(CurveColumns);

/// Replaces the honest call by a lie about it.
fn lie(change: impl Fn(Claim) -> Claim + 'static) -> impl Fn(&mut Trace) {
    move |trace| {
        let event = signed(1);
        let claim = change(Claim::of(&event).expect("an honest call"));
        *trace = finish(claim.rows(&event, &program()), &program(), HEIGHT);
    }
}

/// Climbs the ladder again.
fn climb(mut claim: Claim) -> Claim {
    let [r, root, u, v] = [Name::R, Name::Root, Name::U, Name::V].map(|name| claim.values[name as usize]);
    claim.ladder = Ladder::new(&STARTS[claim.choice], Point { x: r, y: root }, u, v).expect("an ordinary sum");
    claim.name_points();
    claim
}

/// Caught by this alone: whatever else a call reads and writes, memory may hold.
fn by(name: &'static str) -> By {
    By::Granted(&["TRANSFER"], name)
}

/// As [`lie`], with rows that the honest prover's code would not fill in so. `edit` sees the rows of the truth beside them.
fn lie_with(
    change: impl Fn(Claim) -> Claim + 'static,
    edit: impl Fn(&mut [CurveColumns<Felt>], &[CurveColumns<Felt>]) + 'static,
) -> impl Fn(&mut Trace) {
    move |trace| {
        let event = signed(1);
        let truth = Claim::of(&event).expect("an honest call");
        let honest = truth.rows(&event, &program());
        let mut rows = change(truth).rows(&event, &program());
        edit(&mut rows, &honest);
        *trace = finish(rows, &program(), HEIGHT);
    }
}

/// Steps in front of the ladder: 2S + R and 2S + G + R.
const TABLE_STEPS: usize = 2;

/// Goes on from a step of the ladder with another point to double than the one before left.
fn swerve(mut claim: Claim, from: usize) -> Claim {
    let end = TABLE_STEPS + 256;
    let mut sum = elsewhere();
    for step in &mut claim.ladder.steps[TABLE_STEPS + from..end] {
        *step = Step::new(sum, step.added).expect("an ordinary sum");
        sum = step.sum;
    }
    correct(claim, sum)
}

/// Takes the multiple of S off another point than the ladder's end.
fn correct(mut claim: Claim, end: Point) -> Claim {
    let step = Step::new(STARTS[claim.choice].correction, end).expect("an ordinary sum");
    *claim.ladder.steps.last_mut().expect("there are steps") = step;
    claim.ladder.key = Some(step.sum);
    claim.name_points();
    claim
}

/// Some point.
fn elsewhere() -> Point {
    multiply(number(31), Some(GENERATOR)).expect("finite")
}

fn place(row: &mut CurveColumns<Felt>, point: Point) {
    row.a = point.x.limbs().map(Felt::from_u16);
    row.b = point.y.limbs().map(Felt::from_u16);
}

/// The row that selects by a bit.
fn selecting(bit: u8) -> usize {
    find(|row| matches!(row, Row::Sum { next: Next::Selected(at), .. } if *at == bit))
}

/// A bit of u, and the first and the last one of its word.
const FLIPPED: u8 = 200;
const WORD: core::ops::RangeInclusive<u8> = 192..=223;

/// Selects by the bits of another u than the one computed with; `edit` may do something about the words that the bits make.
fn flip_a_bit(edit: impl Fn(&mut [CurveColumns<Felt>], &[CurveColumns<Felt>]) + 'static) -> impl Fn(&mut Trace) {
    lie_with(
        |mut claim| {
            let u = claim.values[Name::U as usize];
            let power = (0..FLIPPED).fold(U256::ONE, |power, _| power.overflowing_add(power).0);
            let is_set = u.bit(FLIPPED.into());
            let flipped = if is_set { u.overflowing_sub(power).0 } else { u.overflowing_add(power).0 };
            set(&mut claim, Name::U, flipped);
            climb(claim)
        },
        move |rows, honest| {
            for (index, row) in program().into_iter().enumerate() {
                // Where u is a value, it is the honest one.
                let is_value =
                    matches!(row, Row::Scalar { value: Name::U, .. } | Row::Relation { factors: [Name::U, _], .. });
                if is_value {
                    rows[index] = honest[index];
                }
            }
            edit(rows, honest);
        },
    )
}

fn set(claim: &mut Claim, name: Name, value: U256) {
    claim.values[name as usize] = value;
}

fn lies() -> Vec<Forgery> {
    let get = |claim: &Claim, name: Name| claim.values[name as usize];
    vec![
        forgery(
            "recovers with another u",
            lie(move |mut claim| {
                let u = ORDER.add(get(&claim, Name::U), U256::ONE);
                set(&mut claim, Name::U, u);
                climb(claim)
            }),
            by("K13"),
        ),
        forgery(
            "recovers with another v",
            lie(move |mut claim| {
                let v = ORDER.add(get(&claim, Name::V), U256::ONE);
                set(&mut claim, Name::V, v);
                climb(claim)
            }),
            by("K13"),
        ),
        forgery(
            "recovers with −R",
            lie(move |mut claim| {
                let root = PRIME.neg(get(&claim, Name::Root));
                set(&mut claim, Name::Root, root);
                climb(claim)
            }),
            by("K7"),
        ),
        forgery(
            "recovers with a point that is not on the curve",
            lie(move |mut claim| {
                let root = PRIME.add(get(&claim, Name::Root), U256::from_u64(2));
                set(&mut claim, Name::Root, root);
                climb(claim)
            }),
            by("K13"),
        ),
        forgery(
            "says that Q is infinity, and rejects a good signature",
            lie(|mut claim| {
                claim.ladder.key = None;
                claim.ladder.steps.pop();
                claim.name_points();
                claim
            }),
            by("K18"),
        ),
        forgery(
            "says that there is no R, and rejects a good signature",
            lie(move |mut claim| {
                claim.is_liftable = false;
                claim.ladder = Ladder { steps: Vec::new(), key: None };
                set(&mut claim, Name::Sign, PRIME.neg(U256::ONE));
                let radicand = PRIME.neg(get(&claim, Name::Cubic));
                set(&mut claim, Name::Radicand, radicand);
                claim.name_points();
                claim
            }),
            // −(r³ + 7) has no root.
            by("K13"),
        ),
        forgery(
            "makes up the sum where an addition is exceptional",
            |trace| {
                // R is S: the slope of the line through A and T is free, and with it 2S + R and the key.
                let start = &STARTS[0];
                let parity = u32::from(start.start.y.bit(0));
                let (hash, s) = (number(4), U256::from_u64(9));
                let event = event(hash, start.start.x, s, parity);
                let mut claim = Claim::of(&event).expect("from another starting point");
                let point = start.start;
                let slope = number(77);
                let middle = PRIME.sub(PRIME.mul(slope, slope), PRIME.add(point.x, point.x));
                let quotient =
                    PRIME.mul(PRIME.add(point.y, point.y), PRIME.inverse(PRIME.sub(middle, point.x)).expect("differ"));
                let second = PRIME.neg(PRIME.add(slope, quotient));
                let x = PRIME.sub(PRIME.sub(PRIME.mul(second, second), point.x), middle);
                let y = PRIME.sub(PRIME.mul(second, PRIME.sub(point.x, x)), point.y);
                let made_up =
                    Step { added: point, doubled: point, slopes: [slope, second], middle, sum: Point { x, y } };
                let with_both = Step::new(start.start_with_generator, point).expect("an ordinary sum");
                let [u, v] = [Name::U, Name::V].map(|name| claim.values[name as usize]);
                claim.choice = 0;
                claim.ladder = Ladder::with_table(start, [made_up, with_both], u, v).expect("an ordinary sum");
                claim.name_points();
                *trace = finish(claim.rows(&event, &program()), &program(), HEIGHT);
            },
            by("K26"),
        ),
        forgery(
            "takes an r of n and more",
            |trace| {
                // Between n and p there are 2^128 numbers, and half of them are the x of a point.
                let (claim, r) = (0..)
                    .map(|more| ORDER.value.overflowing_add(U256::from_u64(more)).0)
                    .find_map(|r| {
                        let claim = Claim::about(number(1), r, U256::from_u64(5), 0)?;
                        claim.is_liftable.then_some((claim, r))
                    })
                    .expect("some number is an x");
                *trace = finish(claim.rows(&called_with(r, U256::from_u64(5), 0), &program()), &program(), HEIGHT);
            },
            by("K13"),
        ),
        forgery(
            "takes an s of zero",
            |trace| {
                let (r, _, parity) = sign(number(1), number(2), number(3));
                let claim = Claim::about(number(1), r, U256::ZERO, parity).expect("v = 0 is a scalar like any other");
                *trace = finish(claim.rows(&called_with(r, U256::ZERO, parity), &program()), &program(), HEIGHT);
            },
            by("K13"),
        ),
        forgery(
            "takes an s above n/2",
            |trace| {
                let (hash, secret, nonce) = (number(1), number(1 ^ 0xabcd), number(1 ^ 0x1234_5678));
                let (r, s, parity) = sign(hash, secret, nonce);
                let s = ORDER.neg(s);
                let claim = Claim::about(hash, r, s, parity ^ 1).expect("a signature like any other");
                assert!(s > HALF_ORDER);
                *trace = finish(claim.rows(&event(hash, r, s, parity ^ 1), &program()), &program(), HEIGHT);
            },
            by("K13"),
        ),
        forgery(
            "writes a coordinate of the key as itself plus p",
            |trace| {
                // R = aG + bQ with Q.x = 1; then s/r = 1/b and z/r = a/b recover Q.
                let key = Point::lift(U256::ONE, false).expect("1 is on the curve");
                let (mut claim, event) = crafted(key);
                let alias = key.x.overflowing_add(PRIME.value).0;
                let last = claim.ladder.steps.last_mut().expect("there are steps");
                last.sum.x = alias;
                claim.ladder.key = Some(last.sum);
                claim.name_points();
                *trace = finish(claim.rows(&event, &program()), &program(), HEIGHT);
            },
            by("K13"),
        ),
    ]
}

/// A call with inputs that an honest machine refuses. Its outputs do not matter to a table whose liar is granted memory.
fn called_with(r: U256, s: U256, parity: u32) -> joule_machine::records::RecoverEvent {
    let mut event = signed(1);
    let words = [number(1), r, s].into_iter().flat_map(|value| value.to_words()).chain([parity]);
    for (access, word) in event.words.iter_mut().zip(words) {
        (access.before, access.after) = (word, word);
    }
    event
}

/// A call that recovers a given key, and the truth about it.
fn crafted(key: Point) -> (Claim, joule_machine::records::RecoverEvent) {
    for seed in 1.. {
        let (a, b) = (number(seed), number(seed + 1000));
        let point = add(multiply(a, Some(GENERATOR)), multiply(b, Some(key))).expect("finite");
        let inverse = ORDER.inverse(b).expect("not 0");
        let s = ORDER.mul(point.x, inverse);
        if point.x < ORDER.value && s <= HALF_ORDER {
            let event = event(ORDER.mul(s, a), point.x, s, u32::from(point.y.bit(0)));
            let claim = Claim::of(&event).expect("a call like any other");
            assert_eq!(claim.ladder.key, Some(key));
            return (claim, event);
        }
    }
    unreachable!("half of all seeds will do")
}

/// Changes a column in all rows of the call.
fn everywhere(change: impl Fn(&mut CurveColumns<Felt>) + 'static) -> impl Fn(&mut Trace) {
    move |trace| (0..trace.height()).for_each(|row| edit(trace, row, &change))
}

#[test]
fn forgeries_are_caught() {
    let one = Felt::ONE;
    let ladder = find(|row| matches!(row, Row::Sum { next: Next::Selected(200), .. }));
    let end = find(|row| matches!(row, Row::Sum { next: Next::Sum, .. }));
    let product = find(|row| matches!(row, Row::Relation { result: Name::Square, .. }));
    let input = find(|row| matches!(row, Row::Memory { value: Name::Hash, .. }));
    let output = find(|row| matches!(row, Row::Memory { is_output: true, .. }));
    let scalar = find(|row| matches!(row, Row::Scalar { value: Name::V, .. }));
    let units = find(|row| matches!(row, Row::Constants(_, Name::One, _)));
    // The ladder's first step: 2S + R and 2S + G + R are two rows each, behind the first step of all.
    let start = find(|row| matches!(row, Row::Step(Some(Origin::Start)))) + 4;
    let mut forgeries = lies();
    forgeries.extend([
        forgery(
            "selects by half a bit",
            move |t| edit(t, ladder, |row| row.bit_u += Felt::TWO),
            By::These(&["CURVE_VALUE", "K1", "K21"]),
        ),
        forgery(
            "starts from two points at once",
            everywhere(|row| row.choice[3] = row.is_real),
            By::These(&["K10", "K15", "K2"]),
        ),
        forgery(
            "has a key without a point R",
            everywhere(|row| row.is_liftable = Felt::ZERO),
            By::These(&["K10", "K14", "K18", "K3"]),
        ),
        forgery(
            "writes what it was not asked to write",
            move |t| (output..HEIGHT).for_each(|row| edit(t, row, |row| row.address += Felt::from_u32(64))),
            by("K4"),
        ),
        forgery(
            "recovers with the other R than memory asks for",
            lie(|mut claim| {
                claim.parity ^= 1;
                let root = PRIME.neg(claim.values[Name::Root as usize]);
                set(&mut claim, Name::Root, root);
                climb(claim)
            }),
            by("K5"),
        ),
        forgery("writes another status", |t| edit(t, 0, |row| row.c[2] = Felt::ZERO), by("K6")),
        forgery("halves the root wrongly", |t| edit(t, 0, |row| row.carry_low[15] += Felt::ONE), By::Constraint("K7")),
        forgery(
            "multiplies with a value that nobody defined",
            move |t| {
                edit(t, product, |row| row.count_c = Felt::ZERO);
                edit(t, units, |row| row.count_d += one);
            },
            By::Constraint("K8"),
        ),
        forgery(
            "defines a value of a call from a block without one",
            move |t| {
                edit(t, HEIGHT - 1, |row| {
                    row.is_real = Felt::ZERO;
                    row.choice = [Felt::ZERO; 4];
                    row.count_c = one;
                })
            },
            By::These(&["CURVE_VALUE", "K4", "K9"]),
        ),
        forgery(
            "takes a point of another curve for R",
            lie(|mut claim| {
                // y² = x³ + b, with the b that gives some multiple of the root, of the same parity.
                let [r, root] = [Name::R, Name::Root].map(|name| claim.values[name as usize]);
                let multiples = (2..).map(|factor| PRIME.mul(root, U256::from_u64(factor)));
                let other = multiples.into_iter().find(|other| other.bit(0) == root.bit(0)).expect("there are many");
                let cubic = PRIME.mul(other, other);
                let seven = PRIME.sub(cubic, PRIME.mul(PRIME.mul(r, r), r));
                for (name, value) in
                    [(Name::Root, other), (Name::Seven, seven), (Name::Cubic, cubic), (Name::Radicand, cubic)]
                {
                    set(&mut claim, name, value);
                }
                climb(claim)
            }),
            by("K10"),
        ),
        forgery(
            "reads other words than those it computes with",
            move |t| edit(t, input + 1, |row| row.c[5] += one),
            By::Constraint("K11"),
        ),
        forgery("changes an input", move |t| edit(t, input + 3, |row| row.old[1] += one), by("K12")),
        forgery(
            "carries wrongly in a product",
            move |t| edit(t, product, |row| row.carry_low[3] += one),
            By::Constraint("K13"),
        ),
        forgery("skips a step", move |t| edit(t, ladder + 1, |row| row.is_on = Felt::ZERO), By::Constraint("K14")),
        forgery(
            "starts from elsewhere",
            lie_with(|claim| swerve(claim, 0), move |rows, _| place(&mut rows[start], elsewhere())),
            by("K15"),
        ),
        forgery("doubles another point", lie(|claim| swerve(claim, 55)), by("K16")),
        forgery(
            "corrects another point",
            lie_with(|claim| correct(claim, elsewhere()), move |rows, _| place(&mut rows[end], elsewhere())),
            by("K17"),
        ),
        forgery(
            "writes a key where there is none",
            |t| {
                let (nonce, s) = (number(9), U256::from_u64(5));
                let point = multiply(nonce, Some(GENERATOR)).expect("finite");
                let event = event(ORDER.mul(s, nonce), point.x, s, u32::from(point.y.bit(0)));
                let mut claim = Claim::of(&event).expect("Q is infinity");
                assert_eq!(claim.ladder.key, None);
                claim.values[Name::KeyX as usize] = U256::ONE;
                let mut rows = claim.rows(&event, &program());
                rows.last_mut().expect("rows").c[0] = Felt::ONE;
                *t = finish(rows, &program(), HEIGHT);
            },
            by("K19"),
        ),
        forgery(
            "has bits where nothing is selected",
            move |t| edit(t, scalar, |row| row.bit_u = one),
            By::Constraint("K20"),
        ),
        forgery(
            "appends another bit to the word than it selects by",
            flip_a_bit(|rows, honest| rows.iter_mut().zip(honest).for_each(|(row, honest)| row.word_u = honest.word_u)),
            by("K21"),
        ),
        forgery(
            "starts a word with what makes its other bits the right word",
            flip_a_bit(|rows, honest| {
                let (first, last) = (selecting(*WORD.end()), selecting(*WORD.start()));
                // Thirty-two steps push it out of the word, but the field has no top.
                let mut left = (honest[last].word_u - rows[last].word_u) * inverse_of_power_of_two(32);
                rows[first - 1].word_u += left;
                for bit in WORD.rev() {
                    left = left.double();
                    rows[selecting(bit)].word_u += left;
                    if bit > *WORD.start() {
                        rows[selecting(bit) + 1].word_u += left;
                    }
                }
            }),
            by("K22"),
        ),
        forgery("selects by other bits than those of u", flip_a_bit(|_, _| ()), by("CURVE_WORD")),
        forgery(
            "carries wrongly in λ₁ · (T.x − A.x)",
            move |t| edit(t, ladder + 1, |row| row.carry_low[2] += one),
            By::Constraint("K23"),
        ),
        forgery(
            "carries wrongly in λ₁²",
            move |t| edit(t, ladder + 1, |row| row.carry_low[10] += one),
            By::Constraint("K24"),
        ),
        forgery(
            "makes the distance up",
            move |t| edit(t, ladder + 1, |row| (row.distance, row.distance_inverse) = (one, one)),
            By::Constraint("K25"),
        ),
        forgery(
            "carries wrongly in (λ₁ + λ₂) · (M.x − A.x)",
            move |t| edit(t, ladder + 1, |row| row.d[2] += one),
            By::Constraint("K27"),
        ),
        forgery(
            "carries wrongly in λ₂²",
            move |t| edit(t, ladder + 2, |row| row.carry_low[2] += one),
            By::Constraint("K28"),
        ),
        forgery(
            "carries wrongly in λ₂ · (A.x − x)",
            move |t| edit(t, ladder + 2, |row| row.carry_low[10] += one),
            By::Constraint("K29"),
        ),
        forgery(
            "takes a limb of seventeen bits",
            move |t| {
                edit(t, product, |row| {
                    row.carry_low[3] += Felt::from_u32(1 << 16);
                    row.carry_high[3] -= one;
                })
            },
            By::Bus("RANGE"),
        ),
        forgery(
            "uses a value once more than it was defined for",
            move |t| edit(t, units, |row| row.count_d += one),
            By::Bus("CURVE_VALUE"),
        ),
        forgery(
            "finds other words where it writes",
            move |t| edit(t, output, |row| row.old[0] += one),
            By::Bus("TRANSFER"),
        ),
        forgery("serves a call that nobody made", everywhere(|row| row.clock += row.is_real), by("CALL")),
    ]);
    catches_but(
        &honest(),
        forgeries,
        &[
            Entangled {
                names: &["K1", "K2", "K3"],
                reason: "flags choose names, constants, origins and steps: a choice that is none is not among those \
                    that K10, K14, K15 and CURVE_VALUE know",
            },
            Entangled {
                names: &["K9"],
                reason: "a block is a call's or it is not (K4), and a value that is defined without a use is left over on CURVE_VALUE",
            },
        ],
    );
}

/// One row of every kind, and the rows around it that its values flow to: every cell is bound, but those listed here.
#[test]
fn every_cell_is_bound() {
    let program = program();
    let kinds: Vec<usize> = (0..program.len())
        .filter(|&row| match program[row] {
            Row::Step(None) | Row::Sum { next: Next::Selected(_), .. } => row % 61 == 0 || row % 61 == 1,
            _ => true,
        })
        .collect();
    let numbers = CurveColumns::numbers();
    let names = CurveColumns::<()>::names();
    let is_free = |row: usize, column: usize| {
        let within = |columns: &[usize]| columns.contains(&column);
        let [uses, relates, steps, sums] = match program[row] {
            Row::Relation { .. } => [true, true, false, false],
            Row::Head | Row::Load => [true, false, false, false],
            Row::Step(_) => [false, false, true, false],
            Row::Sum { .. } => [false, false, false, true],
            _ => [false; 4],
        };
        // Without a modulus there is nothing to multiply.
        let reduces = relates && !matches!(program[row], Row::Relation { modulo: Modulo::Nothing, .. });
        let selects = matches!(program[row], Row::Sum { next: Next::Selected(_), .. });
        let adds = sums && !matches!(program[row], Row::Sum { next: Next::Nothing, .. });
        // Points and factors, quotients, carries: of no meaning in rows of other kinds.
        (within(&numbers.a) || within(&numbers.b)) && !(uses || steps || adds)
            || within(&numbers.q) && !(reduces || steps || sums)
            || (within(&numbers.carry_low) || within(&numbers.carry_high)) && !(relates || steps || sums)
            // A relation has fifteen carries; the head's sixteenth is the half of the root's limb.
            || relates && (column == numbers.carry_low[15] || column == numbers.carry_high[15])
            || within(&numbers.d) && !(relates || steps || sums || matches!(program[row], Row::Constants(..)))
            || within(&numbers.c[4..]) && matches!(program[row], Row::Head)
            || within(&numbers.c) && matches!(program[row], Row::Load)
            // Words are read and written four limbs at a time, and these are behind the last.
            || within(&numbers.c[4..]) && matches!(program[row], Row::Memory { part: 3, .. } | Row::Scalar { part: 3, .. })
            || within(&numbers.old) && !matches!(program[row], Row::Memory { .. } | Row::Head)
            || within(&[numbers.word_u, numbers.word_v]) && !(steps || selects)
            || within(&[numbers.distance_inverse]) && !steps
    };
    let table = Curve { height: program.len() };
    let preprocessed = p3_air::BaseAir::preprocessed_trace(&table);
    let mut trace = trace(&[signed(2)], program.len()).expect("an honest call");
    let height = trace.height();
    let look = |trace: &Trace, row: usize| {
        let instance = Instance { table: &table, preprocessed: preprocessed.as_ref(), main: trace, public_values: &[] };
        let mut collect = Collect::default();
        instance.evaluate(row, &mut collect);
        instance.evaluate((row + height - 1) % height, &mut collect);
        // A limb in range is a fact like any other: only one out of range is caught.
        collect.messages.retain(|(name, fields, _)| {
            buses::by_name(name).expect("declared").kind != Kind::Lookup || fields[0].as_canonical_u64() >= 1 << 16
        });
        (collect.broken.is_empty(), collect.messages)
    };
    let mut free = std::collections::BTreeSet::new();
    for row in kinds {
        let before = look(&trace, row);
        assert!(before.0);
        for (column, name) in names.iter().enumerate() {
            if is_free(row, column) {
                continue;
            }
            let cell = row * trace.width + column;
            let value = trace.values[cell];
            trace.values[cell] = value + Felt::ONE;
            if look(&trace, row) == before {
                free.insert(format!("{:?}: {}", program[row], name.split('[').next().unwrap_or_default()));
            }
            trace.values[cell] = value;
        }
    }
    assert!(free.is_empty(), "{free:#?}");
}
