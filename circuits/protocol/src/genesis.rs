//! The chain's first state, from its configuration.

use alloc::vec::Vec;

use thiserror::Error;

use crate::{
    Accumulator, Address, Chain, Checkpoint, Digest, GAS_TABLE_VERSION, Hash, Hashing, Key, Object, PROTOCOL_VERSION,
    leaf_digest,
    limits::{CHAIN_ID_MAX, DELAY_SECONDS_MAX},
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

/// A configuration that no chain can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// Wallets, the machine's public values and the contracts hold chain ids in this range.
    #[error("`{field}` is {got}; a chain id is at least 1 and below {CHAIN_ID_MAX}")]
    ChainId {
        /// Which of the two.
        field: &'static str,
        /// The id found.
        got: u64,
    },
    /// Signatures for one chain would be good on the other.
    #[error("L1 and L2 have the same chain id {got}")]
    SameChainId {
        /// The id.
        got: u64,
    },
    /// Nobody could spend the fees.
    #[error("the fee recipient is the zero address")]
    NoFeeRecipient,
    /// No delay at all, or one that outlives its users.
    #[error("`{field}` is {got}; it is at least 1 and at most {DELAY_SECONDS_MAX}")]
    Delay {
        /// Which of the two.
        field: &'static str,
        /// The delay found.
        got: u64,
    },
}

impl Genesis {
    /// Checks what the types do not say. Whoever takes a genesis from outside checks it before anything else is made of it.
    ///
    /// # Errors
    /// [`GenesisError`], for the first field that is out of its bounds.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.chain_id == 0 || self.chain_id >= CHAIN_ID_MAX {
            return Err(GenesisError::ChainId { field: "chain_id", got: self.chain_id });
        }
        if self.l1_chain_id == 0 || self.l1_chain_id >= CHAIN_ID_MAX {
            return Err(GenesisError::ChainId { field: "l1_chain_id", got: self.l1_chain_id });
        }
        if self.chain_id == self.l1_chain_id {
            return Err(GenesisError::SameChainId { got: self.chain_id });
        }
        if self.fee_recipient.is_zero() {
            return Err(GenesisError::NoFeeRecipient);
        }
        if self.grace_seconds == 0 || self.grace_seconds > DELAY_SECONDS_MAX {
            return Err(GenesisError::Delay { field: "grace_seconds", got: self.grace_seconds });
        }
        if self.channel_close_seconds == 0 || self.channel_close_seconds > DELAY_SECONDS_MAX {
            return Err(GenesisError::Delay { field: "channel_close_seconds", got: self.channel_close_seconds });
        }
        Ok(())
    }

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
