//! Column families and keys.

use joule_protocol::{Digest, Key};
use joule_state::{
    Leaf,
    wire::{Reader, WireError, Writer},
};

/// The schema that this source reads and writes. Another one is refused: nothing here guesses at old bytes.
pub(crate) const SCHEMA: u32 = 1;

macro_rules! columns {
    ($( $(#[$doc:meta])* $variant:ident $name:literal )*) => {
        /// A column family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Column { $( $(#[$doc])* $variant, )* }

        impl Column {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$( Self::$variant ),*];

            /// As RocksDB knows it.
            pub(crate) fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }
        }
    };
}

columns! {
    /// Single values; see [`meta`].
    Meta "meta"
    /// Object key (32) → leaf.
    Leaves "leaves"
    /// Height (1) · position (4) → digest.
    Nodes "nodes"
    /// Object key (32) · block (8) → the leaf before that block, or nothing if there was none.
    LeafHistory "leaf_history"
    /// Height (1) · position (4) · block (8) → the digest before that block, or nothing.
    NodeHistory "node_history"
    /// Block (8) → the keys of leaves and nodes that it changed.
    Undo "undo"
    /// Block (8) → [`BlockRecord`](crate::BlockRecord).
    Blocks "blocks"
    /// Block (8) → bloom filter of its logs.
    Blooms "blooms"
    /// Block hash (32) → block (8).
    BlockNumbers "block_numbers"
    /// Transaction hash (32) → [`TransactionPlace`](crate::TransactionPlace).
    Transactions "transactions"
    /// Transaction hash (32) → [`PoolRecord`](crate::PoolRecord).
    Pool "pool"
    /// Batch (8) → [`BatchRecord`](crate::BatchRecord).
    Batches "batches"
    /// Last block of a batch (8) → batch (8).
    BatchEnds "batch_ends"
    /// Index (8) → a priority request that L1 has made.
    Requests "requests"
    /// Space (1) · its owner's key → its owner's value.
    Journal "journal"
}

/// Keys of [`Column::Meta`].
pub(crate) mod meta {
    /// Schema number, u32.
    pub(crate) const SCHEMA: &[u8] = b"schema";
    /// The genesis id, 32 bytes.
    pub(crate) const GENESIS: &[u8] = b"genesis";
    /// Checkpoint of the head.
    pub(crate) const HEAD: &[u8] = b"head";
    /// Checkpoint of the first block whose state can be had: everything above can be undone.
    pub(crate) const FLOOR: &[u8] = b"floor";
    /// Number of the first block whose record is kept, u64.
    pub(crate) const FIRST_BLOCK: &[u8] = b"first block";
    /// How far L1 has been followed.
    pub(crate) const L1_CURSOR: &[u8] = b"l1 cursor";
    /// Number of the last batch that L1 has committed, u64.
    pub(crate) const COMMITTED: &[u8] = b"committed batch";
    /// Number of the last batch that L1 has executed, u64.
    pub(crate) const EXECUTED: &[u8] = b"executed batch";
    /// Present while a snapshot is being restored.
    pub(crate) const RESTORING: &[u8] = b"restoring";
}

/// Length of a node's key.
pub(crate) const NODE_KEY_BYTES: usize = 5;

/// The key of a node.
pub(crate) fn node_key(height: u8, position: u32) -> [u8; NODE_KEY_BYTES] {
    let mut key = [height; NODE_KEY_BYTES];
    key[1..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The key of what `key` held before `block`. By rising block, so that a seek from block N + 1 finds what was there at N.
pub(crate) fn history_key(key: &[u8], block: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 8);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&block.to_be_bytes());
    bytes
}

/// position u32 · next key (32) · 0, or 1 and the object.
pub(crate) fn encode_leaf(leaf: &Leaf) -> Vec<u8> {
    let mut writer = Writer::with_capacity(96);
    writer.u32(leaf.position).raw(&leaf.next.to_bytes());
    match &leaf.object {
        None => writer.u8(0),
        Some(object) => writer.u8(1).object(object),
    };
    writer.finish()
}

pub(crate) fn decode_leaf(bytes: &[u8]) -> Result<Leaf, WireError> {
    let mut reader = Reader::new(bytes);
    let leaf = read_leaf(&mut reader)?;
    reader.end()?;
    Ok(leaf)
}

pub(crate) fn read_leaf(reader: &mut Reader<'_>) -> Result<Leaf, WireError> {
    let (position, next) = (reader.u32("position")?, reader.key("next key")?);
    let object = if reader.flag("object")? { Some(reader.object("object")?) } else { None };
    Ok(Leaf { position, next, object })
}

pub(crate) fn decode_digest(bytes: &[u8]) -> Result<Digest, WireError> {
    let mut reader = Reader::new(bytes);
    let digest = reader.digest("digest")?;
    reader.end()?;
    Ok(digest)
}

pub(crate) fn decode_u64(bytes: &[u8]) -> Result<u64, WireError> {
    let mut reader = Reader::new(bytes);
    let number = reader.u64("number")?;
    reader.end()?;
    Ok(number)
}

/// What a block changed, by key, so that it can be undone and its undo data dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) leaves: Vec<Key>,
    pub(crate) nodes: Vec<(u8, u32)>,
}

/// Leaves and nodes that one block can change: far more than its limits allow, and small enough to be allocated.
const TOUCHED_MAX: usize = 1 << 20;

impl Touched {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(8 + 32 * self.leaves.len() + NODE_KEY_BYTES * self.nodes.len());
        writer.length(self.leaves.len());
        for key in &self.leaves {
            writer.raw(&key.to_bytes());
        }
        writer.length(self.nodes.len());
        for &(height, position) in &self.nodes {
            writer.u8(height).u32(position);
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let leaves = (0..reader.length("leaves", TOUCHED_MAX)?).map(|_| reader.key("key")).collect::<Result<_, _>>()?;
        let nodes = (0..reader.length("nodes", TOUCHED_MAX)?)
            .map(|_| Ok((reader.u8("height")?, reader.u32("position")?)))
            .collect::<Result<_, WireError>>()?;
        reader.end()?;
        Ok(Self { leaves, nodes })
    }
}
