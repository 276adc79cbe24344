//! How the kernel reads and writes objects, whoever holds them.

use joule_protocol::{Account, Address, Channel, ChunkWriter, Device, Digest, Job, Key, Object};

use crate::Abort;

/// An opened object's place in the working set of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u32);

/// What closing a block yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Root with all writes.
    pub state_root: Digest,
    /// Objects written.
    pub writes: u32,
}

/// The objects of one block: opened by key, held as a working set, written once at the end.
///
/// The node implements it over its tree; [`WitnessedState`](crate::WitnessedState) over hints, which is what is proven.
pub trait Openings {
    /// Brings the object under `key` (or the fact that there is none) into the working set.
    fn open(&mut self, key: &Key) -> Result<Slot, Abort>;

    /// The object as it is now, `None` if there is none.
    fn object(&self, slot: Slot) -> Option<&Object>;

    /// Puts an object there.
    fn replace(&mut self, slot: Slot, object: Object);

    /// Objects in the working set that did not exist before the block and do now.
    fn inserted(&self) -> u64;

    /// Writes every replaced object to `chunk` by rising key and returns the new root. `leaf_count` is the number of leaves before
    /// the block: inserted objects take the positions from there on, by rising key.
    fn close(&mut self, leaf_count: u64, chunk: &mut ChunkWriter) -> Result<Closed, Abort>;
}

/// An account in the working set. An absent account is one with nothing in it.
pub(crate) fn account(state: &impl Openings, slot: Slot) -> Account {
    match state.object(slot) {
        Some(Object::Account(account)) => *account,
        _ => Account::default(),
    }
}

/// Adds to a balance. Sums stay below 2^120 because L1 bounds all deposits by it; the check is for a state that this kernel did not make.
pub(crate) fn credit(state: &mut impl Openings, to: &Address, amount: u128) -> Result<(), Abort> {
    if amount == 0 {
        return Ok(());
    }
    let slot = state.open(&Key::account(to))?;
    let mut account = account(state, slot);
    account.balance = account
        .balance
        .checked_add(amount)
        .filter(|&balance| balance < joule_protocol::limits::AMOUNT_MAX)
        .ok_or(Abort::MoneyOverflow { what: "a balance" })?;
    state.replace(slot, Object::Account(account));
    Ok(())
}

macro_rules! typed_open {
    ($(#[$doc:meta])* $name:ident, $variant:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(state: &mut impl Openings, key: &Key) -> Result<(Slot, Option<$variant>), Abort> {
            let slot = state.open(key)?;
            match state.object(slot) {
                None => Ok((slot, None)),
                Some(Object::$variant(object)) => Ok((slot, Some(*object))),
                Some(_) => Err(Abort::WrongKind { key: *key }),
            }
        }
    };
}

typed_open!(/// Opens a device.
    device, Device);
typed_open!(/// Opens a job.
    job, Job);
typed_open!(/// Opens a channel.
    channel, Channel);
