//! Keys and what they sign.

use joule_kernel::{address_of, sign};
use joule_protocol::{
    Address, Amount, Call, ChannelClose, ComputeReceipt, DeviceConsent, Domain, Genesis, Hash, Hashing, Native,
    Signature, SystemContract, Unsigned, Voucher, encode_eip1559, encode_legacy, gas_of,
};
use secp256k1::{PublicKey, SecretKey};

/// A secret key and its address.
#[derive(Clone, Debug)]
pub struct Key {
    secret: SecretKey,
    /// The address.
    pub address: Address,
}

impl Key {
    /// The key that `label` and `index` name.
    pub fn derive(label: &str, seed: u64, index: u64) -> Self {
        let mut bytes = label.as_bytes().to_vec();
        bytes.extend_from_slice(&seed.to_be_bytes());
        bytes.extend_from_slice(&index.to_be_bytes());
        let secret = SecretKey::from_secret_bytes(Native::keccak256(&bytes).0).expect("a hash is a key but for 2^-128");
        let public = PublicKey::from_secret_key(&secret).serialize_uncompressed();
        let address = address_of::<Native>(public[1..].try_into().expect("x and y"));
        Self { secret, address }
    }

    /// Signs a digest.
    pub fn sign(&self, digest: &Hash) -> Signature {
        sign(digest, &self.secret)
    }
}

/// Wallets, devices, and the chain they sign for.
#[derive(Clone, Debug)]
pub struct Population {
    /// The chain id.
    pub chain_id: u64,
    jobs: Domain,
    devices_domain: Domain,
    channels: Domain,
    /// Wallets; the first has received the fees, if the genesis says so.
    pub wallets: Vec<Key>,
    /// Device keys. Device i belongs to wallet i modulo the number of wallets.
    pub devices: Vec<Key>,
}

impl Population {
    /// Derives `wallets` wallets and `devices` devices for the chain of `genesis`.
    pub fn new(seed: u64, genesis: &Genesis, wallets: u64, devices: u64) -> Self {
        let id = genesis.id::<Native>();
        let domain = |contract| Domain::new::<Native>(genesis.chain_id, contract, &id);
        Self {
            chain_id: genesis.chain_id,
            jobs: domain(SystemContract::Jobs),
            devices_domain: domain(SystemContract::Devices),
            channels: domain(SystemContract::Channels),
            wallets: (0..wallets).map(|index| Key::derive("wallet", seed, index)).collect(),
            devices: (0..devices).map(|index| Key::derive("device", seed, index)).collect(),
        }
    }

    /// The wallet that owns a device.
    pub fn owner_of(&self, device: usize) -> usize {
        device % self.wallets.len()
    }

    /// Signs a compute receipt.
    pub fn sign_receipt(&self, key: &Key, receipt: &ComputeReceipt) -> Signature {
        key.sign(&self.jobs.digest::<Native>(&receipt.struct_hash::<Native>()))
    }

    /// Signs a voucher.
    pub fn sign_voucher(&self, key: &Key, voucher: &Voucher) -> Signature {
        key.sign(&self.channels.digest::<Native>(&voucher.struct_hash::<Native>()))
    }

    /// Signs a consent to be registered.
    pub fn sign_consent(&self, key: &Key, consent: &DeviceConsent) -> Signature {
        key.sign(&self.devices_domain.digest::<Native>(&consent.struct_hash::<Native>()))
    }

    /// Signs a consent to close a channel.
    pub fn sign_close(&self, key: &Key, close: &ChannelClose) -> Signature {
        key.sign(&self.channels.digest::<Native>(&close.struct_hash::<Native>()))
    }
}

/// Signs a call or, without one, a transfer to `to`, with exactly the gas it costs. Odd nonces travel as legacy transactions, even ones as
/// EIP-1559, so that streams have both.
pub fn sign_call(
    chain_id: u64,
    key: &Key,
    nonce: u64,
    fee_max: u128,
    to: &Address,
    value: Amount,
    call: Option<&Call>,
) -> Vec<u8> {
    let (to, data) = call.map_or((*to, Vec::new()), Call::encode);
    let kind = call.map_or(joule_protocol::CallKind::Transfer, Call::kind);
    let fields = Unsigned { chain_id, nonce, fee_max, gas_limit: gas_of(kind), to, value, data: &data };
    if nonce % 2 == 1 {
        encode_legacy::<Native>(&fields, |digest| key.sign(&digest))
    } else {
        encode_eip1559::<Native>(&fields, |digest| key.sign(&digest))
    }
}
