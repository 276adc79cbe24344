//! Room for offers on their way in, and who gets it.
//!
//! An offer has up to 16 MiB, and there is room for a few at a time. Whoever is not the sequencer and had some of it could withhold the bytes, or let them drip, and a sequencer that finds no room with
//! enough members pays L1 for its data. So room is given to a pass ([`UploadPass`]) before a byte of the body is read, and a pass is good for
//!
//! * **one sender**: signed by the sequencer that L1 names. While L1 says that the operator is late anyone may offer; strangers have room of their own then, and never the sequencer's.
//! * **one member**: its account is in what is signed.
//! * **one upload**: over the member's present nonce, which is drawn anew as soon as a pass of the sequencer's was shown. A pass that somebody on the way has seen is worth nothing any more. Only the
//!   sequencer's signature changes the nonce, so nobody else can change it under a pass that is on its way.
//! * **one body**: its hash is in what is signed.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_primitives::{Address, B256};
use joule_committee_client::{Refusal, RefusalCode, UploadPass};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{l1::L1View, rules::OfferRefused};

/// How many offers may be on their way in, each of up to 16 MiB, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Of the sequencer's.
    pub sequencer_max: usize,
    /// Of others', while L1 says that the operator is late. Fewer than may wait for the worker, so that the sequencer can wait for it too.
    pub strangers_max: usize,
    /// From the pass to the offer's last byte.
    pub within: Duration,
}

impl Default for UploadLimits {
    fn default() -> Self {
        // 16 MiB in 20 s is less than 1 MiB a second.
        Self { sequencer_max: 13, strangers_max: 3, within: Duration::from_secs(20) }
    }
}

/// A member's room for offers on their way in.
#[derive(Debug)]
pub struct Uploads {
    limits: UploadLimits,
    sequencer: Semaphore,
    strangers: Semaphore,
    nonce: Mutex<B256>,
}

/// Room for one offer, and which.
#[derive(Debug)]
pub struct Upload<'a> {
    _permit: SemaphorePermit<'a>,
    /// keccak256 that the body must have.
    pub body: B256,
    /// From the pass to the offer's last byte.
    pub within: Duration,
    /// Whether the sequencer sends it.
    pub is_sequencer: bool,
}

fn busy(what: &str) -> Refusal {
    Refusal { code: RefusalCode::Busy, message: format!("{what}; ask again shortly") }
}

impl Uploads {
    /// Room within these limits, all of it free.
    pub fn new(limits: UploadLimits) -> Self {
        Self {
            limits,
            sequencer: Semaphore::new(limits.sequencer_max),
            strangers: Semaphore::new(limits.strangers_max),
            nonce: Mutex::new(draw()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, B256> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next pass must be signed over. Anyone may know it.
    ///
    /// # Errors
    /// There is no room for the sequencer: better said before it sends 16 MiB.
    pub fn nonce(&self) -> Result<B256, Refusal> {
        match self.sequencer.available_permits() {
            0 => Err(self.full()),
            _ => Ok(*self.lock()),
        }
    }

    fn full(&self) -> Refusal {
        busy(&format!("{} offers of the sequencer are on their way in", self.limits.sequencer_max))
    }

    /// Room for the offer that a pass announces to the member `account`.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn admit(&self, pass: &UploadPass, account: Address, l1: &L1View) -> Result<Upload<'_>, Refusal> {
        let used = || busy("the pass is not over this member's present nonce, which is good for one offer");
        // Before the signature, which is dearer; and again after it.
        if *self.lock() != pass.nonce {
            return Err(used());
        }
        let signer = pass.signer(l1.l1_chain_id, l1.rollup, account).map_err(OfferRefused::from)?;
        let is_sequencer = signer == l1.sequencer;
        let permit = if is_sequencer {
            {
                let mut nonce = self.lock();
                if *nonce != pass.nonce {
                    return Err(used());
                }
                // Whether there is room or not: it has been shown, and somebody may have seen it.
                *nonce = draw();
            }
            self.sequencer.try_acquire().map_err(|_| self.full())?
        } else if l1.is_late {
            let full = |_| busy(&format!("{} offers of strangers are on their way in", self.limits.strangers_max));
            self.strangers.try_acquire().map_err(full)?
        } else {
            return Err(OfferRefused::NotSequencer { expected: l1.sequencer, got: signer }.into());
        };
        Ok(Upload { _permit: permit, body: pass.body, within: self.limits.within, is_sequencer })
    }
}

fn draw() -> B256 {
    B256::new(rand::random())
}

#[cfg(test)]
mod tests {
    use joule_committee_client::UploadClaim;
    use joule_workload::Chain;

    use super::*;
    use crate::bench::{BatchMaker, quiet_l1};

    const ACCOUNT: Address = Address::repeat_byte(0xaa);
    const LIMITS: UploadLimits = UploadLimits { sequencer_max: 2, strangers_max: 1, within: Duration::MAX };

    fn pass(by: &BatchMaker, l1: &L1View, account: Address, nonce: B256) -> UploadPass {
        let (l1_chain_id, rollup, body) = (l1.l1_chain_id, l1.rollup, B256::repeat_byte(5));
        UploadPass {
            nonce,
            body,
            signature: by.sign(UploadClaim { l1_chain_id, rollup, account, nonce, body }.digest()),
        }
    }

    #[test]
    fn only_the_sequencers_own_passes_take_its_room_and_change_the_nonce() {
        let genesis = Chain::test_genesis();
        let (sequencer, stranger) = (BatchMaker::new(genesis, 1), BatchMaker::new(genesis, 2));
        let on_time = quiet_l1(sequencer.sequencer(), 1, B256::ZERO, &[]);
        let late = L1View { is_late: true, ..on_time.clone() };
        let uploads = Uploads::new(LIMITS);
        let code =
            |pass: &UploadPass, l1: &L1View| uploads.admit(pass, ACCOUNT, l1).map(drop).expect_err("refused").code;

        let nonce = uploads.nonce().expect("room");
        let strangers = pass(&stranger, &on_time, ACCOUNT, nonce);
        assert_eq!(code(&strangers, &on_time), RefusalCode::NotSequencer);
        let nobodys = UploadPass {
            signature: joule_committee::CompactSignature { vs: B256::repeat_byte(0xff), ..strangers.signature },
            ..strangers
        };
        assert_eq!(code(&nobodys, &late), RefusalCode::NotSequencer);
        // While the operator is late strangers have their own room, and no more.
        let theirs = uploads.admit(&strangers, ACCOUNT, &late).expect("room");
        assert!(!theirs.is_sequencer);
        assert_eq!(code(&strangers, &late), RefusalCode::Busy);
        assert_eq!(uploads.nonce(), Ok(nonce), "no stranger changes it");

        // For another member, another rollup, another nonce.
        let elsewhere = L1View { rollup: Address::ZERO, ..on_time.clone() };
        for other in [pass(&sequencer, &on_time, Address::ZERO, nonce), pass(&sequencer, &elsewhere, ACCOUNT, nonce)] {
            assert_eq!(code(&other, &on_time), RefusalCode::NotSequencer);
        }
        assert_eq!(code(&pass(&sequencer, &on_time, ACCOUNT, B256::ZERO), &on_time), RefusalCode::Busy);
        assert_eq!(uploads.nonce(), Ok(nonce));

        // The sequencer's is good once, and its room is its own.
        let first = pass(&sequencer, &on_time, ACCOUNT, nonce);
        let taken = uploads.admit(&first, ACCOUNT, &late).expect("room");
        assert!(taken.is_sequencer && taken.body == first.body);
        assert_eq!(code(&first, &on_time), RefusalCode::Busy);
        let next = uploads.nonce().expect("room");
        assert_ne!(next, nonce);
        assert_eq!(code(&UploadPass { nonce: next, ..first }, &on_time), RefusalCode::NotSequencer);
        let second = uploads.admit(&pass(&sequencer, &on_time, ACCOUNT, next), ACCOUNT, &on_time).expect("room");
        assert_eq!(uploads.nonce().expect_err("full").code, RefusalCode::Busy);
        drop(taken);
        let third = pass(&sequencer, &on_time, ACCOUNT, uploads.nonce().expect("room"));
        let third = uploads.admit(&third, ACCOUNT, &on_time).expect("room");
        // One that is shown while there is no room is not good later either.
        let shown = pass(&sequencer, &on_time, ACCOUNT, *uploads.lock());
        assert_eq!(code(&shown, &on_time), RefusalCode::Busy);
        drop((second, third));
        assert_eq!(code(&shown, &on_time), RefusalCode::Busy);
        assert_ne!(uploads.nonce().expect("room"), shown.nonce);
    }
}
