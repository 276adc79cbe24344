//! Sizes and times, printed. Run with
//! `cargo test -p joule-recursion measure -- --ignored --nocapture --test-threads 1`.

use std::time::Instant;

use crate::aggregate::Aggregation;
use crate::circuit::{Circuit, Inner};
use crate::parameters::StarkParameters;
use crate::profile::Profile;
use crate::program::Program;
use crate::report::gate_rows;
use crate::security::plonky2_layer_best;
use crate::segment::SegmentCircuit;
use crate::shrink::Shrink;
use crate::testing::{TestSystem, TestTable};

fn seconds<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    result
}

fn print(name: &str, circuit: &Circuit<Inner>) {
    let rows = gate_rows(&circuit.data);
    let used: usize = rows.iter().filter(|(gate, _)| !gate.contains("Noop")).map(|(_, rows)| rows).sum();
    println!("{name}: 2^{} rows, {used} used", circuit.degree_bits());
    for (gate, rows) in rows {
        println!("    {rows:6} {}", gate.split(", barycentric").next().unwrap_or(&gate));
    }
    print!("  security {}", plonky2_layer_best(&circuit.data.common));
}

/// A system of the size the real tables aim at: some 700 columns in four heights.
fn system(parameters: StarkParameters) -> TestSystem {
    let tables = vec![TestTable::Steps, TestTable::Bytes, TestTable::Wide { log_height: 12, cubes: 500 }];
    TestSystem::with_tables("measured", parameters, tables, vec![16, 8, 12])
}

fn measure(profile: Profile, with_chain: bool) {
    println!("profile {}", profile.name());
    let system = system(profile.tables());
    println!("{} committed columns", system.shape.columns());
    let test = seconds("table proof and extraction", || system.prove(1, [0; 8]));
    let program = Program::new(vec![test.restored.preprocessed_cap.clone()]);
    let segment = seconds("build segment", || SegmentCircuit::build(profile, &system.shape, 0, 1).unwrap());
    print("segment", &segment.circuit);
    let proof = seconds("prove segment", || segment.prove(&test.restored, &program).unwrap());
    segment.circuit.verify(proof.clone()).unwrap();
    if !with_chain {
        return;
    }
    let aggregation = seconds("build aggregation", || Aggregation::build(profile, &[segment.circuit.key()]).unwrap());
    print("lift", &aggregation.lifts[0]);
    print("merge", &aggregation.merge);
    let lifted = seconds("prove lift", || aggregation.lift(0, &proof).unwrap());
    let merged = seconds("prove merge", || aggregation.merge(&lifted, None).unwrap());
    let shrink = seconds("build shrink and last", || Shrink::<Inner>::build(profile, &aggregation.merge.key()));
    print("shrink", &shrink.shrink);
    print("last", &shrink.last);
    let last = seconds("prove shrink and last", || shrink.prove(&merged).unwrap());
    shrink.last.verify(last).unwrap();
}

#[test]
#[ignore = "prints sizes and times of the fast profile; about a minute"]
fn measure_fast() {
    measure(Profile::Fast, true);
}

#[test]
#[ignore = "prints sizes and times of the proven profile; some minutes"]
fn measure_proven() {
    measure(Profile::Proven, true);
}
