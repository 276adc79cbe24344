//! Statements signed outside of transactions, and the files they travel in.

use alloy::{
    primitives::{Address, B256, Bytes},
    signers::local::PrivateKeySigner,
};
use joule_protocol::{self as protocol, ChannelClose, DeviceConsent, Domain, Hash, Native, Signature, SystemContract};
use joule_rpc::wire::{ComputeReceipt, Genesis, WireError, protocol_address, protocol_hash};
use serde::{Deserialize, Serialize};

use crate::{WalletError, keys::sign};

/// A compute receipt and its device's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedReceipt {
    /// The receipt.
    pub receipt: ComputeReceipt,
    /// r ‖ s ‖ v.
    pub signature: Bytes,
}

/// A voucher and its client's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVoucher {
    /// Who opened the channel, and signs.
    pub client: Address,
    /// The nonce of the opening transaction.
    #[serde(with = "alloy::serde::quantity")]
    pub client_nonce: u64,
    /// Who is paid.
    pub payee: Address,
    /// Total over the channel's life.
    #[serde(with = "alloy::serde::quantity")]
    pub cumulative: u128,
    /// r ‖ s ‖ v.
    pub signature: Bytes,
}

impl SignedVoucher {
    /// The voucher that is signed.
    pub(crate) fn voucher(&self) -> protocol::Voucher {
        protocol::Voucher {
            client: protocol_address(self.client),
            client_nonce: self.client_nonce,
            payee: protocol_address(self.payee),
            cumulative: self.cumulative,
        }
    }
}

/// A payee's consent that a channel be closed at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedClose {
    /// Who opened the channel.
    pub client: Address,
    /// The nonce of the opening transaction.
    #[serde(with = "alloy::serde::quantity")]
    pub client_nonce: u64,
    /// Who signs.
    pub payee: Address,
    /// All that has been redeemed.
    #[serde(with = "alloy::serde::quantity")]
    pub paid: u128,
    /// The latest time of a block that may close the channel, unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub deadline: u64,
    /// r ‖ s ‖ v.
    pub signature: Bytes,
}

/// Signs a struct hash for a system contract of a chain.
fn sign_for(signer: &PrivateKeySigner, genesis: &Genesis, contract: SystemContract, struct_hash: &Hash) -> Signature {
    sign(signer, &digest_for(genesis, contract, struct_hash))
}

fn digest_for(genesis: &Genesis, contract: SystemContract, struct_hash: &Hash) -> Hash {
    let domain = Domain::new::<Native>(genesis.chain_id, contract, &protocol_hash(genesis.id));
    domain.digest::<Native>(struct_hash)
}

/// Signs a compute receipt with its device's key.
///
/// # Errors
/// `WrongSigner` if it is another key.
pub(crate) fn sign_receipt(
    signer: &PrivateKeySigner,
    genesis: &Genesis,
    receipt: ComputeReceipt,
) -> Result<SignedReceipt, WalletError> {
    if receipt.device != signer.address() {
        return Err(WalletError::WrongSigner { expected: receipt.device, got: signer.address() });
    }
    let hash = protocol::ComputeReceipt::from(&receipt).struct_hash::<Native>();
    let signature = sign_for(signer, genesis, SystemContract::Jobs, &hash);
    Ok(SignedReceipt { receipt, signature: Bytes::copy_from_slice(&signature.to_bytes()) })
}

/// The digest of a compute receipt, by which its job names it.
pub(crate) fn receipt_digest(genesis: &Genesis, receipt: &ComputeReceipt) -> B256 {
    let hash = protocol::ComputeReceipt::from(receipt).struct_hash::<Native>();
    B256::new(digest_for(genesis, SystemContract::Jobs, &hash).0)
}

/// Signs a voucher of the signer's own channel.
pub(crate) fn sign_voucher(
    signer: &PrivateKeySigner,
    genesis: &Genesis,
    client_nonce: u64,
    payee: Address,
    cumulative: u128,
) -> SignedVoucher {
    let client = signer.address();
    let mut signed = SignedVoucher { client, client_nonce, payee, cumulative, signature: Bytes::new() };
    let hash = signed.voucher().struct_hash::<Native>();
    let signature = sign_for(signer, genesis, SystemContract::Channels, &hash);
    signed.signature = Bytes::copy_from_slice(&signature.to_bytes());
    signed
}

/// Signs the payee's consent to close a channel.
pub(crate) fn sign_close(
    signer: &PrivateKeySigner,
    genesis: &Genesis,
    client: Address,
    client_nonce: u64,
    paid: u128,
    deadline: u64,
) -> SignedClose {
    let payee = signer.address();
    let close =
        ChannelClose { client: protocol_address(client), client_nonce, payee: protocol_address(payee), paid, deadline };
    let signature = sign_for(signer, genesis, SystemContract::Channels, &close.struct_hash::<Native>());
    let signature = Bytes::copy_from_slice(&signature.to_bytes());
    SignedClose { client, client_nonce, payee, paid, deadline, signature }
}

/// Signs a device key's consent to be registered by `owner`.
pub(crate) fn sign_consent(device: &PrivateKeySigner, genesis: &Genesis, owner: Address) -> Signature {
    let consent = DeviceConsent { device: protocol_address(device.address()), owner: protocol_address(owner) };
    sign_for(device, genesis, SystemContract::Devices, &consent.struct_hash::<Native>())
}

/// Reads a signature from a file's bytes.
pub(crate) fn signature(bytes: &Bytes) -> Result<Signature, WalletError> {
    let bytes = <&[u8; 65]>::try_from(bytes.as_ref()).ok();
    Ok(bytes.and_then(Signature::from_bytes).ok_or(WireError::Signature)?)
}

#[cfg(test)]
mod tests {
    use joule_kernel::recover_address;
    use proptest::prelude::*;

    use super::*;

    fn genesis() -> Genesis {
        Genesis::new(&joule_workload::Chain::test_genesis(), None)
    }

    #[test]
    fn signatures_are_what_the_kernel_checks() {
        let (signer, genesis) = (PrivateKeySigner::random(), genesis());
        let voucher = sign_voucher(&signer, &genesis, 3, Address::repeat_byte(9), 70);
        let digest = digest_for(&genesis, SystemContract::Channels, &voucher.voucher().struct_hash::<Native>());
        let recovered = recover_address::<Native>(&digest, &signature(&voucher.signature).expect("in range"));
        assert_eq!(recovered, Some(protocol_address(signer.address())));
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let close = sign_close(&PrivateKeySigner::random(), &genesis(), Address::repeat_byte(1), 2, 3, 4);
        let text = serde_json::to_string(&close).expect("plain data");
        assert_eq!(serde_json::from_str::<SignedClose>(&text).expect("its own text"), close);
    }

    proptest! {
        #[test]
        fn no_text_is_a_statement_by_accident(text in "\\PC{0,200}") {
            prop_assert!(serde_json::from_str::<SignedReceipt>(&text).is_err());
            prop_assert!(serde_json::from_str::<SignedVoucher>(&text).is_err());
        }

        #[test]
        fn signatures_out_of_range_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..70)) {
            let is_signature = <[u8; 65]>::try_from(bytes.as_slice()).ok().and_then(|bytes| Signature::from_bytes(&bytes));
            prop_assert_eq!(signature(&Bytes::from(bytes)).is_ok(), is_signature.is_some());
        }
    }
}
