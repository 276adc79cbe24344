//! Filling the image table.

use joule_machine::{Image, Records, layout::PROGRAM_END, records::RegisterWord};
use p3_field::PrimeCharacteristicRing;

use super::{
    columns::ImageColumns,
    decode::{REGISTERS, fetch_row, rows},
};
use crate::{
    Felt,
    check::Trace,
    trace::{Rows, TraceError},
};

/// How often each instruction is fetched, and what registers and image memory hold at the end.
///
/// `registers` are those of the cpu table, `x0` and the sink included.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if the image does not fit; [`TraceError::WrongRecords`], if the records are not of this image.
pub fn fill(
    image: &Image,
    records: &Records,
    registers: &[RegisterWord; REGISTERS as usize],
    height: usize,
) -> Result<Trace, TraceError> {
    let count = rows(image);
    // What is never accessed keeps its initial value and time 0.
    let zero = ImageColumns { fetches: 0, final_value: 0, final_timestamp: 0 };
    let mut cells = vec![zero; count];
    let (register_rows, memory_rows) = cells.split_at_mut(REGISTERS as usize);
    for (row, register) in register_rows.iter_mut().zip(registers) {
        (row.final_value, row.final_timestamp) = (register.final_value, register.final_timestamp);
    }
    for (row, &value) in memory_rows.iter_mut().zip(image.memory()) {
        row.final_value = value;
    }
    for word in records.memory.iter().take_while(|word| word.address < PROGRAM_END) {
        let row = fetch_row(image, word.address).ok_or_else(|| TraceError::WrongRecords {
            what: format!("the word at {:#010x} is not in the image", word.address),
        })?;
        (cells[row].final_value, cells[row].final_timestamp) = (word.final_value, word.final_timestamp);
    }
    for cycle in &records.cycles {
        let row = fetch_row(image, cycle.pc).ok_or_else(|| TraceError::WrongRecords {
            what: format!("there is no instruction at {:#010x}", cycle.pc),
        })?;
        cells[row].fetches += 1;
    }
    // The boot instruction is in every row that has no other; the first register's row will do.
    cells[0].fetches += 1;

    let mut rows = Rows::<{ ImageColumns::WIDTH }>::new("image", count, height)?;
    rows.extend(&cells, |row, cells| {
        ImageColumns {
            fetches: Felt::from_u32(row.fetches),
            final_value: Felt::from_u32(row.final_value),
            final_timestamp: Felt::from_u32(row.final_timestamp),
        }
        .write(cells);
    });
    Ok(rows.pad_with_zeros())
}
