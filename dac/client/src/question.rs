//! What a member is asked, over whichever network.
//!
//! Over HTTP a question is a path; over libp2p it has an encoding of its own. Answers are the same bytes.

use std::fmt;

use alloy_primitives::{Address, B256};
use joule_committee::{CompactSignature, Reader, WireError};
use joule_transport::{Message, Protocol};
use thiserror::Error;

use crate::{
    data::DATA_BYTES_MAX,
    offer::OFFER_BYTES_MAX,
    route::{self, JSON_BYTES_MAX, Refusal, SNAPSHOT_HEAD_BYTES, SNAPSHOT_PAGE_BYTES_MAX},
};

/// What anyone may ask a member. Offers are not among them: they go over HTTP alone, where a member can say no before it has taken 16 MiB in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The offer of a stored batch by its number: what a member executes to follow.
    Batch(u64),
    /// A stored batch's [`BatchData`](crate::BatchData) by its number.
    BatchData(u64),
    /// A stored batch's [`BatchData`](crate::BatchData) by the hash of the checkpoint it leads to.
    Data(B256),
    /// One chunk with what shows that it is the batch's: a [`ChunkProof`](crate::ChunkProof).
    Chunk(B256, u32),
    /// What a key of the executed state holds, with its path.
    State(B256),
    /// An account of the executed state, with its path.
    Account(Address),
    /// A page of the last snapshot.
    Snapshot {
        /// First byte of the page.
        from: u64,
        /// The block that the first page named; a page of another snapshot is worth nothing.
        block: Option<u64>,
    },
    /// Where the member stands.
    Status,
}

impl Question {
    /// Path and query over HTTP.
    pub fn path(&self) -> String {
        match self {
            Self::Batch(number) => format!("/v1/batches/{number}"),
            Self::BatchData(number) => format!("/v1/batches/{number}/data"),
            Self::Data(checkpoint) => format!("/v1/data/{checkpoint}"),
            Self::Chunk(checkpoint, index) => format!("/v1/data/{checkpoint}/chunks/{index}"),
            Self::State(key) => format!("/v1/state/{key}"),
            Self::Account(address) => format!("/v1/accounts/{address}"),
            Self::Snapshot { from, block: None } => format!("{}?from={from}", route::SNAPSHOT),
            Self::Snapshot { from, block: Some(block) } => format!("{}?from={from}&block={block}", route::SNAPSHOT),
            Self::Status => route::STATUS.to_owned(),
        }
    }

    /// Bytes of the longest answer.
    pub fn answer_bytes_max(&self) -> usize {
        match self {
            Self::Batch(_) => OFFER_BYTES_MAX,
            Self::BatchData(_) | Self::Data(_) | Self::Chunk(..) => DATA_BYTES_MAX,
            Self::Snapshot { .. } => SNAPSHOT_HEAD_BYTES + SNAPSHOT_PAGE_BYTES_MAX,
            Self::State(_) | Self::Account(_) | Self::Status => JSON_BYTES_MAX,
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path())
    }
}

/// The protocol between a member and whoever asks it.
#[derive(Clone, Copy, Debug)]
pub struct MemberProtocol;

impl Protocol for MemberProtocol {
    type Question = PeerQuestion;
    type Answer = PeerAnswer;
    const NAME: &'static str = "/joule/member/1";
    const QUESTION_BYTES_MAX: usize = 64;
    const ANSWER_BYTES_MAX: usize = 1 + DATA_BYTES_MAX;
}

/// What is asked over libp2p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerQuestion {
    /// Who are you? The answer signs this nonce.
    Identify(B256),
    /// What anyone may ask.
    Ask(Question),
}

/// What a member answers over libp2p.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerAnswer {
    /// The member of this account, with its signature under a [`joule_committee::IdentityClaim`].
    Identity(Address, CompactSignature),
    /// What was asked for.
    Found(Vec<u8>),
    /// No.
    Refused(Refusal),
}

/// Why bytes are no question or answer. Whoever sent them is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerMessageError {
    /// Not the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A kind that does not exist.
    #[error("{got} is no kind of {what}")]
    UnknownKind {
        /// Question or answer.
        what: &'static str,
        /// The first byte.
        got: u8,
    },
    /// A refusal that cannot be read.
    #[error("the refusal is unreadable: {0}")]
    Refusal(String),
}

impl Message for PeerQuestion {
    type Error = PeerMessageError;

    /// Kind ‖ what it asks for, each number of fixed length.
    fn encode(&self) -> Vec<u8> {
        let kind = |kind: u8, rest: &[&[u8]]| [&[kind][..], &rest.concat()].concat();
        match self {
            Self::Identify(nonce) => kind(0, &[nonce.as_slice()]),
            Self::Ask(question) => match question {
                Question::Batch(number) => kind(1, &[&number.to_be_bytes()]),
                Question::BatchData(number) => kind(2, &[&number.to_be_bytes()]),
                Question::Data(checkpoint) => kind(3, &[checkpoint.as_slice()]),
                Question::Chunk(checkpoint, index) => kind(4, &[checkpoint.as_slice(), &index.to_be_bytes()]),
                Question::State(key) => kind(5, &[key.as_slice()]),
                Question::Account(address) => kind(6, &[address.as_slice()]),
                Question::Snapshot { from, block: None } => kind(7, &[&from.to_be_bytes()]),
                Question::Snapshot { from, block: Some(block) } => {
                    kind(8, &[&from.to_be_bytes(), &block.to_be_bytes()])
                }
                Question::Status => kind(9, &[]),
            },
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, PeerMessageError> {
        let mut reader = Reader::new(bytes);
        let question = match reader.u8()? {
            0 => Self::Identify(reader.b256()?),
            1 => Self::Ask(Question::Batch(reader.u64()?)),
            2 => Self::Ask(Question::BatchData(reader.u64()?)),
            3 => Self::Ask(Question::Data(reader.b256()?)),
            4 => Self::Ask(Question::Chunk(reader.b256()?, reader.u32()?)),
            5 => Self::Ask(Question::State(reader.b256()?)),
            6 => Self::Ask(Question::Account(reader.address()?)),
            7 => Self::Ask(Question::Snapshot { from: reader.u64()?, block: None }),
            8 => Self::Ask(Question::Snapshot { from: reader.u64()?, block: Some(reader.u64()?) }),
            9 => Self::Ask(Question::Status),
            got => return Err(PeerMessageError::UnknownKind { what: "question", got }),
        };
        reader.end()?;
        Ok(question)
    }
}

impl Message for PeerAnswer {
    type Error = PeerMessageError;

    /// Kind ‖ account and signature, or the bytes found, or the refusal's JSON.
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Identity(account, signature) => {
                let mut bytes = [&[0][..], account.as_slice()].concat();
                signature.write(&mut bytes);
                bytes
            }
            Self::Found(found) => [&[1][..], found].concat(),
            Self::Refused(refusal) => {
                // Two strings always serialise; a member that could not would still have said no.
                let mut bytes = vec![2];
                bytes.extend(serde_json::to_vec(refusal).unwrap_or_default());
                bytes
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, PeerMessageError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            0 => {
                let identity = Self::Identity(reader.address()?, CompactSignature::read(&mut reader)?);
                reader.end()?;
                Ok(identity)
            }
            1 => Ok(Self::Found(reader.bytes(reader.left())?.to_vec())),
            2 => {
                let json = reader.bytes(reader.left())?;
                if json.len() > JSON_BYTES_MAX {
                    return Err(PeerMessageError::Refusal(format!("it has {} bytes", json.len())));
                }
                let refusal = serde_json::from_slice(json);
                refusal.map(Self::Refused).map_err(|error| PeerMessageError::Refusal(error.to_string()))
            }
            got => Err(PeerMessageError::UnknownKind { what: "answer", got }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::{BATCH, BATCH_DATA, CHUNK, DATA, RefusalCode};

    fn question() -> impl Strategy<Value = PeerQuestion> {
        let hash = any::<[u8; 32]>().prop_map(B256::new);
        let ask = prop_oneof![
            any::<u64>().prop_map(Question::Batch),
            any::<u64>().prop_map(Question::BatchData),
            hash.clone().prop_map(Question::Data),
            (hash.clone(), any::<u32>()).prop_map(|(checkpoint, index)| Question::Chunk(checkpoint, index)),
            hash.clone().prop_map(Question::State),
            any::<[u8; 20]>().prop_map(|address| Question::Account(Address::new(address))),
            (any::<u64>(), any::<Option<u64>>()).prop_map(|(from, block)| Question::Snapshot { from, block }),
            Just(Question::Status),
        ];
        prop_oneof![hash.prop_map(PeerQuestion::Identify), ask.prop_map(PeerQuestion::Ask)]
    }

    #[test]
    fn paths_are_the_patterns_filled_in() {
        let hash = B256::repeat_byte(0xab);
        assert_eq!(BATCH.replace("{number}", "7"), Question::Batch(7).path());
        assert_eq!(BATCH_DATA.replace("{number}", "7"), Question::BatchData(7).path());
        assert_eq!(DATA.replace("{checkpoint}", &hash.to_string()), Question::Data(hash).path());
        let chunk = CHUNK.replace("{checkpoint}", &hash.to_string()).replace("{index}", "3");
        assert_eq!(chunk, Question::Chunk(hash, 3).path());
    }

    #[test]
    fn answers_read_back_and_nonsense_does_not() {
        let refusal = Refusal { code: RefusalCode::NotFound, message: "no".to_owned() };
        let signature = CompactSignature { r: B256::repeat_byte(1), vs: B256::repeat_byte(2) };
        for answer in [
            PeerAnswer::Identity(Address::repeat_byte(9), signature),
            PeerAnswer::Found(Vec::new()),
            PeerAnswer::Found(vec![1; 1_000]),
            PeerAnswer::Refused(refusal),
        ] {
            assert_eq!(PeerAnswer::decode(&answer.encode()), Ok(answer));
        }
        assert_eq!(PeerAnswer::decode(&[7]), Err(PeerMessageError::UnknownKind { what: "answer", got: 7 }));
        assert!(matches!(PeerAnswer::decode(b"\x02{}"), Err(PeerMessageError::Refusal(_))));
        let long = [&[2][..], &vec![b' '; JSON_BYTES_MAX + 1]].concat();
        assert!(matches!(PeerAnswer::decode(&long), Err(PeerMessageError::Refusal(_))));
        let mut identity = PeerAnswer::Identity(Address::repeat_byte(9), signature).encode();
        identity.push(0);
        assert!(PeerAnswer::decode(&identity).is_err());
        assert!(PeerAnswer::decode(&[]).is_err());
    }

    proptest! {
        #[test]
        fn questions_read_back_within_their_bound(question in question()) {
            let bytes = question.encode();
            prop_assert!(bytes.len() <= MemberProtocol::QUESTION_BYTES_MAX);
            prop_assert_eq!(PeerQuestion::decode(&bytes), Ok(question));
            prop_assert!(PeerQuestion::decode(&[&bytes[..], &[0]].concat()).is_err());
            prop_assert!(PeerQuestion::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = PeerQuestion::decode(&bytes);
            let _ = PeerAnswer::decode(&bytes);
        }
    }
}
