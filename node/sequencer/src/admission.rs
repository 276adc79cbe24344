//! What can be said of a transaction without looking at the state.

use std::sync::Arc;

use joule_kernel::recover_address;
use joule_protocol::{Address, Amount, CallKind, Envelope, Hash, Hashing, Native, Refusal, SystemContract, gas_of};

/// A signed transaction whose envelope is good: it decodes, is for this chain, names something that can be called with enough gas, and its signature recovers to a
/// sender. Only [`CheckedTransaction::check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    hash: Hash,
    sender: Address,
    nonce: u64,
    fee_max: u128,
    gas: u64,
    value: Amount,
    pays_from_credit: bool,
    bytes: Arc<[u8]>,
}

impl CheckedTransaction {
    /// Checks a transaction as a wallet sent it. Recovering the sender is most of the work, and needs no state: do it on any thread.
    ///
    /// # Errors
    /// The [`Refusal`] that the kernel would give at any time and in any block of the chain.
    pub fn check(bytes: &[u8], chain_id: u64) -> Result<Self, Refusal> {
        let envelope = Envelope::decode(bytes)?;
        if envelope.chain_id != chain_id {
            return Err(Refusal::WrongChain { got: envelope.chain_id, expected: chain_id });
        }
        let kind = match SystemContract::at(&envelope.to) {
            Some(contract) => CallKind::of(contract, envelope.data),
            None if envelope.data.is_empty() => CallKind::Transfer,
            None => return Err(Refusal::UnknownContract { to: envelope.to }),
        };
        let gas = gas_of(kind);
        if envelope.gas_limit < gas {
            return Err(Refusal::GasLimitTooLow { got: envelope.gas_limit, need: gas });
        }
        if envelope.nonce == u64::MAX {
            return Err(Refusal::NonceExhausted);
        }
        let signing_hash = envelope.signing_hash::<Native>();
        let sender =
            recover_address::<Native>(&signing_hash, &envelope.signature).ok_or(Refusal::SignerNotRecovered)?;
        Ok(Self {
            hash: Native::keccak256(bytes),
            sender,
            nonce: envelope.nonce,
            fee_max: envelope.fee_max,
            gas,
            value: envelope.value,
            pays_from_credit: kind.pays_from_credit(),
            bytes: bytes.into(),
        })
    }

    /// keccak-256 of the signed bytes.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Who signed.
    pub fn sender(&self) -> Address {
        self.sender
    }

    /// The sender's transaction number.
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// The most the sender pays per unit of gas.
    pub fn fee_max(&self) -> u128 {
        self.fee_max
    }

    /// Gas of the call.
    pub fn gas(&self) -> u64 {
        self.gas
    }

    /// The signed bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// What the sender must have beforehand: value and fee, or nothing where the fee may be paid out of what the call brings.
    pub fn cost(&self, base_fee: u64) -> Amount {
        if self.pays_from_credit {
            return 0;
        }
        // The value is below 2^120, gas below 2^16 and the base fee below 2^64.
        self.value + Amount::from(self.gas) * Amount::from(base_fee)
    }
}
