//! From the last merge to a small proof.
//!
//! The first shrink verifies a merge, and only a merge: its key is a constant, and the key hash the merge names must be
//! that key's. The second makes the first one's proof small under another hash, the one the wrap repeats.

use joule_protocol::PublicValues;
use plonky2::iop::target::Target;
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::CircuitConfig;
use plonky2::plonk::config::GenericConfig;

use crate::aggregate::{Child, ChildKind, key_hash};
use crate::cache::{self, CacheError};
use crate::circuit::{Circuit, Inner, Key, Proof, ProveError, proof_elements, proof_targets};
use crate::field::{D, F};
use crate::fingerprint::Fingerprint;
use crate::profile::{Layer, Profile};

/// The two last circuits. `Outer` is the configuration the wrap verifies.
#[derive(Debug)]
pub struct Shrink<Outer: GenericConfig<D, F = F>> {
    /// Verifies the last merge.
    pub shrink: Circuit<Inner>,
    /// Verifies the shrink.
    pub last: Circuit<Outer>,
}

impl<Outer: GenericConfig<D, F = F>> Shrink<Outer> {
    /// Builds the circuits above the merge with key `merge`.
    #[must_use]
    pub fn build(profile: Profile, merge: &Key<Inner>) -> Self {
        let (builder, inputs) = describe(&profile.plonky2(Layer::Shrink), merge, true);
        let shrink = Circuit { data: builder.build(), inputs };
        let (builder, inputs) = describe(&profile.plonky2(Layer::Last), &shrink.key(), false);
        let last = Circuit { data: builder.build(), inputs };
        Self { shrink, last }
    }

    /// The circuits as bytes to keep: the length of the shrink's, the shrink's, the last one's; see [`cache`].
    ///
    /// # Errors
    /// If a circuit cannot be encoded.
    pub fn to_bytes(&self, fingerprint: Fingerprint) -> Result<Vec<u8>, CacheError> {
        let shrink = cache::encode(fingerprint, &[&self.shrink])?;
        let last = cache::encode(fingerprint, &[&self.last])?;
        Ok([&(shrink.len() as u64).to_le_bytes()[..], &shrink, &last].concat())
    }

    /// Kept circuits.
    ///
    /// # Errors
    /// If the bytes are not the circuits with this fingerprint.
    pub fn from_bytes(fingerprint: Fingerprint, bytes: &[u8]) -> Result<Self, CacheError> {
        let (length, rest) = bytes.split_first_chunk().ok_or(CacheError::Magic)?;
        let got = rest.len() as u64;
        let expected = u64::from_le_bytes(*length);
        let cut = CacheError::Length { expected, got };
        let length = usize::try_from(expected).map_err(|_| cut.clone())?;
        let (shrink, last) = rest.split_at_checked(length).ok_or(cut)?;
        let shrink: [_; 1] = cache::decode(fingerprint, shrink)?.try_into().map_err(|_| CacheError::Payload)?;
        let last: [_; 1] = cache::decode(fingerprint, last)?.try_into().map_err(|_| CacheError::Payload)?;
        let ([shrink], [last]) = (shrink, last);
        Ok(Self { shrink, last })
    }

    /// Shrinks a merge.
    ///
    /// # Errors
    /// If the child is not a merge or does not verify.
    pub fn prove(&self, merge: &Child) -> Result<Proof<Outer>, ProveError> {
        if merge.kind != ChildKind::Merge {
            return Err(ProveError::Refused(anyhow::anyhow!(
                "only a merge can be shrunk; merge a single segment first"
            )));
        }
        let shrunk = self.shrink.prove(&proof_elements(&merge.proof))?;
        self.last.prove(&proof_elements(&shrunk))
    }
}

/// The circuit that verifies a proof with key `inner` and passes its statement on.
fn describe(config: &CircuitConfig, inner: &Key<Inner>, is_merge: bool) -> (CircuitBuilder<F, D>, Vec<Target>) {
    let mut builder = CircuitBuilder::<F, D>::new(config.clone());
    let proof = builder.add_virtual_proof_with_pis(&inner.common);
    let key = builder.constant_verifier_data(&inner.verifier);
    builder.verify_proof::<Inner>(&proof, &key, &inner.common);
    let (statement, named) = proof.public_inputs.split_at(PublicValues::ELEMENTS);
    if is_merge {
        // The induction over merges starts here: the key they all name is the real one.
        for (&named, expected) in named.iter().zip(key_hash(&inner.verifier)) {
            let expected = builder.constant(expected);
            builder.connect(named, expected);
        }
    }
    builder.register_public_inputs(statement);
    (builder, proof_targets(&proof))
}
