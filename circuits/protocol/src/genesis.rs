//! The chain's first state, from its configuration.

use alloc::vec::Vec;

use crate::{
    Accumulator, Address, Chain, Checkpoint, Digest, GAS_TABLE_VERSION, Hash, Hashing, Key, Object, PROTOCOL_VERSION,
    leaf_digest,
};

/// What is fixed when a chain starts and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The L2 chain id wallets sign for.
    pub chain_id: u64,
    /// The L1 that settles it.
    pub l1_chain_id: u64,
    /// The base token on L1; zero for ETH.
    pub base_token: Address,
    /// Who gets the fees.
    pub fee_recipient: Address,
    /// Highest base fee a block may name, per unit of gas.
    pub base_fee_max: u64,
    /// Seconds after a job's deadline before it may expire.
    pub grace_seconds: u64,
    /// Seconds between `closeChannel` and `finaliseChannel`.
    pub channel_close_seconds: u64,
    /// Unix seconds; the first block is not earlier.
    pub timestamp: u64,
    /// Anything that makes this chain differ from another with the same numbers.
    pub salt: Hash,
}

impl Genesis {
    /// keccak-256 of the configuration's fixed-width encoding: the chain's id for signatures, beside its chain id.
    pub fn id<H: Hashing>(&self) -> Hash {
        let mut bytes = Vec::with_capacity(136);
        bytes.extend_from_slice(b"Joule genesis 01");
        for number in [self.chain_id, self.l1_chain_id] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.base_token.0);
        bytes.extend_from_slice(&self.fee_recipient.0);
        for number in [self.base_fee_max, self.grace_seconds, self.channel_close_seconds, self.timestamp] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.salt.0);
        H::keccak256(&bytes)
    }

    /// The chain object before the first block.
    pub fn chain<H: Hashing>(&self) -> Chain {
        Chain {
            genesis_id: self.id::<H>(),
            fee_recipient: self.fee_recipient,
            base_fee_max: self.base_fee_max,
            gas_table_version: GAS_TABLE_VERSION,
            leaf_count: 2,
            withdrawal_count: 0,
            deposited: 0,
            withdrawn: 0,
            grace_seconds: self.grace_seconds,
            channel_close_seconds: self.channel_close_seconds,
        }
    }

    /// The checkpoint that the contract's constructor takes, given the root of a tree that holds [`genesis_objects`].
    pub fn checkpoint<H: Hashing>(&self, state_root: Digest) -> Checkpoint {
        Checkpoint {
            protocol_version: PROTOCOL_VERSION,
            state_root,
            block_number: 0,
            block_hash: self.id::<H>(),
            timestamp: self.timestamp,
            priority_count: 0,
            priority_acc: Accumulator::default(),
            message_acc: Accumulator::default(),
            data_acc: Accumulator::default(),
        }
    }
}

/// The two leaf digests of the first tree, at positions 0 (sentinel) and 1 (chain).
pub fn genesis_objects<H: Hashing>(genesis: &Genesis) -> [Digest; 2] {
    let chain = Object::Chain(genesis.chain::<H>()).digest::<H>();
    [leaf_digest::<H>(&Key::FIRST, &Key::CHAIN, Digest::EMPTY), leaf_digest::<H>(&Key::CHAIN, &Key::LAST, chain)]
}
