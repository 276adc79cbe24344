//! The whole state at one block, as a stream.
//!
//! ```text
//! "JS01" · genesis id (32) · checkpoint (288) · leaves u64
//! for each leaf, by strictly rising key: key (32) · length u32 · leaf
//! ```
//!
//! A snapshot comes from anywhere and is trusted for nothing: whoever restores names the checkpoint that L1 executed, and the rebuilt tree must have its root. The root
//! binds every leaf, its position and its successor; that there are exactly as many leaves as positions makes the set complete.

use std::{
    io::{Read, Write},
    path::Path,
};

use joule_protocol::{
    Checkpoint, Digest, Genesis, Hash, Key, Native, compress_many,
    limits::{LEAVES_MAX, TREE_DEPTH},
};
use joule_state::{Leaf, Store, empty_node, leaf_digests, wire::Reader};
use rocksdb::{ReadOptions, WriteBatch};

use crate::{
    Database, HistoricStore, StorageError, View,
    database::Inner,
    layout::{Column, decode_leaf, encode_leaf, meta, node_key},
    store::Reads,
};

const FORMAT: [u8; 4] = *b"JS01";

/// Bytes of an encoded leaf: position, next key, flag, kind and the words of the longest object.
const LEAF_BYTES_MAX: usize = 4 + 32 + 1 + 4 + 4 * joule_protocol::Object::WORDS_MAX;

/// Writes a state that is not in a database, one that was rebuilt from batch data, as a snapshot for [`Database::restore`]. Leaves come by rising key.
///
/// # Errors
/// `BadSnapshot` for more or fewer leaves than `leaf_count`, and what `out` says.
pub fn write_snapshot(
    genesis: &Genesis,
    checkpoint: &Checkpoint,
    leaf_count: u64,
    leaves: impl Iterator<Item = (Key, Leaf)>,
    out: &mut impl Write,
) -> Result<(), StorageError> {
    write(&genesis.id::<Native>(), checkpoint, leaf_count, leaves.map(Ok), out)
}

fn write(
    genesis_id: &Hash,
    checkpoint: &Checkpoint,
    leaf_count: u64,
    leaves: impl Iterator<Item = Result<(Key, Leaf), StorageError>>,
    out: &mut impl Write,
) -> Result<(), StorageError> {
    out.write_all(&FORMAT)?;
    out.write_all(&genesis_id.0)?;
    out.write_all(&checkpoint.encode())?;
    out.write_all(&leaf_count.to_be_bytes())?;
    let mut written = 0;
    for item in leaves {
        let (key, leaf) = item?;
        let leaf = encode_leaf(&leaf);
        out.write_all(&key.to_bytes())?;
        out.write_all(&(leaf.len() as u32).to_be_bytes())?;
        out.write_all(&leaf)?;
        written += 1;
    }
    out.flush()?;
    match written == leaf_count {
        true => Ok(()),
        false => {
            Err(StorageError::BadSnapshot { reason: "the state has not as many leaves as it says", leaf: written })
        }
    }
}

/// What a snapshot begins with.
struct Head {
    genesis_id: Hash,
    checkpoint: Checkpoint,
    leaf_count: u64,
}

impl Head {
    fn read(input: &mut impl Read) -> Result<Self, StorageError> {
        let mut head = [0; 4 + 32 + Checkpoint::BYTES + 8];
        input.read_exact(&mut head)?;
        let read = &mut Reader::new(&head);
        let malformed = || StorageError::malformed("snapshot's head");
        read.format(FORMAT).map_err(malformed())?;
        Ok(Self {
            genesis_id: read.hash("genesis").map_err(malformed())?,
            checkpoint: read.checkpoint("checkpoint").map_err(malformed())?,
            leaf_count: read.u64("leaves").map_err(malformed())?,
        })
    }
}

/// The checkpoint that a snapshot claims to be of. Whether L1 has executed it is for the reader to find out, whether its leaves lead to it for [`Database::restore`].
///
/// # Errors
/// Bytes that are no snapshot's, and what `input` says.
pub fn snapshot_checkpoint(input: &mut impl Read) -> Result<Checkpoint, StorageError> {
    Ok(Head::read(input)?.checkpoint)
}

/// Leaves or nodes that are held in memory at once.
const STEP: usize = 8_192;

impl View<'_> {
    /// Writes the state after `block_number` and returns how many leaves it has.
    ///
    /// # Errors
    /// `OutsideWindow`, and what `out` says.
    pub fn snapshot(&self, block_number: u64, out: &mut impl Write) -> Result<u64, StorageError> {
        let leaf_count = self.tree_at(block_number)?.leaf_count();
        let missing = StorageError::Missing { what: "checkpoint of block", number: block_number };
        let checkpoint = self.checkpoint(block_number)?.ok_or(missing)?;
        let state = HistoricStore { view: self, at: block_number };
        let mut iterator = self.iterator(Column::Leaves, ReadOptions::default());
        iterator.seek_to_first();
        let leaves = std::iter::from_fn(|| {
            loop {
                let key = Reader::new(iterator.key()?).key("leaf key").map_err(StorageError::malformed("leaf"));
                let leaf = key.and_then(|key| Ok((key, Store::leaf(&state, &key)?)));
                iterator.next();
                match leaf {
                    Ok((key, Some(leaf))) => return Some(Ok((key, leaf))),
                    // Inserted after the block.
                    Ok((_, None)) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
        });
        write(&self.inner.genesis_checkpoint.block_hash, &checkpoint, leaf_count, leaves, out)?;
        iterator.status()?;
        Ok(leaf_count)
    }
}

impl Database {
    /// Rebuilds a database at `path`, which must be empty or absent, from a snapshot, and returns it only if its state is that of the checkpoint with hash
    /// `expected`: the one L1 executed. History before it is not there; undo begins there.
    ///
    /// # Errors
    /// `NotEmpty`, `OtherGenesis`, `OtherCheckpoint`, `BadSnapshot`, `WrongRoot`. A folder in which a restore has failed is refused afterwards.
    pub fn restore(
        path: impl AsRef<Path>,
        genesis: &Genesis,
        expected: &Hash,
        input: &mut impl Read,
    ) -> Result<Self, StorageError> {
        let path = path.as_ref();
        if path.exists() && path.read_dir()?.next().is_some() {
            return Err(StorageError::NotEmpty { path: path.to_owned() });
        }
        let Head { genesis_id: got, checkpoint, leaf_count } = Head::read(input)?;
        let id = genesis.id::<Native>();
        if got != id {
            return Err(StorageError::OtherGenesis { path: path.to_owned(), got, expected: id });
        }
        let got = checkpoint.hash::<Native>();
        if got != *expected {
            return Err(StorageError::OtherCheckpoint { got, expected: *expected });
        }
        if leaf_count > LEAVES_MAX {
            return Err(StorageError::BadSnapshot { reason: "more leaves than a tree has", leaf: leaf_count });
        }

        let inner = Self::attach(path, genesis)?;
        let mut batch = WriteBatch::default();
        inner.put_identity(&mut batch);
        batch.put_cf(inner.column(Column::Meta), meta::RESTORING, [1]);
        inner.write(batch)?;
        read_leaves(&inner, input, leaf_count)?;
        let root = build_tree(&inner, leaf_count)?;
        if root != checkpoint.state_root {
            return Err(StorageError::WrongRoot { got: root, expected: checkpoint.state_root });
        }
        let mut batch = WriteBatch::default();
        inner.put_ends(&mut batch, &checkpoint);
        batch.delete_cf(inner.column(Column::Meta), meta::RESTORING);
        inner.write(batch)?;
        drop(inner);
        let database = Self::open(path, genesis)?;
        let got = database.view()?.tree()?.leaf_count();
        match got == leaf_count {
            true => Ok(database),
            false => Err(StorageError::BadSnapshot { reason: "the chain object counts other leaves", leaf: got }),
        }
    }
}

fn read_leaves(inner: &Inner, input: &mut impl Read, leaf_count: u64) -> Result<(), StorageError> {
    let mut last: Option<Key> = None;
    let mut read = 0;
    while read < leaf_count {
        let step = (leaf_count - read).min(STEP as u64);
        let mut leaves: Vec<(Key, Leaf)> = Vec::with_capacity(step as usize);
        for index in read..read + step {
            let bad = |reason| StorageError::BadSnapshot { reason, leaf: index };
            let (mut key, mut length) = ([0; 32], [0; 4]);
            input.read_exact(&mut key)?;
            input.read_exact(&mut length)?;
            let key = Key::from_bytes(key);
            if last.is_some_and(|last| last >= key) {
                return Err(bad("keys do not rise"));
            }
            last = Some(key);
            let length = u32::from_be_bytes(length) as usize;
            let mut bytes = [0; LEAF_BYTES_MAX];
            let bytes = bytes.get_mut(..length).ok_or_else(|| bad("a leaf is too long"))?;
            input.read_exact(bytes)?;
            let leaf = decode_leaf(bytes).map_err(StorageError::malformed("snapshot's leaf"))?;
            if u64::from(leaf.position) >= leaf_count {
                return Err(bad("a leaf is beyond the last position"));
            }
            leaves.push((key, leaf));
        }
        let digests: Vec<_> =
            leaf_digests(&leaves).into_iter().map(|(position, digest)| ((0, position), digest)).collect();
        let mut batch = WriteBatch::default();
        inner.put_state(&mut batch, &leaves, &digests);
        inner.write(batch)?;
        read += step;
    }
    match input.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(StorageError::BadSnapshot { reason: "bytes follow the last leaf", leaf: leaf_count }),
    }
}

/// Builds every level from the one below and returns the root. Level 0 must be full up to `leaf_count`: then no two leaves shared a position.
fn build_tree(inner: &Inner, leaf_count: u64) -> Result<Digest, StorageError> {
    let mut width = leaf_count;
    for height in 0..TREE_DEPTH as u8 {
        let mut position = 0;
        while position < width {
            let end = width.min(position + 2 * STEP as u64);
            let level = read_level(inner, height, position, end)?;
            let pairs: Vec<_> = level
                .chunks(2)
                .map(|pair| (pair[0], pair.get(1).copied().unwrap_or_else(|| empty_node(height))))
                .collect();
            let first = (position / 2) as u32;
            let nodes: Vec<_> =
                (first..).zip(compress_many(&pairs)).map(|(at, node)| ((height + 1, at), node)).collect();
            let mut batch = WriteBatch::default();
            inner.put_state(&mut batch, &[], &nodes);
            inner.write(batch)?;
            position = end;
        }
        width = width.div_ceil(2);
    }
    match view_root(inner)? {
        Some(root) => Ok(root),
        None => Err(StorageError::BadSnapshot { reason: "it has no leaves", leaf: 0 }),
    }
}

fn view_root(inner: &Inner) -> Result<Option<Digest>, StorageError> {
    Reads::node(inner, TREE_DEPTH as u8, 0)
}

/// Nodes `from..end` of a level, all of which must be there.
fn read_level(inner: &Inner, height: u8, from: u64, end: u64) -> Result<Vec<Digest>, StorageError> {
    let mut level = Vec::with_capacity((end - from) as usize);
    let mut iterator = inner.iterator(Column::Nodes, ReadOptions::default());
    iterator.seek(node_key(height, from as u32));
    for position in from..end {
        let wanted = node_key(height, position as u32);
        match iterator.item() {
            Some((key, value)) if key == wanted => {
                level.push(crate::layout::decode_digest(value).map_err(StorageError::malformed("node"))?);
            }
            _ => return Err(StorageError::BadSnapshot { reason: "no leaf has this position", leaf: position }),
        }
        iterator.next();
    }
    iterator.status()?;
    Ok(level)
}
