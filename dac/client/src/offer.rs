//! What the sequencer asks a member to sign: a batch with everything that leads to it.

use alloy_primitives::{Address, B256, keccak256};
use joule_committee::{CertificateStatement, CompactSignature, Reader, SignatureError, WireError};
use joule_protocol::{Checkpoint, Native};
use thiserror::Error;

const VERSION: u8 = 1;

/// Longest offer, bytes. A signed transaction has at most 1,536 bytes and a payment has about 150, so this is a batch of some
/// hundred thousand payments: far more than one proof or one fallback to L1 carries.
pub const OFFER_BYTES_MAX: usize = 16 << 20;

/// Most blocks of a batch. With a block every 100 ms this is almost seven minutes of them.
pub const BATCH_BLOCKS_MAX: usize = 4_096;

/// Why bytes are no offer. Whoever sent them is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Not the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// More bytes than an offer may have.
    #[error("the offer has {got} bytes, more than {most}")]
    TooLong {
        /// The most bytes.
        most: usize,
        /// The bytes there are.
        got: usize,
    },
    /// 288 bytes that encode no checkpoint.
    #[error("the {which} checkpoint's bytes are the encoding of none")]
    NoCheckpoint {
        /// The parent or the new one.
        which: &'static str,
    },
    /// A checkpoint whose hash is not in the statement.
    #[error("the {which} checkpoint's hash is {got}, the statement names {expected}")]
    WrongCheckpoint {
        /// The parent or the new one.
        which: &'static str,
        /// The statement's.
        expected: B256,
        /// Of the checkpoint beside it.
        got: B256,
    },
    /// Block numbers that do not lead from one checkpoint to the other.
    #[error("{got} blocks cannot lead from block {from} to block {to}")]
    WrongBlockCount {
        /// The parent's last block.
        from: u64,
        /// The new checkpoint's.
        to: u64,
        /// Blocks in the offer.
        got: usize,
    },
}

/// The hash of a checkpoint, as L1 and certificates name it.
pub fn checkpoint_hash(checkpoint: &Checkpoint) -> B256 {
    B256::new(checkpoint.hash::<Native>().0)
}

/// A batch, the statement asked for, and the blocks that a member executes before it signs.
///
/// Blocks stay in their encoding here: a member decodes them only once it knows that the sequencer sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    statement: CertificateStatement,
    parent: Checkpoint,
    checkpoint: Checkpoint,
    blocks: Vec<Vec<u8>>,
}

impl Offer {
    /// Puts an offer together. `blocks` are encoded `BlockItems`, in order.
    ///
    /// # Errors
    /// Checkpoints other than the statement's, a number of blocks that does not lead from one to the other, or too many bytes.
    pub fn new(
        statement: CertificateStatement,
        parent: Checkpoint,
        checkpoint: Checkpoint,
        blocks: Vec<Vec<u8>>,
    ) -> Result<Self, OfferError> {
        let named = [
            ("parent", statement.parent_checkpoint, checkpoint_hash(&parent)),
            ("new", statement.checkpoint, checkpoint_hash(&checkpoint)),
        ];
        for (which, expected, got) in named {
            if expected != got {
                return Err(OfferError::WrongCheckpoint { which, expected, got });
            }
        }
        let (from, to, got) = (parent.block_number, checkpoint.block_number, blocks.len());
        if got == 0 || got > BATCH_BLOCKS_MAX || from.checked_add(got as u64) != Some(to) {
            return Err(OfferError::WrongBlockCount { from, to, got });
        }
        let offer = Self { statement, parent, checkpoint, blocks };
        match offer.encoded_bytes() {
            got if got > OFFER_BYTES_MAX => Err(OfferError::TooLong { most: OFFER_BYTES_MAX, got }),
            _ => Ok(offer),
        }
    }

    /// What is to be signed.
    pub fn statement(&self) -> &CertificateStatement {
        &self.statement
    }

    /// Where the batch starts.
    pub fn parent(&self) -> &Checkpoint {
        &self.parent
    }

    /// Where it leads.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The encoded blocks.
    pub fn blocks(&self) -> &[Vec<u8>] {
        &self.blocks
    }

    /// What the sequencer signs: the statement and the blocks, so that nobody on the way swaps one block for another that hashes
    /// differently and lets a member take the sequencer for a liar.
    pub fn digest(&self) -> B256 {
        let mut blocks = Vec::new();
        self.write_blocks(&mut blocks);
        let parts = [keccak256("Joule batch offer v1"), self.statement.digest(), keccak256(blocks)];
        keccak256(parts.map(|part| part.0).as_flattened())
    }

    /// Adds the sequencer's signature over [`Offer::digest`].
    pub fn signed(self, signature: CompactSignature) -> SignedOffer {
        SignedOffer { offer: self, signature }
    }

    fn encoded_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| 4 + block.len()).sum();
        1 + CertificateStatement::BYTES + 2 * Checkpoint::BYTES + 4 + blocks + 64
    }

    fn write_blocks(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.blocks.len() as u32).to_be_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&(block.len() as u32).to_be_bytes());
            out.extend_from_slice(block);
        }
    }
}

/// An offer with a signature. Whose it is says [`SignedOffer::signer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOffer {
    offer: Offer,
    signature: CompactSignature,
}

impl SignedOffer {
    /// The offer.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The signature, unchecked.
    pub fn signature(&self) -> &CompactSignature {
        &self.signature
    }

    /// Who signed it.
    ///
    /// # Errors
    /// Nobody did.
    pub fn signer(&self) -> Result<Address, SignatureError> {
        self.signature.recover(self.offer.digest())
    }

    /// Version ‖ statement ‖ parent checkpoint ‖ checkpoint ‖ block count (4) ‖ each block's length (4) and bytes ‖ signature (r ‖ vs).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.offer.encoded_bytes());
        out.push(VERSION);
        self.offer.statement.write(&mut out);
        out.extend_from_slice(&self.offer.parent.encode());
        out.extend_from_slice(&self.offer.checkpoint.encode());
        self.offer.write_blocks(&mut out);
        self.signature.write(&mut out);
        out
    }

    /// The inverse of [`SignedOffer::encode`].
    ///
    /// # Errors
    /// Bytes that are the encoding of no offer.
    pub fn decode(bytes: &[u8]) -> Result<Self, OfferError> {
        if bytes.len() > OFFER_BYTES_MAX {
            return Err(OfferError::TooLong { most: OFFER_BYTES_MAX, got: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let statement = CertificateStatement::read(&mut reader)?;
        let parent = read_checkpoint(&mut reader, "parent")?;
        let checkpoint = read_checkpoint(&mut reader, "new")?;
        let blocks = read_list(&mut reader, "blocks")?;
        let signature = CompactSignature::read(&mut reader)?;
        reader.end()?;
        Ok(Offer::new(statement, parent, checkpoint, blocks)?.signed(signature))
    }
}

/// A checkpoint in its L1 encoding.
pub(crate) fn read_checkpoint(reader: &mut Reader<'_>, which: &'static str) -> Result<Checkpoint, OfferError> {
    match Checkpoint::decode(&reader.array()?) {
        Some(Ok(checkpoint)) => Ok(checkpoint),
        Some(Err(_)) | None => Err(OfferError::NoCheckpoint { which }),
    }
}

/// One item per block, each after its length. Holds no more than the bytes it was given.
pub(crate) fn read_list(reader: &mut Reader<'_>, what: &'static str) -> Result<Vec<Vec<u8>>, WireError> {
    let got = reader.u32()? as usize;
    if !(1..=BATCH_BLOCKS_MAX).contains(&got) {
        return Err(WireError::CountOutOfRange { what, least: 1, most: BATCH_BLOCKS_MAX, got });
    }
    let mut items = Vec::new();
    for _ in 0..got {
        let length = reader.u32()? as usize;
        items.push(reader.bytes(length)?.to_vec());
    }
    Ok(items)
}

#[cfg(test)]
pub(crate) mod tests {
    use joule_protocol::{Accumulator, Digest, Hash};
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn checkpoint(block_number: u64) -> Checkpoint {
        Checkpoint {
            protocol_version: 1,
            state_root: Digest::EMPTY,
            block_number,
            block_hash: Hash([block_number as u8; 32]),
            timestamp: 1_800_000_000 + block_number,
            priority_count: 0,
            priority_acc: Accumulator::default(),
            message_acc: Accumulator::default(),
            data_acc: Accumulator::default(),
        }
    }

    pub(crate) fn offer(blocks: Vec<Vec<u8>>) -> Offer {
        let (parent, checkpoint) = (checkpoint(7), checkpoint(7 + blocks.len() as u64));
        let statement = CertificateStatement {
            l1_chain_id: 31_337,
            rollup: Address::repeat_byte(0x11),
            batch_number: 3,
            parent_checkpoint: checkpoint_hash(&parent),
            checkpoint: checkpoint_hash(&checkpoint),
            revert_count: 1,
            data_bytes: 99,
            expiry: 1_900_000_000,
            keyset_hash: B256::repeat_byte(0x22),
        };
        Offer::new(statement, parent, checkpoint, blocks).expect("an offer")
    }

    fn signature() -> CompactSignature {
        CompactSignature { r: B256::repeat_byte(1), vs: B256::repeat_byte(2) }
    }

    proptest! {
        #[test]
        fn offers_are_strict(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5)) {
            let signed = offer(blocks).signed(signature());
            let bytes = signed.encode();
            prop_assert_eq!(SignedOffer::decode(&bytes), Ok(signed));
            for length in 0..bytes.len() {
                prop_assert!(SignedOffer::decode(&bytes[..length]).is_err(), "cut to {} bytes", length);
            }
            let mut longer = bytes;
            longer.push(0);
            prop_assert_eq!(SignedOffer::decode(&longer), Err(WireError::Trailing { bytes: 1 }.into()));
        }

        #[test]
        fn changed_bytes_are_refused_or_change_the_offer(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let signed = offer(vec![vec![1, 2, 3], vec![4]]).signed(signature());
            let mut bytes = signed.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = SignedOffer::decode(&bytes) {
                prop_assert_ne!(&other, &signed);
                prop_assert_eq!(other.encode(), bytes);
                let is_signature = at >= signed.encode().len() - 64;
                prop_assert_eq!(other.offer().digest() == signed.offer().digest(), is_signature);
            }
        }

        #[test]
        fn random_bytes_are_no_offer(bytes in prop::collection::vec(any::<u8>(), 0..1_000)) {
            prop_assert!(SignedOffer::decode(&bytes).is_err());
        }
    }

    #[test]
    fn statements_of_other_checkpoints_are_refused() {
        let good = offer(vec![vec![1]]);
        let other = CertificateStatement { checkpoint: B256::ZERO, ..good.statement };
        let refused = Offer::new(other, good.parent, good.checkpoint, good.blocks.clone());
        assert!(matches!(refused, Err(OfferError::WrongCheckpoint { which: "new", .. })));
        let refused = Offer::new(good.statement, good.parent, good.checkpoint, vec![vec![1]; 2]);
        assert_eq!(refused, Err(OfferError::WrongBlockCount { from: 7, to: 8, got: 2 }));
        let refused = Offer::new(good.statement, good.parent, good.checkpoint, vec![vec![0; OFFER_BYTES_MAX]]);
        assert!(matches!(refused, Err(OfferError::TooLong { .. })));
    }

    #[test]
    fn a_count_without_bytes_allocates_nothing() {
        let mut bytes = offer(vec![vec![1]]).signed(signature()).encode();
        let count_at = 1 + CertificateStatement::BYTES + 2 * Checkpoint::BYTES;
        bytes[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let refused = SignedOffer::decode(&bytes);
        assert!(matches!(refused, Err(OfferError::Wire(WireError::CountOutOfRange { .. }))), "{refused:?}");
    }
}
