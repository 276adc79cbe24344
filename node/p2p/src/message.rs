//! What peers ask each other, and how long anything may be.

use joule_protocol::{Hash, limits};
use joule_state::{
    BlockItems,
    wire::{Reader, WireError, Writer},
};
use thiserror::Error;

/// Longest gossiped transaction, bytes.
pub const TRANSACTION_BYTES_MAX: usize = limits::TRANSACTION_BYTES_MAX;
/// Longest gossiped block, bytes: its items, and room for a header and the sequencer's signature.
pub const BLOCK_BYTES_MAX: usize = BlockItems::BYTES_MAX + 1_024;
/// Most blocks of one answer.
pub const ANSWER_BLOCKS_MAX: usize = 256;
/// Longest answer, bytes: a few of the longest blocks, or many ordinary ones. One block always fits.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Longest question, bytes.
pub(crate) const QUESTION_BYTES_MAX: usize = 16;

const HEAD: u8 = 0;
const BLOCKS: u8 = 1;

/// Why bytes are no question and no answer. Whoever sent them is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No such kind of message.
    #[error("no message is of kind {got}")]
    UnknownKind {
        /// The kind found.
        got: u8,
    },
}

/// What a peer wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Where the chain stands.
    Head,
    /// Blocks from a number on.
    Blocks {
        /// The first.
        from: u64,
        /// How many, at most [`ANSWER_BLOCKS_MAX`].
        count: u16,
    },
}

/// What it is told. Nothing of it is believed: blocks carry the sequencer's signature and are executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Where the chain stands.
    Head {
        /// The last block's number.
        number: u64,
        /// Its hash.
        hash: Hash,
    },
    /// Blocks in order, fewer than asked for where there are no more or they are long.
    Blocks(Vec<Vec<u8>>),
}

impl Question {
    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(QUESTION_BYTES_MAX);
        match self {
            Self::Head => writer.u8(HEAD),
            Self::Blocks { from, count } => writer.u8(BLOCKS).u64(*from).raw(&count.to_be_bytes()),
        };
        writer.finish()
    }

    /// The inverse of [`Question::encode`].
    ///
    /// # Errors
    /// Anything but the one encoding of a question.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(bytes);
        let question = match reader.u8("kind")? {
            HEAD => Self::Head,
            BLOCKS => {
                let (from, count) = (reader.u64("from")?, u16::from_be_bytes(reader.array("count")?));
                if count == 0 || usize::from(count) > ANSWER_BLOCKS_MAX {
                    return Err(WireError::OutOfRange { field: "count", got: count.into() }.into());
                }
                Self::Blocks { from, count }
            }
            got => return Err(MessageError::UnknownKind { got }),
        };
        reader.end()?;
        Ok(question)
    }
}

impl Answer {
    /// As many of the blocks, from the front, as an answer holds.
    pub fn blocks(blocks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut left = ANSWER_BYTES_MAX - 8;
        let fits = |block: &Vec<u8>| {
            let bytes = 4 + block.len();
            let fits = bytes <= left && block.len() <= BLOCK_BYTES_MAX;
            left = left.saturating_sub(bytes);
            fits
        };
        Self::Blocks(blocks.into_iter().take(ANSWER_BLOCKS_MAX).take_while(fits).collect())
    }

    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        match self {
            Self::Head { number, hash } => {
                writer.u8(HEAD).u64(*number).raw(&hash.0);
            }
            Self::Blocks(blocks) => {
                writer.u8(BLOCKS).length(blocks.len());
                for block in blocks {
                    writer.bytes(block);
                }
            }
        }
        writer.finish()
    }

    /// The inverse of [`Answer::encode`].
    ///
    /// # Errors
    /// Anything but the one encoding of an answer within the bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(WireError::OutOfRange { field: "answer", got: bytes.len() as u64 }.into());
        }
        let mut reader = Reader::new(bytes);
        let answer = match reader.u8("kind")? {
            HEAD => Self::Head { number: reader.u64("number")?, hash: reader.hash("hash")? },
            BLOCKS => {
                let count = reader.length("blocks", ANSWER_BLOCKS_MAX)?;
                let blocks = (0..count).map(|_| reader.bytes("block", BLOCK_BYTES_MAX).map(<[u8]>::to_vec));
                Self::Blocks(blocks.collect::<Result<_, WireError>>()?)
            }
            got => return Err(MessageError::UnknownKind { got }),
        };
        reader.end()?;
        Ok(answer)
    }

    /// Whether it answers the question: right in kind, and no more than was asked for.
    pub fn answers(&self, question: &Question) -> bool {
        match (question, self) {
            (Question::Head, Self::Head { .. }) => true,
            (Question::Blocks { count, .. }, Self::Blocks(blocks)) => blocks.len() <= usize::from(*count),
            (Question::Head, Self::Blocks(_)) | (Question::Blocks { .. }, Self::Head { .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn questions() -> impl Strategy<Value = Question> {
        let blocks =
            (any::<u64>(), 1..=ANSWER_BLOCKS_MAX as u16).prop_map(|(from, count)| Question::Blocks { from, count });
        prop_oneof![Just(Question::Head), blocks]
    }

    fn answers() -> impl Strategy<Value = Answer> {
        let blocks = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6).prop_map(Answer::Blocks);
        let head =
            (any::<u64>(), any::<[u8; 32]>()).prop_map(|(number, hash)| Answer::Head { number, hash: Hash(hash) });
        prop_oneof![head, blocks]
    }

    proptest! {
        #[test]
        fn messages_are_strict(question in questions(), answer in answers()) {
            let (asked, told) = (question.encode(), answer.encode());
            prop_assert!(asked.len() <= QUESTION_BYTES_MAX);
            prop_assert_eq!(Question::decode(&asked), Ok(question));
            prop_assert_eq!(Answer::decode(&told), Ok(answer));
            for length in 0..asked.len() {
                prop_assert!(Question::decode(&asked[..length]).is_err());
            }
            for length in 0..told.len() {
                prop_assert!(Answer::decode(&told[..length]).is_err());
            }
            prop_assert!(Question::decode(&[&asked[..], &[0]].concat()).is_err());
            prop_assert!(Answer::decode(&[&told[..], &[0]].concat()).is_err());
        }

        #[test]
        fn what_decodes_of_random_bytes_is_its_only_encoding(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(question) = Question::decode(&bytes) {
                prop_assert_eq!(question.encode(), &bytes[..]);
            }
            if let Ok(answer) = Answer::decode(&bytes) {
                prop_assert_eq!(answer.encode(), bytes);
            }
        }
    }

    #[test]
    fn answers_are_cut_to_their_bounds() {
        let blocks = |count: usize, bytes: usize| match Answer::blocks(vec![vec![7; bytes]; count]) {
            Answer::Blocks(blocks) => blocks.len(),
            Answer::Head { .. } => panic!("blocks"),
        };
        assert_eq!(blocks(1_000, 10), ANSWER_BLOCKS_MAX);
        assert_eq!(blocks(3, BLOCK_BYTES_MAX + 1), 0);
        let most = blocks(1_000, BLOCK_BYTES_MAX);
        assert!(most >= 1, "one block always fits");
        assert!(Answer::blocks(vec![vec![7; BLOCK_BYTES_MAX]; 1_000]).encode().len() <= ANSWER_BYTES_MAX);
    }

    #[test]
    fn an_answer_fits_its_question() {
        let three = Answer::Blocks(vec![Vec::new(); 3]);
        assert!(three.answers(&Question::Blocks { from: 1, count: 3 }));
        assert!(!three.answers(&Question::Blocks { from: 1, count: 2 }));
        assert!(!three.answers(&Question::Head));
        assert!(!Answer::Head { number: 1, hash: Hash::ZERO }.answers(&Question::Blocks { from: 1, count: 2 }));
    }
}
