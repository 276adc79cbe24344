//! Ways to cheat the curve table.
//!
//! The large lies change what the prover [`Claim`]s and let an honest prover's code fill in everything that follows from it, so that
//! nothing but the lie itself is wrong. What such a lie says in memory differs from the truth, so TRANSFER catches it as well: the table is
//! tried against the memory of an honest witness.

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
    buses::{self, Kind},
    check::{Collect, Instance, Trace},
    forge::{By, Forgery, Honest, catches, forgery},
};

fn honest() -> Honest<Curve> {
    Honest::new(Curve { height: HEIGHT }, trace(&[signed(1)], HEIGHT).expect("an honest call"))
}

/// The row of the program that `which` describes.
fn find(which: impl Fn(&Row) -> bool) -> usize {
    program().iter().position(which).expect("the program has such a row")
}

fn edit(trace: &mut Trace, row: usize, change: impl FnOnce(&mut CurveColumns<Felt>)) {
    let width = trace.width;
    let row = &mut trace.values[row * width..(row + 1) * width];
    let mut columns = CurveColumns::read(row);
    change(&mut columns);
    columns.write(row);
}

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

fn set(claim: &mut Claim, name: Name, value: U256) {
    claim.values[name as usize] = value;
}

fn lies() -> Vec<Forgery> {
    let get = |claim: &Claim, name: Name| claim.values[name as usize];
    let caught_by = |names: &'static [&'static str]| By::These(names);
    vec![
        forgery(
            "recovers with another u",
            lie(move |mut claim| {
                let u = ORDER.add(get(&claim, Name::U), U256::ONE);
                set(&mut claim, Name::U, u);
                climb(claim)
            }),
            caught_by(&["K13", "TRANSFER"]),
        ),
        forgery(
            "recovers with another v",
            lie(move |mut claim| {
                let v = ORDER.add(get(&claim, Name::V), U256::ONE);
                set(&mut claim, Name::V, v);
                climb(claim)
            }),
            caught_by(&["K13", "TRANSFER"]),
        ),
        forgery(
            "recovers with −R",
            lie(move |mut claim| {
                let root = PRIME.neg(get(&claim, Name::Root));
                set(&mut claim, Name::Root, root);
                climb(claim)
            }),
            caught_by(&["K7", "TRANSFER"]),
        ),
        forgery(
            "recovers with a point that is not on the curve",
            lie(move |mut claim| {
                let root = PRIME.add(get(&claim, Name::Root), U256::from_u64(2));
                set(&mut claim, Name::Root, root);
                climb(claim)
            }),
            caught_by(&["K13", "TRANSFER"]),
        ),
        forgery(
            "says that Q is infinity, and rejects a good signature",
            lie(|mut claim| {
                claim.ladder.key = None;
                claim.ladder.steps.pop();
                claim.name_points();
                claim
            }),
            caught_by(&["K18", "TRANSFER"]),
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
            caught_by(&["K13", "TRANSFER"]),
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
            caught_by(&["K26", "TRANSFER"]),
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
            caught_by(&["K13", "TRANSFER"]),
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
            caught_by(&["K13", "TRANSFER"]),
        ),
    ]
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
    let first_step = find(|row| matches!(row, Row::Step(_)));
    let ladder = find(|row| matches!(row, Row::Sum { next: Next::Selected(200), .. }));
    let end = find(|row| matches!(row, Row::Sum { next: Next::Sum, .. }));
    let word_end = find(|row| matches!(row, Row::Sum { next: Next::Selected(192), .. }));
    let product = find(|row| matches!(row, Row::Relation { result: Name::Square, .. }));
    let correction = find(|row| matches!(row, Row::Step(Some(Origin::Correction))));
    let input = find(|row| matches!(row, Row::Memory { value: Name::Hash, .. }));
    let scalar = find(|row| matches!(row, Row::Scalar { value: Name::V, .. }));
    let units = find(|row| matches!(row, Row::Constants(_, Name::One, _)));
    let load = find(|row| matches!(row, Row::Load));
    let mut forgeries = lies();
    let mut add = |what, forge: Box<dyn Fn(&mut Trace)>, by: &'static [&'static str]| {
        forgeries.push(forgery(what, forge, By::These(by)));
    };
    add(
        "selects by half a bit",
        Box::new(move |t| edit(t, ladder, |row| row.bit_u += Felt::TWO)),
        &["CURVE_VALUE", "K1", "K21"],
    );
    add(
        "starts from two points at once",
        Box::new(everywhere(|row| row.choice[3] = row.is_real)),
        &["K10", "K15", "K2"],
    );
    add(
        "has a key without a point R",
        Box::new(everywhere(|row| row.is_liftable = Felt::ZERO)),
        &["K10", "K14", "K18", "K3"],
    );
    add(
        "speaks of two calls in one block",
        Box::new(move |t| edit(t, load, |row| row.clock += Felt::ONE)),
        &["CURVE_VALUE", "K4"],
    );
    add(
        "asks for another parity than memory does",
        Box::new(|t| {
            everywhere(|row| row.parity = row.is_real - row.parity)(t);
            edit(t, 0, |row| {
                // The half of the root's low limb, so that the parity fits: a limb of (root − parity) / 2 in the field.
                row.carry_low[15] = (row.b[0] - row.parity).halve();
            });
        }),
        &["K5", "RANGE"],
    );
    add("writes another status", Box::new(|t| edit(t, 0, |row| row.c[2] = Felt::ZERO)), &["K6", "TRANSFER"]);
    add("halves the root wrongly", Box::new(|t| edit(t, 0, |row| row.carry_low[15] += Felt::ONE)), &["K7"]);
    add(
        "defines what it should use",
        Box::new(move |t| edit(t, product, |row| row.count_c = Felt::ZERO)),
        &["CURVE_VALUE", "K8"],
    );
    add(
        "defines a value of a call from a block without one",
        Box::new(move |t| {
            edit(t, HEIGHT - 1, |row| {
                row.is_real = Felt::ZERO;
                row.choice = [Felt::ZERO; 4];
                row.count_c = one;
            })
        }),
        &["CURVE_VALUE", "K4", "K9"],
    );
    add("takes 2 for 1", Box::new(move |t| edit(t, units, |row| row.c[0] += one)), &["CURVE_VALUE", "K10"]);
    add(
        "reads other words than those it computes with",
        Box::new(move |t| edit(t, input + 1, |row| row.c[5] += one)),
        &["K11"],
    );
    add("changes an input", Box::new(move |t| edit(t, input + 3, |row| row.old[1] += one)), &["K12", "TRANSFER"]);
    add("carries wrongly in a product", Box::new(move |t| edit(t, product, |row| row.carry_low[3] += one)), &["K13"]);
    add("skips a step", Box::new(move |t| edit(t, ladder + 1, |row| row.is_on = Felt::ZERO)), &["K14"]);
    add(
        "starts from elsewhere",
        Box::new(move |t| edit(t, first_step, |row| row.b[7] += one)),
        &["K15", "K23", "K27", "K29"],
    );
    add(
        "doubles another point",
        Box::new(move |t| edit(t, ladder + 1, |row| row.b[0] += one)),
        &["K16", "K23", "K27", "K29"],
    );
    add("corrects another point", Box::new(move |t| edit(t, end, |row| row.b[1] += one)), &["K17", "K23"]);
    add(
        "writes a key where there is none",
        Box::new(|t| {
            let (nonce, s) = (number(9), U256::from_u64(5));
            let point = multiply(nonce, Some(GENERATOR)).expect("finite");
            let event = event(ORDER.mul(s, nonce), point.x, s, u32::from(point.y.bit(0)));
            let mut claim = Claim::of(&event).expect("Q is infinity");
            assert_eq!(claim.ladder.key, None);
            claim.values[Name::KeyX as usize] = U256::ONE;
            let mut rows = claim.rows(&event, &program());
            rows.last_mut().expect("rows").c[0] = Felt::ONE;
            *t = finish(rows, &program(), HEIGHT);
        }),
        &["K19", "TRANSFER"],
    );
    add(
        "has bits where nothing is selected",
        Box::new(move |t| edit(t, product, |row| row.bit_v = one)),
        &["CURVE_VALUE", "K20"],
    );
    add("appends another bit", Box::new(move |t| edit(t, ladder, |row| row.word_v += one)), &["K21", "K22"]);
    add(
        "starts a word with what is left of the one before",
        Box::new(move |t| {
            // The new word's bits push it out of the word in thirty-two steps, but the field has no top.
            let mut left = one;
            for bit in (0..32).rev() {
                edit(t, word_end + 1 + 2 * (31 - bit), |row| row.word_u += left);
                left = left.double();
                edit(t, word_end + 2 + 2 * (31 - bit), |row| row.word_u += left);
            }
        }),
        &["CURVE_WORD", "K22"],
    );
    add(
        "carries wrongly in λ₁ · (T.x − A.x)",
        Box::new(move |t| edit(t, ladder + 1, |row| row.carry_low[2] += one)),
        &["K23"],
    );
    add("carries wrongly in λ₁²", Box::new(move |t| edit(t, ladder + 1, |row| row.carry_low[10] += one)), &["K24"]);
    add(
        "makes the distance up",
        Box::new(move |t| {
            edit(t, ladder + 1, |row| {
                row.distance = one;
                row.distance_inverse = one;
            })
        }),
        &["K25"],
    );
    add(
        "carries wrongly in (λ₁ + λ₂) · (M.x − A.x)",
        Box::new(move |t| edit(t, ladder + 1, |row| row.d[2] += one)),
        &["K27"],
    );
    add("carries wrongly in λ₂²", Box::new(move |t| edit(t, ladder + 2, |row| row.carry_low[2] += one)), &["K28"]);
    add(
        "carries wrongly in λ₂ · (A.x − x)",
        Box::new(move |t| edit(t, ladder + 2, |row| row.carry_low[10] += one)),
        &["K29"],
    );
    add("takes another slope", Box::new(move |t| edit(t, ladder + 1, |row| row.q[0] += one)), &["K23", "K24", "K27"]);
    add(
        "takes another second slope",
        Box::new(move |t| edit(t, ladder + 2, |row| row.q[0] += one)),
        &["K27", "K28", "K29"],
    );
    add("goes by another point", Box::new(move |t| edit(t, ladder + 1, |row| row.c[0] += one)), &["K24", "K27", "K28"]);
    add(
        "ends with another key",
        Box::new(move |t| edit(t, correction + 1, |row| row.c[0] += one)),
        &["CURVE_VALUE", "K28", "K29"],
    );
    add(
        "adds another point than the bits say",
        Box::new(move |t| edit(t, load, |row| row.a[0] += one)),
        &["CURVE_VALUE", "K23", "K24", "K25"],
    );
    add(
        "takes a limb of seventeen bits",
        Box::new(move |t| {
            edit(t, scalar + 3, |row| {
                row.c[2] += Felt::from_u32(1 << 16);
                row.c[3] -= one;
            })
        }),
        &["K11", "RANGE"],
    );
    add(
        "selects by other scalars than those it computed",
        Box::new(move |t| (scalar..scalar + 4).for_each(|row| edit(t, row, |row| row.clock += one))),
        &["CURVE_VALUE", "CURVE_WORD", "K4"],
    );
    add("serves the call twice", Box::new(everywhere(|row| row.clock += row.is_real)), &["CALL", "TRANSFER"]);
    catches(&honest(), forgeries);
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
