//! secp256k1 key recovery, total on the signatures that the kernel lets through.
//!
//! Source: SEC 1 version 2, section 4.1.6, with x(R) = r only (Ethereum has no recovery identifiers 2 and 3).

use secp256k1::{
    Message,
    ecdsa::{RecoverableSignature, RecoveryId},
};

use crate::{abort::Reason, layout::ECRECOVER_WORDS};

/// n, the order of the group, least significant word first.
const ORDER: [u32; 8] =
    [0xd036_4141, 0xbfd2_5e8c, 0xaf48_a03b, 0xbaae_dce6, 0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff];
/// (n − 1) / 2, the largest `s` that Ethereum accepts.
const HALF_ORDER: [u32; 8] =
    [0x681b_20a0, 0xdfe9_2f46, 0x57a4_501d, 0x5d57_6e73, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0x7fff_ffff];

/// Words of an `ecrecover` that are inputs; the others are its outputs.
pub(crate) const INPUT_WORDS: usize = 25;
const OUTPUT_WORDS: usize = ECRECOVER_WORDS - INPUT_WORDS;

/// The outputs (status, x, y) for the inputs (hash, r, s, parity).
///
/// Aborts only where the kernel has promised not to call: r or s out of range, or a parity that is no bit.
pub(crate) fn recover(input: &[u32; INPUT_WORDS]) -> Result<[u32; OUTPUT_WORDS], Reason> {
    let part = |from: usize| -> &[u32] { &input[from..from + 8] };
    let (r, s, parity) = (part(8), part(16), input[24]);
    let is_zero = |words: &[u32]| words.iter().all(|&word| word == 0);
    if is_zero(r) || !is_below(r, &ORDER) {
        return Err(Reason::SignatureOutOfRange { what: "r" });
    }
    if is_zero(s) || is_below(&HALF_ORDER, s) {
        return Err(Reason::SignatureOutOfRange { what: "s" });
    }
    let identifier = match parity {
        0 => RecoveryId::Zero,
        1 => RecoveryId::One,
        _ => return Err(Reason::SignatureOutOfRange { what: "parity" }),
    };

    let mut compact = [0; 64];
    compact[..32].copy_from_slice(&to_bytes(r));
    compact[32..].copy_from_slice(&to_bytes(s));
    // libsecp256k1 reduces the message hash modulo n. It fails where there is no R and where Q is the point at infinity,
    // which are the two cases of status 0.
    let key = RecoverableSignature::from_compact(&compact, identifier)
        .and_then(|signature| signature.recover(Message::from_digest(to_bytes(part(0)))));
    let mut output = [0; OUTPUT_WORDS];
    if let Ok(key) = key {
        let point = key.serialize_uncompressed();
        output[0] = 1;
        from_bytes(&point[1..33], &mut output[1..9]);
        from_bytes(&point[33..], &mut output[9..]);
    }
    Ok(output)
}

/// Compares integers of eight words, least significant first.
fn is_below(left: &[u32], right: &[u32]) -> bool {
    left.iter().rev().lt(right.iter().rev())
}

fn to_bytes(words: &[u32]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words.iter().rev()) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8], words: &mut [u32]) {
    for (chunk, word) in bytes.chunks_exact(4).zip(words.iter_mut().rev()) {
        *word = chunk.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
    }
}
