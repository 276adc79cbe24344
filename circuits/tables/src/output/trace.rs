//! Filling the output table.

use joule_machine::{Records, records::CommitEvent};
use p3_field::PrimeCharacteristicRing;

use super::{columns::OutputColumns, constraints::PUBLIC_VALUES};
use crate::{
    Felt,
    check::Trace,
    trace::{Rows, TraceError, low_limb},
};

/// The commit and the halt of a run.
///
/// # Errors
///
/// [`TraceError::NoCommit`] or [`TraceError::ExitCode`], if the run cannot be proven.
pub fn fill(records: &Records, height: usize) -> Result<Trace, TraceError> {
    let commit = commit(records)?;
    let halt_clock = Felt::from_u32(Records::clock(records.cycles.len() - 1));
    let same = OutputColumns {
        clock: Felt::from_u32(commit.clock),
        pointer: Felt::from_u32(commit.address),
        halt_clock,
        value: Felt::ZERO,
        previous_timestamp: Felt::ZERO,
        gap_low: Felt::ZERO,
        chain_low: Felt::ZERO,
    };
    let mut rows = Rows::<{ OutputColumns::WIDTH }>::new("output", commit.words.len(), height)?;
    let words: Vec<_> = commit.words.iter().enumerate().collect();
    rows.extend(&words, |(index, access), cells| {
        let gap = commit.clock + joule_machine::layout::SLOT_PRECOMPILE - access.previous_timestamp - 1;
        OutputColumns {
            value: Felt::from_u32(access.after),
            previous_timestamp: Felt::from_u32(access.previous_timestamp),
            gap_low: low_limb(gap),
            chain_low: if *index == 1 { low_limb(access.after << 11) } else { Felt::ZERO },
            ..same
        }
        .write(cells);
    });
    Ok(rows.pad(|cells| same.write(cells)))
}

fn commit(records: &Records) -> Result<&CommitEvent, TraceError> {
    if records.exit_code != 0 || records.cycles.is_empty() {
        return Err(TraceError::ExitCode { exit_code: records.exit_code });
    }
    records.commit.as_ref().ok_or(TraceError::NoCommit)
}

/// The public values of a run: chain id, hX, hY.
///
/// # Errors
///
/// As [`fill`].
pub fn public_values(records: &Records) -> Result<[Felt; PUBLIC_VALUES], TraceError> {
    let words = &commit(records)?.words;
    let chain_id = u64::from(words[0].after) + (u64::from(words[1].after) << 32);
    Ok(core::array::from_fn(|index| match index {
        0 => Felt::from_u64(chain_id),
        _ => Felt::from_u32(words[index + 1].after),
    }))
}
