//! A block as the sequencer gossips it.

use joule_kernel::recover_address;
use joule_protocol::{Address, BlockHeader, Hash, Native, Signature};
use joule_state::{
    BlockItems,
    wire::{Reader, WireError, Writer},
};
use joule_storage::{BlockRecord, block_signing_hash};
use thiserror::Error;

/// The first bytes of an encoded block.
const FORMAT: [u8; 4] = *b"JB01";

/// Why bytes are no block of the sequencer's. Whoever sent them knew, or did not look.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlockRefused {
    /// Not the encoding.
    #[error(transparent)]
    Malformed(#[from] WireError),
    /// Signed by nobody, or by somebody else.
    #[error("block {number} is signed by {}, the sequencer is {expected}", .got.map_or("nobody".to_owned(), |got| got.to_string()))]
    NotSequencer {
        /// The block.
        number: u64,
        /// Whom L1 names.
        expected: Address,
        /// Who signed.
        got: Option<Address>,
    },
}

/// A block's items and header with the sequencer's signature over both: if the items do not execute to the header, that is the sequencer's lie.
///
/// Only [`SignedBlock::read`] makes one from bytes, and it checks the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBlock {
    header: BlockHeader,
    items: BlockItems,
    signature: [u8; 65],
}

impl SignedBlock {
    /// A block from the disk; `None` if it was executed without a signature, from what L1 committed.
    pub fn of(record: &BlockRecord) -> Option<Self> {
        Some(Self { header: record.header, items: record.items.clone(), signature: record.signature? })
    }

    /// The encoding: `"JB01" · parent (32) · transactions root (32) · receipts root (32) · state root (32) · number u64 · signature (65) · items`.
    pub fn encode(&self) -> Vec<u8> {
        let items = self.items.encode();
        let mut writer = Writer::with_capacity(items.len() + 256);
        writer.raw(&FORMAT).raw(&self.header.parent.0).raw(&self.header.transactions_root.0);
        writer.raw(&self.header.receipts_root.0).raw(&self.header.state_root.to_hash().0);
        writer.u64(self.header.number).raw(&self.signature).raw(&items);
        writer.finish()
    }

    /// The inverse of [`SignedBlock::encode`], if `sequencer` signed it. Nothing of it has been executed.
    ///
    /// # Errors
    /// Bytes that are no block, or another signature.
    pub fn read(bytes: &[u8], sequencer: &Address) -> Result<Self, BlockRefused> {
        let mut reader = Reader::new(bytes);
        reader.format(FORMAT)?;
        let (parent, transactions_root) = (reader.hash("parent")?, reader.hash("transactions root")?);
        let (receipts_root, state_root) = (reader.hash("receipts root")?, reader.digest("state root")?);
        let (number, signature) = (reader.u64("number")?, reader.array("signature")?);
        let left = reader.remaining();
        let items_bytes = reader.raw("items", left)?;
        let items = BlockItems::decode(items_bytes)?;
        let (timestamp, base_fee) = (items.timestamp, items.base_fee);
        let header = BlockHeader { parent, number, timestamp, base_fee, transactions_root, receipts_root, state_root };
        let signed = block_signing_hash(&header.hash::<Native>(), items_bytes);
        let got =
            Signature::from_bytes(&signature).and_then(|signature| recover_address::<Native>(&signed, &signature));
        if got != Some(*sequencer) {
            return Err(BlockRefused::NotSequencer { number, expected: *sequencer, got });
        }
        Ok(Self { header, items, signature })
    }

    /// The header that was signed.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// What it is made of.
    pub fn items(&self) -> &BlockItems {
        &self.items
    }

    /// The sequencer's signature, r ‖ s ‖ v.
    pub fn signature(&self) -> &[u8; 65] {
        &self.signature
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// The hash that was signed.
    pub fn hash(&self) -> Hash {
        self.header.hash::<Native>()
    }
}
