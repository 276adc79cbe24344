//! The machine: RV32IM with a handful of precompiles.
//!
//! It is the only executor of machine code. Whatever a run did is in its [`records`], from which the tables are filled; whatever it must
//! not do (see the book's chapter on the machine) is an [`Abort`], for which there is no proof.
//!
//! * [`Image`] loads a program from an ELF file.
//! * [`run`] executes it, [`record`] keeps the [`Records`], [`profile`] says which routine the cycles went to.
//! * [`kernel_image`] is the program that is proven.
//! * [`layout`] has the numbers that image, interpreter and tables share.

mod abort;
mod image;
mod instruction;
mod interpreter;
mod kernel;
pub mod layout;
mod memory;
mod observe;
pub mod poseidon2;
mod profile;
pub mod records;
mod recover;
mod run;

pub use abort::{Abort, Reason};
pub use image::{Image, ImageError, Symbol};
pub use instruction::{Instruction, Op};
pub use kernel::{KERNEL_ELF, kernel_image};
pub use memory::PAGE_BYTES;
pub use profile::{Cost, Profile, Routine};
pub use records::Records;
pub use run::{Limits, Outcome, PrecompileCounts, Witness, profile, profile_calls, record, run};
