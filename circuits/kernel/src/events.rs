//! What the world is told of an action: the events of the Solidity interfaces.
//!
//! The proven image throws events away (its sink is `()`), so proving does not pay for them. They follow from the transaction and
//! the state, and whoever re-executes gets the same.

use alloc::vec::Vec;

use joule_protocol::{Address, Amount, Hash, Hashing, SystemContract};

/// Takes events as they happen.
pub trait Sink {
    /// One event, in order.
    fn event(&mut self, event: &Event);
}

impl Sink for () {
    fn event(&mut self, _: &Event) {}
}

impl Sink for Vec<Event> {
    fn event(&mut self, event: &Event) {
        self.push(*event);
    }
}

/// An Ethereum log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The system contract.
    pub address: Address,
    /// Signature hash, then indexed arguments.
    pub topics: Vec<Hash>,
    /// The other arguments, ABI-encoded.
    pub data: Vec<u8>,
}

/// An argument's 32-byte ABI word.
trait Word {
    fn word(&self) -> Hash;
}

impl Word for Address {
    fn word(&self) -> Hash {
        let mut word = Hash::ZERO;
        word.0[12..].copy_from_slice(&self.0);
        word
    }
}

impl Word for Hash {
    fn word(&self) -> Hash {
        *self
    }
}

impl Word for u128 {
    fn word(&self) -> Hash {
        let mut word = Hash::ZERO;
        word.0[16..].copy_from_slice(&self.to_be_bytes());
        word
    }
}

impl Word for u64 {
    fn word(&self) -> Hash {
        u128::from(*self).word()
    }
}

impl Word for u32 {
    fn word(&self) -> Hash {
        u128::from(*self).word()
    }
}

impl Word for u8 {
    fn word(&self) -> Hash {
        u128::from(*self).word()
    }
}

macro_rules! events {
    ($( $contract:ident $name:ident $signature:literal { $( $indexed:ident : $indexed_type:ty ),* } { $( $field:ident : $type:ty ),* } )*) => {
        /// An event of a system contract, with the arguments of its declaration in `contracts/src/l2`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "variants and fields are the events and arguments of the interfaces")]
        pub enum Event {
            /// A plain transfer, which has no log: Ethereum has none for it either.
            Transfer,
            $( $name { $( $indexed: $indexed_type, )* $( $field: $type, )* }, )*
        }

        impl Event {
            /// The event's log; `None` for a plain transfer.
            pub fn log<H: Hashing>(&self) -> Option<Log> {
                match self {
                    Self::Transfer => None,
                    $( Self::$name { $( $indexed, )* $( $field, )* } => Some(Log {
                        address: SystemContract::$contract.address(),
                        topics: alloc::vec![H::keccak256($signature.as_bytes()), $( $indexed.word(), )*],
                        data: { let words: &[Hash] = &[$( $field.word() ),*]; words.iter().flat_map(|word| word.0).collect() },
                    }), )*
                }
            }
        }
    };
}

events! {
    Jobs JobPosted "JobPosted(address,uint64,address,bytes32,bytes32,uint128,uint64,uint64,uint8,uint128)"
        { client: Address, client_nonce: u64, device: Address }
        { model: Hash, input_hash: Hash, unit_price: Amount, unit_limit: u64, deadline: u64, minimum_tier: u8, bond: Amount }
    Jobs JobClaimed "JobClaimed(address,uint64,address)" { client: Address, client_nonce: u64, device: Address } {}
    Jobs JobReleased "JobReleased(address,uint64,address)" { client: Address, client_nonce: u64, device: Address } {}
    Jobs JobSettled "JobSettled(address,uint64,address,bytes32,uint64,uint128,uint128)"
        { client: Address, client_nonce: u64, device: Address }
        { receipt_digest: Hash, units: u64, paid: Amount, refunded: Amount }
    Jobs JobCancelled "JobCancelled(address,uint64,uint128)" { client: Address, client_nonce: u64 } { refunded: Amount }
    Jobs JobExpired "JobExpired(address,uint64,address,uint128,uint128)"
        { client: Address, client_nonce: u64, device: Address }
        { refunded: Amount, bond_paid: Amount }
    Devices DeviceRegistered "DeviceRegistered(address,address,address,uint32,uint128)"
        { device: Address, owner: Address, payout: Address }
        { class: u32, stake: Amount }
    Devices StakeAdded "StakeAdded(address,uint128,uint128)" { device: Address } { amount: Amount, stake: Amount }
    Devices DeviceRetired "DeviceRetired(address)" { device: Address } {}
    Devices StakeWithdrawn "StakeWithdrawn(address,address,uint128)" { device: Address, owner: Address } { amount: Amount }
    Channels ChannelOpened "ChannelOpened(address,uint64,address,uint128)"
        { client: Address, client_nonce: u64, payee: Address }
        { deposit: Amount }
    Channels ChannelToppedUp "ChannelToppedUp(address,uint64,uint128,uint128)"
        { client: Address, client_nonce: u64 }
        { amount: Amount, deposit: Amount }
    Channels VoucherRedeemed "VoucherRedeemed(address,uint64,address,uint128,uint128)"
        { client: Address, client_nonce: u64, payee: Address }
        { amount: Amount, cumulative: Amount }
    Channels ChannelClosing "ChannelClosing(address,uint64,uint64)" { client: Address, client_nonce: u64 } { closing_time: u64 }
    Channels ChannelClosed "ChannelClosed(address,uint64,uint128)" { client: Address, client_nonce: u64 } { refunded: Amount }
    Bridge Deposit "Deposit(address,uint128)" { to: Address } { amount: Amount }
    Bridge Withdrawal "Withdrawal(uint64,address,address,uint128)"
        { index: u64, sender: Address, l1_recipient: Address }
        { amount: Amount }
}
