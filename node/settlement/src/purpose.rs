//! What a transaction to L1 is for.

use alloy::primitives::B256;
use thiserror::Error;

/// What a transaction does for settlement. It is written down with the transaction, so that a restart knows what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Posts one part of a batch's data.
    Post {
        /// The batch.
        number: u64,
        /// The part, from 0.
        part: u32,
    },
    /// Commits a batch.
    Commit {
        /// The batch.
        number: u64,
        /// Drops of committed batches that L1 had counted.
        revert_count: u64,
        /// Hash of the checkpoint it leads to.
        checkpoint: B256,
        /// Until when its certificate promises the data; `None` if the data is on L1.
        expiry: Option<u64>,
    },
    /// Proves a batch.
    Prove {
        /// The batch.
        number: u64,
        /// Hash of the checkpoint it leads to.
        checkpoint: B256,
    },
    /// Executes a batch.
    Execute {
        /// The batch.
        number: u64,
        /// Hash of the checkpoint it leads to.
        checkpoint: B256,
    },
    /// Commits, proves and executes a batch.
    Settle {
        /// The batch.
        number: u64,
        /// Drops of committed batches that L1 had counted.
        revert_count: u64,
        /// Hash of the checkpoint it leads to.
        checkpoint: B256,
        /// Until when its certificate promises the data; `None` if the data is on L1.
        expiry: Option<u64>,
    },
    /// Drops committed batches.
    Revert {
        /// The last batch that stays.
        keep: u64,
        /// Drops that L1 had counted before.
        revert_count: u64,
    },
    /// Uses a nonce up.
    Nothing,
}

/// A tag that no purpose has: the outbox is another program's, or damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an outbox entry's tag {tag:02x?} is no purpose of this version")]
pub struct PurposeError {
    /// The tag.
    pub tag: Vec<u8>,
}

const VERSION: u8 = 1;

impl Purpose {
    /// The batch it is about.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Post { number, .. }
            | Self::Commit { number, .. }
            | Self::Prove { number, .. }
            | Self::Execute { number, .. }
            | Self::Settle { number, .. } => Some(*number),
            Self::Revert { .. } | Self::Nothing => None,
        }
    }

    /// The batch it names to L1, and under which revert count: number, count, checkpoint and certificate expiry.
    pub fn names(&self) -> Option<(u64, u64, B256, Option<u64>)> {
        match *self {
            Self::Commit { number, revert_count, checkpoint, expiry }
            | Self::Settle { number, revert_count, checkpoint, expiry } => {
                Some((number, revert_count, checkpoint, expiry))
            }
            Self::Post { .. } | Self::Prove { .. } | Self::Execute { .. } | Self::Revert { .. } | Self::Nothing => None,
        }
    }

    /// The tag: version ‖ kind ‖ numbers, hash and expiry. Nothing is the empty tag.
    pub fn encode(&self) -> Vec<u8> {
        let mut tag = vec![VERSION, 0];
        let mut put = |kind: u8, numbers: &[u64], hash: Option<&B256>, expiry: Option<Option<u64>>| {
            tag[1] = kind;
            numbers.iter().for_each(|number| tag.extend_from_slice(&number.to_be_bytes()));
            tag.extend_from_slice(hash.map_or(&[], |hash| hash.as_slice()));
            if let Some(expiry) = expiry {
                tag.push(u8::from(expiry.is_some()));
                tag.extend_from_slice(&expiry.unwrap_or(0).to_be_bytes());
            }
        };
        match self {
            Self::Post { number, part } => put(1, &[*number, u64::from(*part)], None, None),
            Self::Commit { number, revert_count, checkpoint, expiry } => {
                put(2, &[*number, *revert_count], Some(checkpoint), Some(*expiry));
            }
            Self::Prove { number, checkpoint } => put(3, &[*number], Some(checkpoint), None),
            Self::Execute { number, checkpoint } => put(4, &[*number], Some(checkpoint), None),
            Self::Settle { number, revert_count, checkpoint, expiry } => {
                put(5, &[*number, *revert_count], Some(checkpoint), Some(*expiry));
            }
            Self::Revert { keep, revert_count } => put(6, &[*keep, *revert_count], None, None),
            Self::Nothing => return Vec::new(),
        }
        tag
    }

    /// The inverse of [`Purpose::encode`].
    ///
    /// # Errors
    /// Any other bytes.
    pub fn decode(tag: &[u8]) -> Result<Self, PurposeError> {
        Self::read(tag).filter(|purpose| purpose.encode() == tag).ok_or_else(|| PurposeError { tag: tag.to_vec() })
    }

    fn read(tag: &[u8]) -> Option<Self> {
        if tag.is_empty() {
            return Some(Self::Nothing);
        }
        let (&[VERSION, kind], mut left) = tag.split_first_chunk::<2>()? else { return None };
        let number = |left: &mut &[u8]| {
            let (head, tail) = left.split_first_chunk::<8>()?;
            *left = tail;
            Some(u64::from_be_bytes(*head))
        };
        let hash = |left: &mut &[u8]| {
            let (head, tail) = left.split_first_chunk::<32>()?;
            *left = tail;
            Some(B256::new(*head))
        };
        let expiry = |left: &mut &[u8]| {
            let (&is_certified, tail) = left.split_first()?;
            *left = tail;
            let expiry = number(left)?;
            Some((is_certified == 1).then_some(expiry))
        };
        let read = &mut left;
        let purpose = match kind {
            1 => Self::Post { number: number(read)?, part: u32::try_from(number(read)?).ok()? },
            2 => Self::Commit {
                number: number(read)?,
                revert_count: number(read)?,
                checkpoint: hash(read)?,
                expiry: expiry(read)?,
            },
            3 => Self::Prove { number: number(read)?, checkpoint: hash(read)? },
            4 => Self::Execute { number: number(read)?, checkpoint: hash(read)? },
            5 => Self::Settle {
                number: number(read)?,
                revert_count: number(read)?,
                checkpoint: hash(read)?,
                expiry: expiry(read)?,
            },
            6 => Self::Revert { keep: number(read)?, revert_count: number(read)? },
            _ => return None,
        };
        read.is_empty().then_some(purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn purpose() -> impl Strategy<Value = Purpose> {
        (0..7_u8, any::<u64>(), any::<u64>(), any::<[u8; 32]>(), any::<Option<u64>>()).prop_map(
            |(kind, number, count, hash, expiry)| {
                let checkpoint = B256::new(hash);
                match kind {
                    0 => Purpose::Nothing,
                    1 => Purpose::Post { number, part: count as u32 },
                    2 => Purpose::Commit { number, revert_count: count, checkpoint, expiry },
                    3 => Purpose::Prove { number, checkpoint },
                    4 => Purpose::Execute { number, checkpoint },
                    5 => Purpose::Settle { number, revert_count: count, checkpoint, expiry },
                    _ => Purpose::Revert { keep: number, revert_count: count },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn tags_are_strict(purpose in purpose(), extra: u8) {
            let tag = purpose.encode();
            prop_assert!(tag.len() <= joule_l1::TAG_BYTES_MAX);
            prop_assert_eq!(Purpose::decode(&tag), Ok(purpose));
            for length in 1..tag.len() {
                prop_assert!(Purpose::decode(&tag[..length]).is_err());
            }
            let longer = [&tag[..], &[extra]].concat();
            prop_assert!(Purpose::decode(&longer).is_err());
        }

        #[test]
        fn no_tag_panics(tag in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(purpose) = Purpose::decode(&tag) {
                prop_assert_eq!(purpose.encode(), tag);
            }
        }
    }
}
