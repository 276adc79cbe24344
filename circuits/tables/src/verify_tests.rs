//! Proofs that are not what they say.

use std::sync::OnceLock;

use joule_protocol::PublicValues;
use p3_field::PrimeCharacteristicRing;
use p3_lookup::LookupTerminal;

use crate::{
    Felt,
    config::{Challenge, Profile},
    program::Program,
    proof::{DecodeError, PROOF_BYTES_MAX, Proof},
    prove::Setup,
    shape::Shape,
    tests::{programs, run, statement},
    verify::VerifyError,
    witness::Witness,
};

struct Fixture {
    setup: Setup,
    program: Program,
    witness: Witness,
    statement: PublicValues,
    bytes: Vec<u8>,
}

/// One proof, which all tests spoil copies of.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let (_, image) = programs().into_iter().find(|(name, _)| name == "branch").unwrap();
        let records = run(&image);
        let setup = Setup::new(Shape::Tiny, &image).unwrap();
        let program = Program::new(vec![setup.verifying_key()]);
        let statement = statement(&program, &records);
        let witness = setup.witness(&records).unwrap();
        let bytes = setup.prove_witness(Profile::Fast, &witness).unwrap().encode();
        Fixture { setup, program, witness, statement, bytes }
    })
}

fn verify(bytes: &[u8]) -> Result<(), VerifyError> {
    let fixture = fixture();
    fixture.program.verify(Profile::Fast, &fixture.statement, bytes)
}

/// Spoils the decoded proof, and wants it refused.
fn refused(what: &str, spoil: impl FnOnce(&mut Proof)) {
    let mut proof = Proof::decode(&fixture().bytes).unwrap();
    spoil(&mut proof);
    assert!(verify(&proof.encode()).is_err(), "{what} is accepted");
}

#[test]
fn an_honest_proof_is_accepted_and_round_trips() {
    assert_eq!(verify(&fixture().bytes), Ok(()));
    assert_eq!(Proof::decode(&fixture().bytes).unwrap().encode(), fixture().bytes);
}

#[test]
fn other_statements_are_refused() {
    let Fixture { program, statement, bytes, .. } = fixture();
    let spoilt = |change: fn(&mut PublicValues)| {
        let mut statement = *statement;
        change(&mut statement);
        program.verify(Profile::Fast, &statement, bytes)
    };
    assert!(matches!(spoilt(|statement| statement.chain_id += 1), Err(VerifyError::Refused(_))));
    assert!(matches!(spoilt(|statement| statement.from.0[0] ^= 1), Err(VerifyError::Refused(_))));
    assert!(matches!(spoilt(|statement| statement.to.0[31] ^= 128), Err(VerifyError::Refused(_))));
    let other = spoilt(|statement| statement.program = joule_protocol::Digest::EMPTY);
    assert!(matches!(other, Err(VerifyError::Program { .. })));
}

#[test]
fn another_program_is_refused() {
    let Fixture { statement, bytes, .. } = fixture();
    let (_, image) = programs().into_iter().find(|(name, _)| name == "jump").unwrap();
    let other = Program::of_image(&image, &[Shape::Tiny]).unwrap();
    assert_ne!(other.hash(), statement.program);
    let statement = PublicValues { program: other.hash(), ..*statement };
    assert!(matches!(other.verify(Profile::Fast, &statement, bytes), Err(VerifyError::Refused(_))));
}

#[test]
fn profile_and_shape_are_the_verifiers_choice() {
    let Fixture { program, statement, bytes, .. } = fixture();
    let got = program.verify(Profile::Proven, statement, bytes);
    assert_eq!(got, Err(VerifyError::Profile { expected: Profile::Proven, got: Profile::Fast }));
    // Relabelled, it has too few queries.
    let mut relabelled = bytes.clone();
    relabelled[9] = Profile::Proven as u8;
    assert!(matches!(program.verify(Profile::Proven, statement, &relabelled), Err(VerifyError::Refused(_))));
    let mut relabelled = bytes.clone();
    relabelled[8] = Shape::Large as u8;
    assert_eq!(verify(&relabelled), Err(VerifyError::Shape { shape: Shape::Large }));
}

#[test]
fn malformed_bytes_are_refused() {
    let bytes = &fixture().bytes;
    assert_eq!(verify(&[]), Err(DecodeError::NoProof.into()));
    assert_eq!(verify(&bytes[..9]), Err(DecodeError::NoProof.into()));
    assert_eq!(verify(&[0; 100]), Err(DecodeError::NoProof.into()));
    let too_long = vec![0; PROOF_BYTES_MAX + 1];
    assert!(matches!(verify(&too_long), Err(VerifyError::Decode(DecodeError::TooLong { .. }))));
    for (position, what) in [(8, "shape"), (9, "profile")] {
        let mut spoilt = bytes.clone();
        spoilt[position] = 77;
        assert_eq!(verify(&spoilt), Err(DecodeError::Unknown { what, got: 77 }.into()));
    }
    for length in (10..bytes.len()).step_by(997) {
        assert!(verify(&bytes[..length]).is_err());
    }
    assert_eq!(verify(&[&bytes[..], &[0]].concat()), Err(DecodeError::NotCanonical.into()));
    // A list that claims more elements than there are bytes must not be made room for.
    let mut spoilt = bytes[..10].to_vec();
    spoilt.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(verify(&spoilt), Err(VerifyError::Decode(DecodeError::Malformed(_)))));
}

#[test]
fn changed_bytes_are_refused() {
    let bytes = &fixture().bytes;
    // Every field of the proof is hit: their lengths are far larger than the step.
    for position in (10..bytes.len()).step_by(bytes.len() / 80) {
        let mut spoilt = bytes.clone();
        spoilt[position] ^= 1 << (position % 8);
        assert!(verify(&spoilt).is_err(), "byte {position} can change");
    }
}

#[test]
fn every_field_is_checked() {
    refused("another main commitment", |proof| {
        let other = proof.batch.commitments.quotient_chunks.clone();
        proof.batch.commitments.main = other;
    });
    refused("no permutation commitment", |proof| proof.batch.commitments.permutation = None);
    refused("another permutation commitment", |proof| {
        proof.batch.commitments.permutation = Some(proof.batch.commitments.main.clone());
    });
    refused("a commitment to randomness", |proof| {
        proof.batch.commitments.random = Some(proof.batch.commitments.main.clone());
    });
    refused("a smaller table", |proof| proof.batch.degree_bits[1] -= 1);
    refused("a table of 2^63 rows", |proof| proof.batch.degree_bits[1] = 63);
    refused("a table more", |proof| proof.batch.degree_bits.push(10));
    refused("a table less", |proof| {
        proof.batch.degree_bits.pop();
    });
    refused("terminals that sum to something else", |proof| {
        proof.batch.lookup_terminals[0] = Some(LookupTerminal(Challenge::ONE));
    });
    refused("terminals that sum to zero, but are not the tables'", |proof| {
        for (table, change) in [(0, Challenge::ONE), (1, Challenge::NEG_ONE)] {
            let terminal = proof.batch.lookup_terminals[table].as_mut().unwrap();
            terminal.0 += change;
        }
    });
    refused("a missing terminal", |proof| proof.batch.lookup_terminals[0] = None);
    refused("a lookup witness, where none is ground for", |proof| proof.batch.lookup_pow_witness = Some(Felt::ONE));
    refused("an out-of-domain witness, where none is ground for", |proof| proof.batch.ood_pow_witness = Felt::ONE);
    refused("another opened cell", |proof| {
        proof.batch.opened_values.instances[1].base_opened_values.trace_local[3] += Challenge::ONE;
    });
    refused("an opened cell less", |proof| {
        proof.batch.opened_values.instances[1].base_opened_values.trace_local.pop();
    });
    refused("another opened cell of the next row", |proof| {
        let next = proof.batch.opened_values.instances[1].base_opened_values.trace_next.as_mut().unwrap();
        next[3] += Challenge::ONE;
    });
    refused("no next row", |proof| proof.batch.opened_values.instances[1].base_opened_values.trace_next = None);
    refused("another opened bus cell", |proof| {
        proof.batch.opened_values.instances[1].permutation_local[0] += Challenge::ONE;
    });
    refused("another quotient", |proof| {
        proof.batch.opened_values.instances[1].base_opened_values.quotient_chunks[0][0] += Challenge::ONE;
    });
    refused("a quotient less", |proof| {
        proof.batch.opened_values.instances[1].base_opened_values.quotient_chunks.pop();
    });
    refused("another preprocessed cell", |proof| {
        let opened = proof.batch.opened_values.instances[0].base_opened_values.preprocessed.as_mut().unwrap();
        opened.local[0] += Challenge::ONE;
    });
    refused("another final polynomial", |proof| proof.batch.opening_proof.final_poly[0] += Challenge::ONE);
    refused("a longer final polynomial", |proof| proof.batch.opening_proof.final_poly.push(Challenge::ZERO));
    refused("another grinding witness", |proof| proof.batch.opening_proof.query_pow_witness += Felt::ONE);
    refused("a batching witness, where none is ground for", |proof| {
        proof.batch.opening_proof.batch_pow_witness = Felt::ONE;
    });
    refused("a fold less", |proof| {
        proof.batch.opening_proof.commit_phase_commits.pop();
    });
    refused("a fold's openings less", |proof| {
        proof.batch.opening_proof.commit_phase_openings.pop();
    });
    refused("another sibling", |proof| {
        proof.batch.opening_proof.commit_phase_openings[0].sibling_values[0][0] += Challenge::ONE;
    });
    refused("a query less", |proof| {
        proof.batch.opening_proof.input_openings[0].opened_values.pop();
    });
    refused("another leaf", |proof| {
        proof.batch.opening_proof.input_openings[0].opened_values[0][0][0] += Felt::ONE;
    });
}

/// What the checker finds, the proof system refuses too: forged witnesses are proven and not accepted.
#[test]
fn proofs_of_forged_witnesses_are_refused() {
    let Fixture { setup, program, witness, statement, .. } = fixture();
    for (table, row, column) in [(1, 5, 25), (1, 9, 1), (0, 40, 0), (2, 3, 2), (7, 100, 0), (8, 2, 3)] {
        let mut forged = witness.clone();
        let trace = &mut forged.traces[table];
        trace.values[row * trace.width + column] += Felt::ONE;
        assert!(!forged.check(setup.tables(), 1).is_empty());
        let bytes = setup.prove_witness(Profile::Fast, &forged).unwrap().encode();
        let got = program.verify(Profile::Fast, statement, &bytes);
        assert!(matches!(got, Err(VerifyError::Refused(_))), "table {table}, row {row}, column {column}: {got:?}");
    }
}

/// The program hash of a fixed program: it changes when an instruction is decoded differently, when a preprocessed table changes, or when a
/// height does, and each of these means new keys everywhere.
#[test]
fn the_program_hash_is_pinned() {
    let image = joule_machine::Image::from_instructions(&[0x0000_0013, 0x0000_0073]).unwrap();
    let program = Program::of_image(&image, &[Shape::Tiny]).unwrap();
    assert_eq!(program.hash().to_string(), "0x4554a65f29ec7fd18160bed18d9773b76f5c1b7e37f00ed34f722337694e9c2f");
}
