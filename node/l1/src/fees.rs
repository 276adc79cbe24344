//! What a transaction offers for its gas.

/// Fees of one attempt, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The most it pays in all.
    pub cap: u128,
    /// The most of it that goes to the block's maker.
    pub tip: u128,
}

/// How much is offered, and how it rises. All fees in wei per gas.
#[derive(Clone, Copy, Debug)]
pub struct FeePolicy {
    /// Never more than this, whatever the market says: then the transaction waits and an alarm is raised.
    pub cap_max: u128,
    /// The least tip offered.
    pub tip_min: u128,
    /// The most tip offered.
    pub tip_max: u128,
    /// A new attempt offers this much more, percent. Nodes take none below 10.
    pub raise_percent: u32,
}

impl Default for FeePolicy {
    fn default() -> Self {
        const GWEI: u128 = 1_000_000_000;
        Self { cap_max: 500 * GWEI, tip_min: GWEI / 100, tip_max: 20 * GWEI, raise_percent: 15 }
    }
}

impl FeePolicy {
    /// The first offer: twice the base fee outlasts six full blocks in a row, each of which raises it by an eighth.
    pub fn offer(&self, base_fee: u64, suggested_tip: u128) -> Fees {
        let tip = suggested_tip.clamp(self.tip_min, self.tip_max.max(self.tip_min));
        let cap = (2 * u128::from(base_fee)).saturating_add(tip).min(self.cap_max);
        Fees { cap, tip: tip.min(cap) }
    }

    /// The offer after `last` was not taken: the market's, and enough more than the last. `None` when that would pass the most allowed.
    pub fn raise(&self, last: Fees, base_fee: u64, suggested_tip: u128) -> Option<Fees> {
        let raised = |fee: u128| {
            let percent = u128::from(self.raise_percent.max(10));
            fee.saturating_add((fee.saturating_mul(percent) / 100).max(1)).saturating_add(1)
        };
        let market = self.offer(base_fee, suggested_tip);
        let tip = raised(last.tip).max(market.tip);
        let cap = raised(last.cap).max(market.cap).max(tip);
        (cap <= self.cap_max).then_some(Fees { cap, tip })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn offers_stay_in_bounds_and_raises_replace(base in 0_u64..1 << 50, tip in 0_u128..1 << 60, rounds in 1_usize..40) {
            let policy = FeePolicy::default();
            let mut last = policy.offer(base, tip);
            prop_assert!(last.cap <= policy.cap_max && last.tip <= last.cap && last.tip <= policy.tip_max.max(policy.tip_min));
            for _ in 0..rounds {
                let Some(next) = policy.raise(last, base, tip) else { break };
                // geth's rule for replacements.
                prop_assert!(next.cap * 100 >= last.cap * 110 && next.tip * 100 >= last.tip * 110);
                prop_assert!(next.cap <= policy.cap_max && next.tip <= next.cap);
                last = next;
            }
        }
    }
}
