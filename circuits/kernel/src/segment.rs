//! One segment: what one run of the proven image does.

use alloc::vec::Vec;

use joule_protocol::{
    Checkpoint, Envelope, Hash, Key, PROTOCOL_VERSION, PriorityRequest, Refusal, Signature,
    limits::{
        BLOCK_PRIORITY_MAX, BLOCK_TRANSACTIONS_MAX, PRIORITY_DATA_BYTES_MAX, SEGMENT_BLOCKS_MAX, TRANSACTION_BYTES_MAX,
    },
};

use crate::{Abort, BlockExecutor, BlockWitness, Crypto, TreeUpdates, WitnessedState};

/// A segment's statement: on chain `chain_id`, execution leads from the checkpoint with hash `from` to the one with hash `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentOutput {
    /// Chain id.
    pub chain_id: u64,
    /// Hash of the checkpoint the segment starts from.
    pub from: Hash,
    /// Hash of the checkpoint it reaches.
    pub to: Hash,
}

/// Words of a signature in the input: r, s, parity.
const SIGNATURE_WORDS: usize = 17;

/// One block of a segment's input.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// Unix seconds.
    pub timestamp: u64,
    /// Price per unit of gas.
    pub base_fee: u64,
    /// Priority requests, as L1 accumulated them.
    pub requests: &'a [Vec<u8>],
    /// Signed transactions.
    pub transactions: &'a [Vec<u8>],
    /// Hints.
    pub witness: &'a BlockWitness,
}

/// Lays a segment's private input out as [`run_segment`] reads it.
pub fn write_input(chain_id: u64, from: &Checkpoint, blocks: &[BlockInput<'_>]) -> Vec<u32> {
    let mut input = Vec::new();
    put_u64(&mut input, chain_id);
    put_bytes(&mut input, &from.encode());
    input.push(blocks.len() as u32);
    for block in blocks {
        put_u64(&mut input, block.timestamp);
        put_u64(&mut input, block.base_fee);
        input.push(block.requests.len() as u32);
        input.push(block.transactions.len() as u32);
        block.witness.write(&mut input);
        for request in block.requests {
            input.push(request.len() as u32);
            put_bytes(&mut input, request);
        }
        for transaction in block.transactions {
            put_transaction(&mut input, transaction);
        }
    }
    input
}

/// A transaction goes in as what was signed, aligned, and the signature in words: as the kernel hashes the one and the machine takes the other. Bytes that are no
/// transaction, which no executed block holds, go in as an empty one, which the kernel refuses as it refuses them.
fn put_transaction(input: &mut Vec<u32>, bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else {
        input.extend_from_slice(&[0; 1 + SIGNATURE_WORDS]);
        return;
    };
    let preimage = envelope.preimage();
    input.push(preimage.len() as u32);
    envelope.signature.words().into_iter().for_each(|words| input.extend_from_slice(words));
    input.push(envelope.signature.is_odd().into());
    put_bytes(input, &preimage);
}

fn put_u64(input: &mut Vec<u32>, value: u64) {
    input.extend_from_slice(&[(value >> 32) as u32, value as u32]);
}

/// Bytes in memory order, padded with zeros to a whole word.
fn put_bytes(input: &mut Vec<u32>, bytes: &[u8]) {
    input.extend(bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(word)
    }));
}

#[cfg(target_endian = "big")]
compile_error!("words of private input are read as bytes in place, which wants a little-endian machine");

/// Reads a segment's private input, which a prover chose.
pub(crate) struct InputReader<'a> {
    words: &'a [u32],
    at: usize,
}

impl<'a> InputReader<'a> {
    pub(crate) fn words(&mut self, count: usize) -> Result<&'a [u32], Abort> {
        let words = self
            .words
            .get(self.at..self.at + count)
            .ok_or(Abort::MalformedInput { at: self.at, reason: "it ends early" })?;
        self.at += count;
        Ok(words)
    }

    pub(crate) fn word(&mut self) -> Result<u32, Abort> {
        Ok(self.words(1)?[0])
    }

    pub(crate) fn key(&mut self) -> Result<Key, Abort> {
        Ok(Key::from_words(self.words(8)?.try_into().expect("eight words")))
    }

    fn u64(&mut self) -> Result<u64, Abort> {
        let words = self.words(2)?;
        Ok(u64::from(words[0]) << 32 | u64::from(words[1]))
    }

    #[inline(always)]
    fn signature(&mut self) -> Result<Signature, Abort> {
        let (r, s) = (self.words(8)?, self.words(8)?);
        let is_odd = self.count("parity of a signature", 1)? == 1;
        let integer = |words: &[u32]| words.try_into().expect("eight words");
        match Signature::from_words(integer(r), integer(s), is_odd) {
            Some(signature) => Ok(signature),
            None => {
                let reason = "r or s is zero or too large (s must be at most n/2)";
                Err(Abort::Refused(Refusal::BadSignature { reason, v: is_odd.into() }))
            }
        }
    }

    pub(crate) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, Abort> {
        match self.word()? as usize {
            count if count > limit => Err(Abort::OverLimit { what, limit: limit as u64 }),
            count => Ok(count),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Abort> {
        Ok(&bytemuck::cast_slice(self.words(length.div_ceil(4))?)[..length])
    }
}

/// Runs one segment on private input.
///
/// This is the whole program that a proof speaks of: the image is this function between reading memory and committing the
/// output. Its input is free, so it trusts none of it: the checkpoint is bound by its hash in the output, transactions by signatures, requests
/// by the accumulator in the checkpoint, objects by the root in the checkpoint.
///
/// # Errors
/// Any [`Abort`]: then there is no proof.
pub fn run_segment<C: Crypto>(input: &[u32], updates: &mut impl TreeUpdates) -> Result<SegmentOutput, Abort> {
    let mut input = InputReader { words: input, at: 0 };
    let chain_id = input.u64()?;
    let encoded: &[u8; Checkpoint::BYTES] =
        input.bytes(Checkpoint::BYTES)?.try_into().expect("as many bytes as asked for");
    let start = Checkpoint::decode(encoded).and_then(Result::ok);
    let start = start.ok_or(Abort::MalformedInput { at: 2, reason: "the checkpoint is not canonical" })?;
    if start.protocol_version != PROTOCOL_VERSION {
        return Err(Abort::WrongVersion { got: start.protocol_version, expected: PROTOCOL_VERSION });
    }
    let from = C::keccak256(encoded);
    let block_count = input.count("blocks in a segment", SEGMENT_BLOCKS_MAX)?;
    if block_count == 0 {
        return Err(Abort::EmptySegment);
    }
    let mut checkpoint = start;
    for _ in 0..block_count {
        checkpoint = run_block::<C>(chain_id, &checkpoint, &mut input, updates)?;
    }
    Ok(SegmentOutput { chain_id, from, to: checkpoint.hash::<C>() })
}

fn run_block<C: Crypto>(
    chain_id: u64,
    parent: &Checkpoint,
    input: &mut InputReader<'_>,
    updates: &mut impl TreeUpdates,
) -> Result<Checkpoint, Abort> {
    let (timestamp, base_fee) = (input.u64()?, input.u64()?);
    let request_count = input.count("priority requests in a block", BLOCK_PRIORITY_MAX)?;
    let transaction_count = input.count("transactions in a block", BLOCK_TRANSACTIONS_MAX)?;
    let mut state = WitnessedState::<C, _>::read(parent.state_root, input, updates)?;
    // A transfer's share of the batch data is 56 bytes and two accounts of 48.
    let capacity_bytes = 160 * (request_count + transaction_count + 2);
    let mut block = BlockExecutor::<_, C>::begin(&mut state, chain_id, parent, timestamp, base_fee, capacity_bytes)?;
    for _ in 0..request_count {
        let length =
            input.count("bytes of a priority request", PriorityRequest::HEAD_BYTES + PRIORITY_DATA_BYTES_MAX)?;
        block.request(input.bytes(length)?, &mut ())?;
    }
    for _ in 0..transaction_count {
        let length = input.count("bytes of a transaction", TRANSACTION_BYTES_MAX)?;
        let signature = input.signature()?;
        block.signed_transaction(input.bytes(length)?, &signature, &mut ())?;
    }
    Ok(block.seal()?.checkpoint)
}
