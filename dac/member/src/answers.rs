//! What a member answers to whoever asks, over whichever network: parse nothing, take one snapshot of the disk, read, answer.

use std::sync::Arc;

use alloy_primitives::{B256, hex};
use joule_committee_client::{BatchData, Question, Refusal, checkpoint_hash};
use joule_protocol::Key;
use joule_state::AbsenceOrLeaf;
use joule_storage::{StorageError, View};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    journal,
    member::Member,
    snapshot,
    worker::{self, WorkError},
};

/// An answer, and the room that it takes until it has been sent.
#[derive(Debug)]
pub struct Answer {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether they are JSON.
    pub is_json: bool,
    /// To be dropped when the bytes have left.
    pub room: OwnedSemaphorePermit,
}

/// What a key of the executed state holds, with everything that L1's `Escape` asks for to prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateProof {
    /// The executed batch.
    pub batch_number: u64,
    /// The hash of its checkpoint, as L1 has it.
    pub checkpoint_hash: B256,
    /// The checkpoint's encoding (the argument of `openEscape`).
    pub checkpoint: String,
    /// The key asked for.
    pub key: B256,
    /// Whether it holds an object. If it does not, the leaf is the one before, whose next key is greater.
    pub is_present: bool,
    /// The leaf's own key.
    pub leaf_key: B256,
    /// The leaf's next key.
    pub next_key: B256,
    /// The leaf's position.
    pub position: u32,
    /// The object's words, big-endian, as the batch data has them; empty for the sentinel.
    pub object: String,
    /// Siblings from the bottom, 32 of them.
    pub siblings: Vec<B256>,
}

/// Answers a question.
///
/// # Errors
/// The refusal to answer with.
pub async fn answer(member: &Arc<Member>, question: Question) -> Result<Answer, Refusal> {
    let (bytes, is_json) = match question {
        Question::Batch(number) => {
            let read = move |view: &View<'_>| Ok(worker::stored_offer(view, number)?.map(|offer| offer.encode()));
            (member.read(read).await?, false)
        }
        Question::BatchData(number) => {
            let read = move |view: &View<'_>| Ok(worker::stored_data(view, number)?.map(|data| data.encode()));
            (member.read(read).await?, false)
        }
        Question::Data(checkpoint) => {
            let read = move |view: &View<'_>| Ok(data_of(view, checkpoint)?.map(|data| data.encode()));
            (member.read(read).await?, false)
        }
        Question::Chunk(checkpoint, index) => {
            let read = move |view: &View<'_>| {
                let proof = data_of(view, checkpoint)?.and_then(|data| data.prove_chunk(index as usize));
                Ok(proof.map(|proof| proof.encode()))
            };
            member.metrics().probes.inc();
            (member.read(read).await?, false)
        }
        Question::State(key) => (prove(member, Key::from_bytes(key.0)).await?, true),
        Question::Account(address) => {
            (prove(member, Key::account(&joule_protocol::Address(address.into_array()))).await?, true)
        }
        Question::Snapshot { from, block } => {
            let folder = snapshot::folder(member.database());
            let read = move |view: &View<'_>| {
                let last = journal::snapshot_block(view)?;
                if last == 0 || block.is_some_and(|asked| asked != last) {
                    return Ok(None);
                }
                Ok(Some(snapshot::read_page(&folder, last, from).map_err(StorageError::from)?))
            };
            (member.read(read).await?, false)
        }
        Question::Status => (json(&member.status().await?)?, true),
    };
    let room = member.room(bytes.len())?;
    if !is_json {
        member.metrics().served_bytes.inc_by(bytes.len() as u64);
    }
    Ok(Answer { bytes, is_json, room })
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(value).map_err(|error| crate::member::internal(&error))
}

fn data_of(view: &View<'_>, checkpoint: B256) -> Result<Option<BatchData>, WorkError> {
    let Some(number) = journal::batch_of_checkpoint(view, checkpoint)? else { return Ok(None) };
    // Another batch may have taken the number since.
    let data = worker::stored_data(view, number)?;
    Ok(data.filter(|data| checkpoint_hash(data.checkpoint()) == checkpoint))
}

async fn prove(member: &Arc<Member>, key: Key) -> Result<Vec<u8>, Refusal> {
    let read = move |view: &View<'_>| {
        let (batch_number, checkpoint) = worker::executed(view)?;
        let tree = view.tree_at(checkpoint.block_number)?;
        let proof = tree.prove(&key).map_err(StorageError::from)?;
        let object = proof.leaf.object.as_ref().map_or(Vec::new(), |object| {
            object.with_words(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>())
        });
        Ok(Some(StateProof {
            batch_number,
            checkpoint_hash: checkpoint_hash(&checkpoint),
            checkpoint: hex::encode_prefixed(checkpoint.encode()),
            key: B256::new(key.to_bytes()),
            is_present: proof.kind == AbsenceOrLeaf::Leaf,
            leaf_key: B256::new(proof.key.to_bytes()),
            next_key: B256::new(proof.leaf.next.to_bytes()),
            position: proof.leaf.position,
            object: hex::encode_prefixed(object),
            siblings: proof.siblings.iter().map(|sibling| B256::new(sibling.to_hash().0)).collect(),
        }))
    };
    json(&member.read(read).await?)
}
