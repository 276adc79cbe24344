//! What the kernel asks of its surroundings: two hashes, signature recovery, tree updates.

use joule_protocol::{Address, Digest, Hash, Hashing, Signature};

/// Signature recovery beside the two hashes. Natively libraries, in the image precompiles.
pub trait Crypto: Hashing {
    /// Recovers the address whose key makes `signature` on `digest`.
    ///
    /// Total: `None` if no point has x = r or the key would be infinity, and both answers have proofs.
    fn recover(digest: &Hash, signature: &Signature) -> Option<Address>;
}

/// The address of a public key (x ‖ y).
pub fn address_of<C: Hashing>(public_key: &[u8; 64]) -> Address {
    // Copied into its place: an array made on the way would not be aligned, and the image would copy it byte by byte.
    let mut address = Address::ZERO;
    address.0.copy_from_slice(&C::keccak256(public_key).0[12..]);
    address
}

/// The address whose key made `signature` on `digest`.
pub fn recover_address<C: Crypto>(digest: &Hash, signature: &Signature) -> Option<Address> {
    C::recover(digest, signature)
}

/// Proven updates of the state tree.
pub trait TreeUpdates {
    /// Checks that `old` is at `position` under `root`, puts `new` there, and returns the new root; `None` if it is not.
    ///
    /// The siblings are advice: whoever implements this finds them. They need no trust, because some siblings leading to `root` exist only
    /// for the leaf that is there.
    fn update(&mut self, root: Digest, position: u32, old: Digest, new: Digest) -> Option<Digest>;
}
