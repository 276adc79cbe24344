//! From a sealed batch to its proof: what the prover must be told, how it is cut, and who proves it.
//!
//! [`segments_of`] reads a batch's blocks and the state before them, executes the blocks again with hints, and cuts them into segments that fit a shape.
//! [`LocalProofs`] proves them in this process, and keeps each step's result, so that a node that was killed goes on where it was.
//! Nothing here is trusted: a wrong hint has no proof, and a wrong proof is refused by L1.

mod local;
mod segments;

pub use local::LocalProofs;
pub use segments::{SegmentsError, segments_of};
