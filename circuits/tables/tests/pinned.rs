//! A proof of a fixed run of a fixed program, to the last byte.
//!
//! What it depends on: tables, shape, configuration, transcript, proof system and encoding. A circuit that verifies table proofs depends on
//! all of that too, so a change of this hash is a change of every verifying key behind it, and is to be meant and reviewed.

use std::path::Path;

use joule_machine::{Image, Limits, Witness, record};
use joule_protocol::{Hashing, Native};
use joule_tables::{config::Profile, prove::Setup, shape::Shape};

/// Keccak-256 of the proof.
const PINNED: &str = "0x364446a70f55ba31614ef4fb8399ed1ba9210063f07b550e7406e99b07243c51";

#[test]
fn the_proof_of_a_fixed_run_is_pinned() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machine/tests/programs/multiply.elf");
    let image = Image::from_elf(&std::fs::read(program).unwrap()).unwrap();
    let (_, records) = record(&image, &Witness::default(), Limits::default()).unwrap();
    let setup = Setup::new(Shape::Tiny, &image).unwrap();
    // Grinding takes whichever witness some thread finds first: with one thread that is the least. Nothing else is free.
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let proof = one_thread.install(|| setup.prove(Profile::Fast, &records)).unwrap().encode();
    assert_eq!(Native::keccak256(&proof).to_string(), PINNED, "{} bytes", proof.len());
}
