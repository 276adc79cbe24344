//! The state tree over a store: what the node and the committee run the kernel on, and where a prover's hints come from.
//!
//! * [`StateTree`] is the indexed Merkle tree: objects by key, nodes by height and position, one batched update per block.
//! * [`Execution`] runs the kernel natively, block by block, each block's writes in an overlay until it is sealed.
//! * [`BlockItems`] is what a block is made of, with its encoding; [`Execution::replay`] executes it again and returns all that a node records.
//! * [`witness_block`] executes a block again and records what the proven image must be told.
//! * [`apply_chunk`] rebuilds state from batch data alone, and checks it.

mod execution;
mod items;
mod rebuild;
mod store;
mod tree;
pub mod wire;
mod witness;

pub use execution::{Execution, Sealed, TreeOpenings};
pub use items::{BlockFiller, BlockItems, ExecutedBlock, ExecutedRequest, ExecutedTransaction};
pub use rebuild::{RebuildError, apply_chunk};
pub use store::{Leaf, MemoryStore, Overlay, Store};
pub use tree::{AbsenceOrLeaf, Changes, Proof, StateTree, TreeError, empty_node, leaf_digests};
pub use witness::{witness_block, witness_segment};
