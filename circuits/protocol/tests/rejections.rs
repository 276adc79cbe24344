//! `contracts/src/l2/IRejections.sol` declares exactly the rejections of this crate.
//!
//! The file is written from [`Rejection::CUSTOM_ERRORS`]; to write it anew after a change:
//!
//! ```text
//! REWRITE=1 cargo test -p joule-protocol --test rejections
//! ```

use joule_protocol::{CustomError, Rejection, limits::JOB_DEADLINE_SECONDS_MAX};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/src/l2/IRejections.sol");

const HEAD: &str = "\
// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Rejections: why a well-formed transaction or request did nothing.
/// @notice The revert data of `eth_call`, `eth_estimateGas` and of a transaction with status 0, for all system
/// contracts. The code is the outcome in the batch data.
/// @dev Written from `Rejection` in circuits/protocol, whose test `rejections` holds the two equal.
interface IRejections {
";

/// The sentence as NatSpec has it: parameters in braces without formatting, constants as numbers.
fn natspec(sentence: &str) -> String {
    sentence.replace(":#010x}", "}").replace("{JOB_DEADLINE_SECONDS_MAX}", &JOB_DEADLINE_SECONDS_MAX.to_string())
}

fn declaration(error: &CustomError) -> String {
    let mut out = format!("    /// @notice Code {}: {}.\n", error.code, natspec(error.sentence));
    for parameter in error.parameters {
        out += &format!("    /// @param {} {}\n", parameter.name, parameter.meaning);
    }
    let parameters: Vec<String> =
        error.parameters.iter().map(|parameter| format!("{} {}", parameter.solidity_type, parameter.name)).collect();
    out + &format!("    error {}({});\n", error.name, parameters.join(", "))
}

#[test]
fn the_interface_declares_every_rejection() {
    let declarations: Vec<String> = Rejection::CUSTOM_ERRORS.iter().map(declaration).collect();
    let expected = format!("{HEAD}{}}}\n", declarations.join("\n"));
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(FILE, &expected).expect("the interface file can be written");
    }
    let found = std::fs::read_to_string(FILE).expect("the interface file can be read");
    assert!(found == expected, "IRejections.sol is not what Rejection says; see the head of this test");
}

#[test]
fn codes_rise_and_names_are_unique() {
    let errors = Rejection::CUSTOM_ERRORS;
    assert!(errors.windows(2).all(|pair| pair[0].code < pair[1].code), "codes rise, so that they can be searched");
    assert!(errors[0].code > 0, "0 is applied");
    let mut names: Vec<&str> = errors.iter().map(|error| error.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), errors.len());
    let listed: Vec<(u32, &str)> = errors.iter().map(|error| (error.code, error.name)).collect();
    assert_eq!(listed, Rejection::ALL);
}

#[test]
fn outcomes_are_zero_or_a_code() {
    assert_eq!(Rejection::of_outcome(0), Ok(None));
    for error in Rejection::CUSTOM_ERRORS {
        assert_eq!(Rejection::of_outcome(error.code), Ok(Some(error)));
    }
    let known: Vec<u32> = Rejection::CUSTOM_ERRORS.iter().map(|error| error.code).collect();
    for unknown in (1..200).filter(|code| !known.contains(code)).chain([u32::MAX]) {
        assert_eq!(Rejection::of_outcome(unknown).map_err(|error| error.got), Err(unknown));
    }
}

/// Every parameter is named in the sentence, and the sentence names nothing else: what a wallet shows and what a log says are one.
#[test]
fn sentences_name_their_parameters() {
    for error in Rejection::CUSTOM_ERRORS {
        let sentence = natspec(error.sentence);
        for parameter in error.parameters {
            assert!(sentence.contains(&format!("{{{}}}", parameter.name)), "{}: {sentence}", error.name);
        }
        assert_eq!(sentence.matches('{').count(), error.parameters.len(), "{}: {sentence}", error.name);
    }
}
