//! What an action will do, before it does any of it.

use joule_protocol::{Address, Amount, Domain, Hash, Message, Object, Rejection, Signature};

use crate::{Abort, Crypto, Event, Openings, Slot, abort::Stop, openings::credit, recover_address};

/// The effects of one action. The caller's value is debited by whoever applies the plan; everything else that moves is here.
///
/// **Keeps.** value + (money in the objects before − after) = sum of credits + withdrawn amount.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Balances that grow.
    pub(crate) credits: [Option<(Address, Amount)>; 2],
    /// Objects that take a new value.
    pub(crate) writes: [Option<(Slot, Object)>; 2],
    /// A withdrawal.
    pub(crate) message: Option<Message>,
    /// What the world is told.
    pub(crate) event: Event,
}

impl Plan {
    pub(crate) const fn new(event: Event) -> Self {
        Self { credits: [None; 2], writes: [None; 2], message: None, event }
    }

    pub(crate) const fn write(mut self, slot: Slot, object: Object) -> Self {
        self.writes[self.writes[0].is_some() as usize] = Some((slot, object));
        self
    }

    pub(crate) const fn credit(mut self, to: Address, amount: Amount) -> Self {
        self.credits[self.credits[0].is_some() as usize] = Some((to, amount));
        self
    }

    /// What `account` will be credited.
    pub(crate) fn credited_to(&self, account: &Address) -> Amount {
        self.credits.iter().flatten().filter(|(to, _)| to == account).map(|(_, amount)| amount).sum()
    }

    pub(crate) fn apply(&self, state: &mut impl Openings) -> Result<(), Abort> {
        for (slot, object) in self.writes.iter().flatten() {
            state.replace(*slot, *object);
        }
        self.credits.iter().flatten().try_for_each(|(to, amount)| credit(state, to, *amount))
    }
}

/// Checks that `signer` signed the message with this struct hash and returns the digest that was signed.
pub(crate) fn signed_by<C: Crypto>(
    domain: &Domain,
    struct_hash: &Hash,
    signature: Option<&Signature>,
    signer: &Address,
) -> Result<Hash, Stop> {
    let digest = domain.digest::<C>(struct_hash);
    let got =
        signature.and_then(|signature| recover_address::<C>(&digest, signature)).ok_or(Rejection::BadSignature {})?;
    if got != *signer {
        return Err(Rejection::WrongSigner { expected: *signer, got }.into());
    }
    Ok(digest)
}
