//! What every part of Joule agrees on: types, encodings, hashing, limits, public values.
//!
//! Nothing here executes a transaction (that is `joule-kernel`) and nothing here does I/O. The crate is
//! `no_std` so that the same lines run in the node and inside the proof; hashing is behind [`Hashing`] because the
//! proven image calls precompiles where the node calls a library.
//!
//! The book's chapter *Encodings* says the same in prose; Solidity and the circuits are tested against this crate byte for byte.
#![no_std]

extern crate alloc;

mod block;
mod calls;
mod checkpoint;
mod cost;
mod digest;
mod eip712;
mod envelope;
mod errors;
mod gas;
mod genesis;
mod key;
pub mod limits;
mod messages;
#[cfg(feature = "native")]
mod native;
mod objects;
mod primitives;
mod priority;
mod public_values;
mod reader;
mod rlp;

pub use block::{BlockHeader, Chunk, ChunkError, ChunkTransaction, ChunkWrite, ChunkWriter, FinishedChunk, Message};
pub use calls::{Call, CallKind, SystemContract};
pub use checkpoint::{Accumulator, Checkpoint};
pub use cost::{BLOCK_COST, ProvingCost, proving_cost_of};
pub use digest::{Digest, GOLDILOCKS, NonCanonical, Tag};
pub use eip712::{ChannelClose, ComputeReceipt, DeviceConsent, Domain, Voucher, type_hash};
pub use envelope::{Envelope, Signature, TransactionType, Unsigned, encode_eip1559, encode_legacy};
pub use errors::{CustomError, ErrorParameter, Fault, Refusal, Rejection, UnknownRejection};
pub use gas::{GAS_TABLE_VERSION, chunk_bytes_of, gas_of, signatures_of};
pub use genesis::{Genesis, GenesisError, genesis_objects};
pub use key::{Key, Kind};
pub use messages::{MessageTree, withdrawal_leaf};
#[cfg(feature = "native")]
pub use native::{Native, compress, compress_many, hash_words_many};
pub use objects::{
    Account, Chain, Channel, ChannelStatus, Device, DeviceStatus, Job, JobStatus, Object, ObjectError, leaf_digest,
};
pub use primitives::{Address, Amount, Hash, Hashing};
pub use priority::{PriorityError, PriorityKind, PriorityRequest};
pub use public_values::PublicValues;
pub use reader::Truncated;

/// The version of the state transition this source is. A checkpoint carries it, and L1 maps it to a program hash.
pub const PROTOCOL_VERSION: u32 = 1;
