//! Fetching from whoever has it, and believing only what can be checked.

use std::{fmt, time::Duration};

use alloy_primitives::{Address, B256};
use joule_protocol::Checkpoint;
use thiserror::Error;

use crate::{
    committee::{Committee, Endpoint},
    data::{BatchData, ChunkProof},
    offer::{SignedOffer, checkpoint_hash},
    question::Question,
};

/// One member's failure to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFailure {
    /// The member.
    pub account: Address,
    /// What it did, in words.
    pub reason: String,
    /// Whether it answered, and the answer was not what it must be: a member that serves wrong data lies or has lost its disk.
    pub is_wrong: bool,
}

/// Why nobody served it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// All members were asked.
    #[error("none of {} members served {what}: {}", .tried.len(), Listed(.tried))]
    Nowhere {
        /// What was wanted.
        what: String,
        /// What each of them did.
        tried: Vec<MemberFailure>,
    },
}

struct Listed<'a>(&'a [MemberFailure]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, MemberFailure { account, reason, .. }) in self.0.iter().enumerate() {
            write!(f, "{}{account}: {reason}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl Committee {
    /// The data of the batch between two checkpoints, from the first member that has it. Each member gets `limit`.
    ///
    /// # Errors
    /// No member served it; what each did is in the error.
    pub async fn data(&self, parent: B256, checkpoint: B256, limit: Duration) -> Result<BatchData, FetchError> {
        let read = |bytes: &[u8]| {
            let data = BatchData::decode(bytes).map_err(|error| error.to_string())?;
            data.is_of(parent, checkpoint).map_err(|error| error.to_string())?;
            Ok(data)
        };
        let what = format!("the data of checkpoint {checkpoint}");
        self.first(what, Question::Data(checkpoint), limit, read).await
    }

    /// The blocks of batch `number`, which leads to `checkpoint`, as they were offered to the members. Execute them to know that they do:
    /// an offer's blocks are bound by its signature alone.
    ///
    /// # Errors
    /// No member served it; what each did is in the error.
    pub async fn offer(&self, number: u64, checkpoint: B256, limit: Duration) -> Result<SignedOffer, FetchError> {
        self.offers(number, limit, |offer| match offer.offer().statement().checkpoint {
            got if got == checkpoint => Ok(()),
            got => Err(format!("it leads to {got}")),
        })
        .await
    }

    /// The first offer of batch `number` that `accept` takes.
    ///
    /// # Errors
    /// No member served one; what each did is in the error.
    pub async fn offers(
        &self,
        number: u64,
        limit: Duration,
        accept: impl Fn(&SignedOffer) -> Result<(), String>,
    ) -> Result<SignedOffer, FetchError> {
        let read = |bytes: &[u8]| {
            let offer = SignedOffer::decode(bytes).map_err(|error| error.to_string())?;
            match offer.offer().statement().batch_number {
                got if got != number => Err(format!("it is batch {got}'s")),
                _ => accept(&offer).map(|()| offer),
            }
        };
        self.first(format!("the blocks of batch {number}"), Question::Batch(number), limit, read).await
    }

    /// Asks one member for one chunk, and checks it against the checkpoints. The caller draws `index` at random: a member that lost one
    /// chunk of a hundred passes 69 such probes in a row with a chance of a half.
    ///
    /// # Errors
    /// The member did not show the chunk.
    pub async fn probe(
        &self,
        member: &Endpoint,
        parent: &Checkpoint,
        checkpoint: &Checkpoint,
        index: u32,
        limit: Duration,
    ) -> Result<ChunkProof, MemberFailure> {
        let question = Question::Chunk(checkpoint_hash(checkpoint), index);
        let read = |bytes: &[u8]| {
            let proof = ChunkProof::decode(bytes).map_err(|error| error.to_string())?;
            proof.verify(parent, checkpoint, index as usize).map_err(|error| error.to_string())?;
            Ok(proof)
        };
        self.one(member, question, limit, read).await
    }

    /// Asks one member after another until one answers what `read` takes.
    ///
    /// # Errors
    /// No member did; what each did is in the error.
    pub async fn first<T>(
        &self,
        what: String,
        question: Question,
        limit: Duration,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, FetchError> {
        let mut tried = Vec::new();
        for member in self.in_turn() {
            match self.one(member, question, limit, &read).await {
                Ok(found) => return Ok(found),
                Err(failure) => {
                    tracing::debug!(member = %failure.account, reason = %failure.reason, %what, "a member did not serve");
                    tried.push(failure);
                }
            }
        }
        Err(FetchError::Nowhere { what, tried })
    }

    async fn one<T>(
        &self,
        member: &Endpoint,
        question: Question,
        limit: Duration,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, MemberFailure> {
        self.ask_for(member, question, limit, read).await.map_err(|error| MemberFailure {
            account: member.account,
            reason: error.to_string(),
            is_wrong: error.is_wrong(),
        })
    }
}
