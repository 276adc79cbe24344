//! Is the generated Solidity verifier of these circuits?

use std::{fs, path::Path};

use joule_prover_engine::description;
use joule_recursion::profile::Profile;
use joule_tables::shape::Shape;

/// What the circuits are made from, by description: no circuit is built. `joule-prover setup --check` builds them and compares constraints.
#[test]
fn the_generated_verifier_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/src/generated/Groth16Verifier.sol");
    let source = fs::read_to_string(path).expect("the generated verifier");
    let description = description(Profile::Fast, &Shape::ALL).expect("every shape has a circuit");
    let hex: String = description.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        source.contains(&format!("@custom:description 0x{hex}")),
        "contracts/src/generated/Groth16Verifier.sol is for other circuits than 0x{hex}: run contracts/regenerate"
    );
}

#[test]
fn descriptions_tell_profiles_and_shapes_apart() {
    let fast = description(Profile::Fast, &Shape::ALL).expect("every shape has a circuit");
    assert_eq!(fast, description(Profile::Fast, &Shape::ALL).expect("again"));
    assert_ne!(fast, description(Profile::Proven, &Shape::ALL).expect("every shape has a circuit"));
    assert_ne!(fast, description(Profile::Fast, &[Shape::Small]).expect("one shape"));
    assert_ne!(fast, description(Profile::Fast, &[Shape::Large, Shape::Small]).expect("another order"));
}
