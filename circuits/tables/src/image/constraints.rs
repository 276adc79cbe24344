//! The image table: the program, its initial memory and the registers.

use std::sync::Arc;

use joule_machine::Image as MachineImage;
use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;
use p3_maybe_rayon::prelude::*;

use super::{
    columns::{ImageColumns, ImagePreprocessed, InstructionColumns},
    decode::{REGISTERS, boot, decode, rows},
};
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{MEMORY, PROGRAM, space},
    check::Trace,
};

/// An image has more rows than the shape has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image takes {rows} rows, the shape has {height}")]
pub struct ImageTooLarge {
    /// Rows the image takes.
    pub rows: usize,
    /// Rows there are.
    pub height: usize,
}

/// A program's instructions and initial memory, and the registers.
#[derive(Clone, Debug)]
pub struct Image {
    /// Absent where the image is known by its commitment only.
    preprocessed: Option<Arc<Trace>>,
}

impl Image {
    /// The table of an image.
    ///
    /// # Errors
    ///
    /// [`ImageTooLarge`], if the image does not fit the height.
    pub fn new(image: &MachineImage, height: usize) -> Result<Self, ImageTooLarge> {
        let rows = rows(image);
        if rows > height {
            return Err(ImageTooLarge { rows, height });
        }
        let width = ImagePreprocessed::WIDTH;
        let mut trace = RowMajorMatrix::new(vec![Felt::ZERO; height * width], width);
        let mut boot_cells = [Felt::ZERO; InstructionColumns::WIDTH];
        boot(image.entry()).write(&mut boot_cells);
        trace.values.par_chunks_exact_mut(width).enumerate().for_each(|(row, cells)| {
            fixed_row(image, row, boot_cells).write(cells);
        });
        Ok(Self { preprocessed: Some(Arc::new(trace)) })
    }

    /// The table of an image that is known by its commitment only: good for verifying, not for proving.
    #[must_use]
    pub const fn unknown() -> Self {
        Self { preprocessed: None }
    }
}

/// Registers first, then the words of memory, then empty rows. Rows without an instruction repeat the boot instruction.
fn fixed_row(image: &MachineImage, row: usize, boot: [Felt; InstructionColumns::WIDTH]) -> ImagePreprocessed<Felt> {
    let registers = REGISTERS as usize;
    if row < registers {
        return ImagePreprocessed {
            is_word: Felt::ONE,
            space: Felt::from_u32(space::REGISTERS),
            address: Felt::from_usize(row),
            value: Felt::ZERO,
            instruction: boot,
        };
    }
    let word = row - registers;
    let Some(&value) = image.memory().get(word) else {
        let zero = Felt::ZERO;
        return ImagePreprocessed { is_word: zero, space: zero, address: zero, value: zero, instruction: boot };
    };
    let address = image.memory_start() + 4 * word as u32;
    let mut instruction = boot;
    if let Some(decoded) = image.instruction(address).and_then(|instruction| decode(address, instruction)) {
        decoded.write(&mut instruction);
    }
    ImagePreprocessed {
        is_word: Felt::ONE,
        space: Felt::from_u32(space::MEMORY),
        address: Felt::from_u32(address),
        value: Felt::from_u32(value),
        instruction,
    }
}

impl BaseAir<Felt> for Image {
    fn width(&self) -> usize {
        ImageColumns::WIDTH
    }

    fn preprocessed_width(&self) -> usize {
        ImagePreprocessed::WIDTH
    }

    fn preprocessed_trace(&self) -> Option<Trace> {
        self.preprocessed.as_deref().cloned()
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }

    fn preprocessed_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Image {
    fn eval(&self, builder: &mut AB) {
        let (main, preprocessed) = (builder.main(), builder.preprocessed().clone());
        let row = ImageColumns::read(main.current_slice());
        let fixed = ImagePreprocessed::read(preprocessed.current_slice());

        PROGRAM.provide(builder, fixed.instruction.map(Into::into), row.fetches);

        // Each address has one token to begin with, and its last one ends here. Addresses of rows are distinct by construction.
        let place = || [fixed.space.into(), fixed.address.into()];
        let [space, address] = place();
        MEMORY.send(builder, [space, address, fixed.value.into(), AB::Expr::ZERO], fixed.is_word);
        let [space, address] = place();
        MEMORY.receive(builder, [space, address, row.final_value.into(), row.final_timestamp.into()], fixed.is_word);
    }
}
