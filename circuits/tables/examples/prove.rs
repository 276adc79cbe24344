//! Proves a loop in the small, medium or large shape and says what it took.
//!
//! ```text
//! cargo run -p joule-tables --example prove
//! cargo run -p joule-tables --example prove -- large proven
//! cargo run -p joule-tables --example prove -- medium 3                  # three times: a prover's first segment, and later ones
//! RUST_LOG=debug cargo run -p joule-tables --example prove      # what each step of the proof took
//! ```
//!
//! The loop loads, stores (words and bytes), multiplies, compares and branches; it runs until the cpu table is nearly full. The precompiles' tables
//! are there, and empty: heights are fixed, so they cost what they cost in every proof.

use std::{error::Error, time::Instant};

use joule_machine::{
    Image, Instruction, Limits, Op, Witness,
    layout::{CALL_COMMIT, CALL_HALT, HEAP_START},
    record,
};
use joule_protocol::{Hash, PublicValues};
use joule_tables::{
    config::Profile,
    inventory::{TableInventory, inventory},
    operations::Questions,
    program::Program,
    prove::Setup,
    security::{budget, plonky3_report},
    shape::Shape,
    table::TableName,
};
use tracing_subscriber::{EnvFilter, fmt, fmt::format::FmtSpan};

fn main() -> Result<(), Box<dyn Error>> {
    fmt().with_env_filter(EnvFilter::from_default_env()).with_span_events(FmtSpan::CLOSE).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_given = |name: &str| arguments.iter().any(|argument| argument == name);
    let shape = Shape::ALL.into_iter().find(|shape| is_given(shape.as_str())).unwrap_or(Shape::Small);
    let profile = if is_given("proven") { Profile::Proven } else { Profile::Fast };

    let image = looping(shape.height(TableName::Cpu));
    let (outcome, records) = record(&image, &Witness::default(), Limits::default())?;
    let questions = Questions::of(&records);
    println!(
        "{} cycles; asked: bitwise {}, narrow {}, product {}, quotient {}",
        outcome.cycles,
        questions.bitwise.len(),
        questions.narrow.len(),
        questions.product.len(),
        questions.quotient.len()
    );

    let clock = Instant::now();
    let setup = Setup::new(shape, &image)?;
    println!("set up in {:.1?}", clock.elapsed());
    let cells: usize = inventory(shape).iter().map(TableInventory::cells).sum();

    let prove = || -> Result<_, Box<dyn Error>> {
        let clock = Instant::now();
        let witness = setup.witness(&records)?;
        let filled = clock.elapsed();
        let proof = setup.prove_witness(profile, &witness)?;
        println!(
            "{shape}, {profile}: {:.1} M cells filled in {filled:.1?}, proved in {:.1?} altogether",
            cells as f64 / 1e6,
            clock.elapsed()
        );
        Ok(proof)
    };
    let runs = arguments.iter().find_map(|argument| argument.parse::<u32>().ok()).unwrap_or(1);
    for _ in 1..runs {
        prove()?;
    }
    let proof = prove()?;

    let program = Program::new(vec![setup.verifying_key()]);
    let bytes = proof.encode();
    let statement = PublicValues { program: program.hash(), chain_id: 0, from: Hash([0; 32]), to: Hash([0; 32]) };
    program.verify(profile, &statement, &bytes)?;
    let clock = Instant::now();
    program.verify(profile, &statement, &bytes)?;
    println!("{} bytes, verified in {:.1?}", bytes.len(), clock.elapsed());

    for term in budget(shape, profile).terms {
        println!("  {:>14} {:6.1} bits", term.name, term.bits);
    }
    let report = plonky3_report(shape, profile);
    println!("  Plonky3 says {:.1} bits by unique decoding", report.udr.security_bits());
    if let Some(johnson) = &report.ldr {
        println!("  and {:.1} up to the Johnson bound", johnson.security_bits());
    }
    Ok(())
}

/// A loop that runs for a little less than `cycles` cycles.
fn looping(cycles: usize) -> Image {
    const BODY: usize = 12;
    let rounds = ((cycles - 100) / BODY) as u32;
    let op = |op, rd, rs1, rs2, immediate: i32| Instruction { op, rd, rs1, rs2, immediate: immediate as u32 }.encode();
    let load = |rd: u8, value: u32| {
        let low = (value << 20) as i32 >> 20;
        [op(Op::Lui, rd, 0, 0, value.wrapping_sub(low as u32) as i32), op(Op::Addi, rd, rd, 0, low)]
    };
    let mut words = Vec::new();
    words.extend(load(5, HEAP_START + 0x100));
    words.extend(load(6, rounds));
    words.extend([
        op(Op::Lw, 7, 5, 0, 0),
        op(Op::Add, 7, 7, 6, 0),
        op(Op::Sltu, 8, 7, 6, 0),
        op(Op::Sw, 0, 5, 7, 4),
        op(Op::Lbu, 9, 5, 0, 5),
        op(Op::Xor, 10, 9, 7, 0),
        op(Op::Slli, 11, 10, 0, 3),
        op(Op::Add, 12, 11, 8, 0),
        op(Op::Sw, 0, 5, 12, 0),
        op(Op::Addi, 13, 12, 0, 1),
        op(Op::Addi, 6, 6, 0, -1),
        op(Op::Bne, 0, 6, 0, -4 * (BODY as i32 - 1)),
    ]);
    for (number, argument) in [(CALL_COMMIT, HEAP_START), (CALL_HALT, 0)] {
        words.extend(load(10, argument));
        words.extend(load(17, number));
        words.push(op(Op::Ecall, 0, 0, 0, 0));
    }
    Image::from_instructions(&words).expect("the program is small")
}
