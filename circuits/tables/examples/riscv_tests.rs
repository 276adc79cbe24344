//! Runs every image in a folder and lets the tables judge the trace: made for the public riscv-tests.
//!
//! ```text
//! circuits/machine/riscv-tests/build FOLDER
//! cargo run -p joule-tables --example riscv_tests -- FOLDER      # every constraint and bus, on the traces
//! cargo run -p joule-tables --example riscv_tests -- FOLDER 3    # and proofs of the first three, verified
//! ```

use std::{error::Error, fs, path::Path, process::ExitCode};

use joule_machine::{Image, Limits, Witness, record};
use joule_tables::{config::Profile, prove::Setup, rows::RowCounts, shape::Shape};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: riscv_tests FOLDER [PROOFS]")?;
    let proofs: usize = arguments.next().map_or(Ok(0), |count| count.parse())?;
    let mut images: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| !matches!(path, Ok(path) if path.extension().is_none_or(|extension| extension != "elf")))
        .collect::<Result<_, _>>()?;
    images.sort();
    let mut failed = 0;
    for (index, path) in images.iter().enumerate() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        match judge(path, index < proofs) {
            Ok(verdict) => println!("pass  {name:<16} {verdict}"),
            Err(reason) => {
                println!("FAIL  {name:<16} {reason}");
                failed += 1;
            }
        }
    }
    println!("{} of {} pass", images.len() - failed, images.len());
    Ok(if failed == 0 && !images.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs an image, checks every constraint on every row and every bus, and proves the run if that is wanted.
fn judge(path: &Path, proves: bool) -> Result<String, Box<dyn Error>> {
    let image = Image::from_elf(&fs::read(path)?)?;
    let (outcome, records) = record(&image, &Witness::default(), Limits { cycles: 1 << 20, pages: 1024 })?;
    if outcome.exit_code != 0 {
        return Err(format!("case {} failed", outcome.exit_code).into());
    }
    let shape = Shape::Tiny;
    RowCounts::of(&image, &records).check(shape)?;
    let tables = shape.tables(&image)?;
    let witness = joule_tables::witness::Witness::new(shape, &tables, &image, &records)?;
    if let Some(fault) = witness.check(&tables, 1).first() {
        return Err(fault.to_string().into());
    }
    if !proves {
        return Ok(format!("{:>6} cycles", outcome.cycles));
    }
    let setup = Setup::new(shape, &image)?;
    let proof = setup.prove_witness(Profile::Fast, &witness)?;
    setup.verifying_key().verify(Profile::Fast, &witness.public_values, &proof)?;
    Ok(format!("{:>6} cycles, proven in {} bytes", outcome.cycles, proof.encode().len()))
}
