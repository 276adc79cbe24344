//! The offline check of a compute receipt: nothing is asked of anybody.

use alloy::primitives::B256;
use joule_kernel::recover_address;
use joule_protocol::{Checkpoint, ComputeReceipt, Domain, JobStatus, Key, Native, Object, Signature, SystemContract};
use joule_state::{AbsenceOrLeaf, Leaf, Proof};
use thiserror::Error;

use crate::wire::{ReceiptBundle, StateProof, WireError, address_of, hash_of, protocol_hash};

/// Why a bundle or a state proof shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// A field has no meaning.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The path does not end in the state root.
    #[error("the path of {key} does not end in the state root {state_root}")]
    NotInState {
        /// Key of the leaf.
        key: B256,
        /// Root of the checkpoint.
        state_root: B256,
    },
    /// The checkpoint does not hash to the hash beside it.
    #[error("the checkpoint hashes to {got}, the proof names {expected}")]
    WrongCheckpoint {
        /// Hash in the proof.
        expected: B256,
        /// Hash of its checkpoint.
        got: B256,
    },
    /// The proof ends in a checkpoint other than the one that the verifier trusts.
    #[error("the proof is for checkpoint {got}, L1 has {expected}")]
    NotTheExpectedCheckpoint {
        /// What the verifier was given.
        expected: B256,
        /// The checkpoint's hash.
        got: B256,
    },
    /// The signature recovers to nobody.
    #[error("the signature recovers to no key")]
    NoSigner,
    /// Somebody else signed.
    #[error("the receipt names device {expected}, its signature is by {got}")]
    WrongSigner {
        /// Device in the receipt.
        expected: alloy::primitives::Address,
        /// Who signed.
        got: alloy::primitives::Address,
    },
    /// The proven object is not the job of the receipt.
    #[error("the proof is not of the job that the receipt names")]
    NotTheJob,
    /// The job was not settled.
    #[error("the job is not settled")]
    NotSettled,
    /// The job was settled by another receipt.
    #[error("the job was settled by the receipt with digest {expected}, this one has {got}")]
    OtherReceipt {
        /// Digest in the job.
        expected: B256,
        /// Digest of the receipt.
        got: B256,
    },
}

/// What a verified bundle shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The receipt's EIP-712 digest.
    pub digest: B256,
    /// The device that signed it.
    pub device: alloy::primitives::Address,
    /// What was paid for it.
    pub paid: u128,
    /// Hash of the checkpoint that the proof ends in. That L1 executed it is what is left to check.
    pub checkpoint_hash: B256,
}

/// Checks a state proof and returns what it shows under its key: `None` for nothing.
///
/// The checkpoint's hash is recomputed; whether L1 has executed that checkpoint is for the caller to know.
///
/// # Errors
/// `Wire`, `WrongCheckpoint`, `NotInState`.
pub fn verify_state_proof(proof: &StateProof) -> Result<Option<Object>, BundleError> {
    let checkpoint = Checkpoint::try_from(&proof.checkpoint)?;
    let got = hash_of(checkpoint.hash::<Native>());
    if got != proof.checkpoint_hash {
        return Err(BundleError::WrongCheckpoint { expected: proof.checkpoint_hash, got });
    }
    let (key, leaf_key) = (Key::from_bytes(proof.key.0), Key::from_bytes(proof.leaf_key.0));
    let leaf = Leaf {
        position: proof.opening.position,
        next: Key::from_bytes(proof.opening.next_key.0),
        object: proof.object.as_ref().map(Object::try_from).transpose()?,
    };
    let kind = if key == leaf_key { AbsenceOrLeaf::Leaf } else { AbsenceOrLeaf::Absence };
    let path = Proof { kind, key: leaf_key, leaf, siblings: proof.opening.digests()? };
    let not_in_state = BundleError::NotInState { key: proof.leaf_key, state_root: proof.checkpoint.state_root };
    path.verify(checkpoint.state_root, &key).ok_or(not_in_state)
}

/// Checks a bundle: digest, signer, job, path and checkpoint. With `executed`, the checkpoint hash that the verifier read from L1, also that the
/// proof ends there.
///
/// # Errors
/// Every [`BundleError`].
pub fn verify_bundle(bundle: &ReceiptBundle, executed: Option<B256>) -> Result<Verified, BundleError> {
    let receipt = ComputeReceipt::from(&bundle.receipt);
    let domain = Domain::new::<Native>(bundle.chain_id, SystemContract::Jobs, &protocol_hash(bundle.genesis_id));
    let digest = domain.digest::<Native>(&receipt.struct_hash::<Native>());
    let signature = <&[u8; 65]>::try_from(bundle.signature.as_ref()).ok().and_then(Signature::from_bytes);
    let signature = signature.ok_or(WireError::Signature)?;
    let signer = recover_address::<Native>(&digest, &signature).ok_or(BundleError::NoSigner)?;
    if signer != receipt.device {
        return Err(BundleError::WrongSigner { expected: address_of(receipt.device), got: address_of(signer) });
    }
    if bundle.job.key.0 != Key::job(&receipt.client, receipt.client_nonce).to_bytes() {
        return Err(BundleError::NotTheJob);
    }
    let Some(Object::Job(job)) = verify_state_proof(&bundle.job)? else {
        return Err(BundleError::NotTheJob);
    };
    if job.status != JobStatus::Settled {
        return Err(BundleError::NotSettled);
    }
    let (expected, got) = (hash_of(job.receipt_digest), hash_of(digest));
    if expected != got {
        return Err(BundleError::OtherReceipt { expected, got });
    }
    let checkpoint_hash = bundle.job.checkpoint_hash;
    match executed {
        Some(expected) if expected != checkpoint_hash => {
            Err(BundleError::NotTheExpectedCheckpoint { expected, got: checkpoint_hash })
        }
        // The kernel checked the product when it settled the job, and the digest says it is this receipt.
        _ => Ok(Verified {
            digest: got,
            device: bundle.receipt.device,
            paid: u128::from(job.units_paid).saturating_mul(job.unit_price),
            checkpoint_hash,
        }),
    }
}
