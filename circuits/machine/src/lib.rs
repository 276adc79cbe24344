//! The machine: RV32IM with a handful of precompiles.
//!
//! It is the only executor of machine code. Whatever a run did is in its [`records`], from which the tables are filled; whatever it must
//! not do (see the book's chapter on the machine) is an abort, for which there is no proof.

pub mod instruction;
pub mod layout;
pub mod records;
