//! How fast the interpreter is, with and without records.
//!
//! ```sh
//! cargo run -p joule-machine --example speed [-- --json]
//! ```
//!
//! The program is a loop of what compiled code is made of: loads, stores of words and bytes, arithmetic, a multiplication, branches, and a
//! call. It runs on one core.

use std::{env, error::Error, time::Instant};

use joule_machine::{Abort, Image, Instruction, Limits, Op, Witness, layout::HEAP_START, profile, record, run};

fn program(rounds: i32) -> Result<Image, Box<dyn Error>> {
    let op = |op, rd, rs1, rs2, immediate: i32| Instruction { op, rd, rs1, rs2, immediate: immediate as u32 }.encode();
    let rounds_high = rounds.wrapping_add(0x800) & !0xfff;
    let words = [
        op(Op::Lui, 5, 0, 0, HEAP_START as i32),
        op(Op::Lui, 6, 0, 0, rounds_high),
        op(Op::Addi, 6, 6, 0, rounds.wrapping_sub(rounds_high)),
        // The loop.
        op(Op::Andi, 7, 6, 0, 0x3fc),
        op(Op::Add, 7, 7, 5, 0),
        op(Op::Lw, 28, 7, 0, 0),
        op(Op::Add, 28, 28, 6, 0),
        op(Op::Sw, 0, 7, 28, 0),
        op(Op::Lbu, 29, 7, 0, 1),
        op(Op::Slli, 30, 29, 0, 3),
        op(Op::Xor, 30, 30, 28, 0),
        op(Op::Mul, 31, 30, 6, 0),
        op(Op::Sb, 0, 7, 31, 2),
        op(Op::Sltu, 9, 31, 30, 0),
        op(Op::Beq, 0, 9, 0, 8),
        op(Op::Addi, 8, 8, 0, 1),
        op(Op::Jal, 1, 0, 0, 20),
        op(Op::Addi, 6, 6, 0, -1),
        op(Op::Bne, 0, 6, 0, -60),
        op(Op::Addi, 17, 0, 0, 0),
        op(Op::Ecall, 0, 0, 0, 0),
        // The routine.
        op(Op::Srli, 9, 28, 0, 5),
        op(Op::Sub, 9, 9, 29, 0),
        op(Op::Jalr, 0, 1, 0, 0),
    ];
    Ok(Image::from_instructions(&words)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (witness, limits) = (Witness::default(), Limits::default());
    let measure = |name: &str, rounds: i32, execute: &dyn Fn(&Image) -> Result<u32, Abort>| {
        let image = program(rounds)?;
        let mut best = (f64::MAX, 0);
        for _ in 0..3 {
            let start = Instant::now();
            let cycles = execute(&image)?;
            best = (start.elapsed().as_secs_f64().min(best.0), cycles);
        }
        let (seconds, cycles) = best;
        Ok::<_, Box<dyn Error>>((name.to_owned(), cycles, seconds, f64::from(cycles) / seconds / 1e6))
    };
    let rows = [
        measure("plain", 5_000_000, &|image| Ok(run(image, &witness, limits)?.cycles))?,
        measure("records", 250_000, &|image| Ok(record(image, &witness, limits)?.0.cycles))?,
        measure("profile", 1_000_000, &|image| Ok(profile(image, &witness, limits)?.0.cycles))?,
    ];
    if env::args().any(|argument| argument == "--json") {
        let rows: Vec<_> = rows
            .iter()
            .map(|(mode, cycles, seconds, speed)| {
                serde_json::json!({
                    "mode": mode, "cycles": cycles, "seconds": seconds, "million_cycles_per_second": speed,
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        for (mode, cycles, seconds, speed) in rows {
            println!("{mode:<8} {cycles:>10} cycles {seconds:>7.3} s {speed:>7.1} M/s");
        }
    }
    Ok(())
}
