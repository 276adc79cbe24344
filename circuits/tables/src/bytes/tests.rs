use p3_air::BaseAir;
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::Matrix;

use super::{
    Bytes,
    columns::{BytesColumns, BytesPreprocessed},
    constraints::HEIGHT,
    trace::{Lookups, PROVIDED},
};
use crate::{
    Felt,
    buses::{self, Bus},
    check::{Collect, Instance, Inventory, Sink, Trace},
};

#[test]
fn facts_are_what_the_claim_says() {
    let trace = Bytes.preprocessed_trace().unwrap();
    assert_eq!(trace.height(), HEIGHT);
    for (value, row) in trace.values.chunks(BytesPreprocessed::WIDTH).enumerate() {
        let row: Vec<u64> = row.iter().map(Felt::as_canonical_u64).collect();
        let (low, high) = (value as u64 % 256, value as u64 / 256);
        let top_bit = u64::from(value >= 32768);
        assert_eq!(row, [low, high, low & high, top_bit, 2_u64.pow(value as u32 % 32)]);
    }
}

#[test]
fn has_no_constraints_and_provides_four_buses() {
    let inventory = Inventory::of(&Bytes);
    assert!(inventory.constraints.is_empty());
    assert_eq!(inventory.buses.keys().copied().collect::<Vec<_>>(), ["AND", "POWER", "RANGE", "SIGN"]);
}

#[test]
fn a_lookup_without_a_fact_is_noticed() {
    let felt = Felt::from_u64;
    let wrong = |bus: &'static Bus, fields: &[Felt]| {
        let mut lookups = Lookups::default();
        lookups.message(bus, fields, Felt::ONE);
        lookups.wrong.is_some()
    };
    assert!(!wrong(&buses::RANGE, &[felt(65535)]));
    assert!(wrong(&buses::RANGE, &[felt(65536)]));
    assert!(wrong(&buses::RANGE, &[-Felt::ONE]));
    assert!(!wrong(&buses::AND, &[felt(255), felt(255), felt(255)]));
    assert!(wrong(&buses::AND, &[felt(256), felt(0), felt(0)]));
    assert!(wrong(&buses::AND, &[felt(0), felt(256), felt(0)]));
}

/// The main columns are nothing but multiplicities: each is what one bus is provided with, so a changed cell is a changed balance.
#[test]
fn every_cell_is_bound() {
    let preprocessed = Bytes.preprocessed_trace().unwrap();
    let mut trace = Lookups::default().trace();
    let provided = |trace: &Trace, row: usize| {
        let mut collect = Collect::default();
        Instance { table: &Bytes, preprocessed: Some(&preprocessed), main: trace, public_values: &[] }
            .evaluate(row, &mut collect);
        assert!(collect.broken.is_empty());
        collect.messages
    };
    for row in (0..HEIGHT).step_by(97) {
        for (column, bus) in PROVIDED.into_iter().enumerate() {
            assert_eq!(provided(&trace, row), []);
            trace.values[row * BytesColumns::WIDTH + column] = Felt::TWO;
            let [(name, _, count)] = &provided(&trace, row)[..] else { panic!("row {row}: {bus} alone is provided") };
            assert_eq!((*name, *count), (bus, -Felt::TWO));
            trace.values[row * BytesColumns::WIDTH + column] = Felt::ZERO;
        }
    }
}
