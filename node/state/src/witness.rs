//! What the proven image must be told of the state.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use joule_kernel::{
    Abort, BlockExecutor, BlockInput, BlockWitness, LeafWitness, SealedBlock, SegmentWitness, write_input,
};
use joule_protocol::{Checkpoint, Digest, Key, Native, Object, compress, limits::TREE_DEPTH};

use crate::{BlockItems, Changes, Leaf, StateTree, Store, TreeError, TreeOpenings, tree::digest_of};

type Siblings = [Digest; TREE_DEPTH];

/// The leaves that hints speak of, as they are before the block; `None` marks an absent one.
type HintedLeaves = BTreeMap<Key, Option<Leaf>>;

/// Executes a block on the state before it and records the hints for the proven image: leaves, openings, and the siblings of every tree update in the
/// order in which the kernel makes them.
///
/// # Errors
/// The [`Abort`] for which the block has no proof.
///
/// # Panics
/// If the store fails: proving works on a state that was just executed.
pub fn witness_block<S: Store>(
    tree: &StateTree<S>,
    chain_id: u64,
    parent: &Checkpoint,
    items: &BlockItems,
) -> Result<(BlockWitness, Vec<Siblings>, SealedBlock, Changes), Abort> {
    let mut state = TreeOpenings::recording(tree);
    let mut block =
        BlockExecutor::<_, Native>::begin(&mut state, chain_id, parent, items.timestamp, items.base_fee, 0)?;
    for request in &items.requests {
        block.request(request, &mut ())?;
    }
    for transaction in &items.transactions {
        block.transaction(transaction, &mut ())?;
    }
    let sealed = block.seal()?;
    let opened = state.opened().expect("the state was recording").to_vec();
    let changes = state.into_changes().expect("a sealed block has closed its state");
    let (witness, leaves) = hints(tree, &opened).expect("the store holds what the block has just read");
    let siblings = record_siblings(tree, &leaves, &changes).expect("the store holds what the block has just read");
    Ok((witness, siblings, sealed, changes))
}

/// Witnesses a run of blocks and returns the segment's input and advice, committing each block to `tree` on the way.
///
/// # Errors
/// The [`Abort`] for which a block has no proof; the blocks before it are committed.
///
/// # Panics
/// As [`witness_block`].
pub fn witness_segment<S: Store>(
    tree: &mut StateTree<S>,
    chain_id: u64,
    from: &Checkpoint,
    blocks: &[BlockItems],
) -> Result<(SegmentWitness, Checkpoint), Abort> {
    let (mut witnesses, mut siblings, mut checkpoint) = (Vec::new(), Vec::new(), *from);
    for items in blocks {
        let (witness, paths, sealed, changes) = witness_block(tree, chain_id, &checkpoint, items)?;
        tree.commit(&changes).expect("the store takes what the block changes");
        witnesses.push(witness);
        siblings.extend(paths);
        checkpoint = sealed.checkpoint;
    }
    let inputs: Vec<BlockInput<'_>> = blocks
        .iter()
        .zip(&witnesses)
        .map(|(items, witness)| BlockInput {
            timestamp: items.timestamp,
            base_fee: items.base_fee,
            requests: &items.requests,
            transactions: &items.transactions,
            witness,
        })
        .collect();
    Ok((SegmentWitness { input: write_input(chain_id, from, &inputs), siblings }, checkpoint))
}

/// The leaves a block's openings need, by rising key.
fn hints<S: Store>(tree: &StateTree<S>, opened: &[Key]) -> Result<(BlockWitness, HintedLeaves), TreeError<S::Error>> {
    let mut leaves = BTreeMap::new();
    for key in opened.iter().collect::<BTreeSet<_>>() {
        let (found, leaf) = tree.leaf_or_predecessor(key)?;
        leaves.insert(found, Some(leaf));
        leaves.entry(*key).or_insert(None);
    }
    let positions: HashMap<Key, u32> = leaves.keys().copied().zip(0..).collect();
    let witness = BlockWitness {
        leaves: leaves
            .iter()
            .map(|(key, leaf)| LeafWitness {
                key: *key,
                leaf: leaf.map(|leaf| {
                    let words =
                        leaf.object.as_ref().map_or(Vec::new(), |object: &Object| object.with_words(<[u32]>::to_vec));
                    (leaf.position, leaf.next, words)
                }),
            })
            .collect(),
        openings: opened.iter().map(|key| positions[key]).collect(),
    };
    Ok((witness, leaves))
}

/// Replays the kernel's updates, which go by rising key: present leaves, read or written, and new ones behind their predecessor.
fn record_siblings<S: Store>(
    tree: &StateTree<S>,
    leaves: &HintedLeaves,
    changes: &Changes,
) -> Result<Vec<Siblings>, TreeError<S::Error>> {
    let changed: BTreeMap<Key, Leaf> = changes.leaves.iter().copied().collect();
    let mut overlay: HashMap<(u8, u32), Digest> = HashMap::new();
    let mut paths = Vec::new();
    for (key, before) in leaves {
        let Some(after) = changed.get(key).copied().or(*before) else {
            continue; // absent before and after: its predecessor's leaf speaks for it
        };
        let mut node = digest_of(key, &after);
        let mut siblings = [Digest::EMPTY; TREE_DEPTH];
        for (height, sibling) in siblings.iter_mut().enumerate() {
            let position = after.position >> height;
            overlay.insert((height as u8, position), node);
            *sibling = match overlay.get(&(height as u8, position ^ 1)) {
                Some(&changed) => changed,
                None => tree.node(height as u8, position ^ 1)?,
            };
            node = if position & 1 == 0 { compress(node, *sibling) } else { compress(*sibling, node) };
        }
        paths.push(siblings);
    }
    Ok(paths)
}
