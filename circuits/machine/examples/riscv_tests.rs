//! Runs every image in a folder and says which pass: made for the public riscv-tests, see `riscv-tests/build`.
//!
//! ```sh
//! circuits/machine/riscv-tests/build FOLDER
//! cargo run -p joule-machine --example riscv_tests -- FOLDER
//! ```

use std::{env, error::Error, fs, process::ExitCode};

use joule_machine::{Image, Limits, Witness, record, run};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: riscv_tests FOLDER")?;
    let mut images: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| !matches!(path, Ok(path) if path.extension().is_none_or(|extension| extension != "elf")))
        .collect::<Result<_, _>>()?;
    images.sort();
    let mut failed = 0;
    for path in &images {
        let limits = Limits { cycles: 1 << 20, pages: 1024 };
        let verdict = (|| -> Result<u32, String> {
            let file = fs::read(path).map_err(|error| error.to_string())?;
            let image = Image::from_elf(&file).map_err(|error| error.to_string())?;
            let plain = run(&image, &Witness::default(), limits).map_err(|abort| abort.to_string())?;
            let (recorded, _) = record(&image, &Witness::default(), limits).map_err(|abort| abort.to_string())?;
            match (plain.exit_code, plain.committed.is_some(), recorded == plain) {
                (0, true, true) => Ok(plain.cycles),
                (0, _, false) => Err("the run with records is another".to_owned()),
                (0, false, _) => Err("halted without a commit".to_owned()),
                (case, ..) => Err(format!("case {case} failed")),
            }
        })();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        match verdict {
            Ok(cycles) => println!("pass  {name:<16} {cycles:>6} cycles"),
            Err(reason) => {
                println!("FAIL  {name:<16} {reason}");
                failed += 1;
            }
        }
    }
    println!("{} of {} pass", images.len() - failed, images.len());
    Ok(if failed == 0 && !images.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
