//! The rollups that are put on L1.

use alloy::primitives::{Address, B256, Bytes, U256};
use joule_contracts::{
    CommitteeSetup, Deployment, GovernanceSetup, Groth16Verifier, Rollup, TestVerifier, VerifierSetup,
};
use joule_protocol::{Checkpoint, Genesis, Hash, Native};

use crate::START_S;

/// The program that test proofs are of.
pub const PROGRAM: B256 = B256::with_last_byte(9);
/// The version byte that the router knows the verifier by.
pub const VERIFIER_VERSION: u8 = 1;

/// When requests of a network in which proofs are made have expired. Proving a batch on two cores takes minutes, so none of its delays is near that.
pub const QUEUE_EXPIRY_S: u64 = 4 * 3_600;
const EXIT_WINDOW_S: u64 = 3_600;
const LATE_AFTER_S: u64 = 2 * 3_600;
const PROOF_DEADLINE_S: u64 = 2 * 3_600;
const EXECUTION_WINDOW_S: u64 = PROOF_DEADLINE_S;
/// What its timelock waits, and its certificates must outlive: the shortest that a deployment may have.
pub const UPGRADE_DELAY_S: u64 = QUEUE_EXPIRY_S + EXECUTION_WINDOW_S + EXIT_WINDOW_S;
/// How long its members promise to serve a batch.
pub const CERTIFICATE_LIFETIME_S: u64 = 4 * UPGRADE_DELAY_S;
/// How long stake stays locked: longer than its certificates live, of which L1 takes none that outlives it.
const STAKE_LOCK_S: u64 = 2 * CERTIFICATE_LIFETIME_S;
/// How much of a certificate's life must be left when it is used, beyond what L1 asks for.
pub const CERTIFICATE_MARGIN_S: u64 = 600;

/// A genesis for tests that look at no L2 state. Its chain began at [`START_S`].
pub fn test_genesis() -> Genesis {
    Genesis {
        chain_id: 77_001,
        l1_chain_id: 31_337,
        base_token: joule_protocol::Address::ZERO,
        fee_recipient: joule_protocol::Address([7; 20]),
        base_fee_max: 1_000_000_000,
        grace_seconds: 8 * 86_400,
        channel_close_seconds: 8 * 86_400,
        timestamp: START_S,
        salt: Hash::ZERO,
    }
}

/// A rollup for a test: takes test proofs of [`PROGRAM`], has delays of an hour or less, and a committee of which two are assumed honest. `operator` governs it. The committee's
/// signers are given by rising address.
pub fn test_deployment(
    genesis: &Genesis,
    checkpoint: Checkpoint,
    operator: Address,
    sequencer: Address,
    signers: Vec<Address>,
) -> Deployment {
    Deployment {
        l2_chain_id: genesis.chain_id,
        genesis: checkpoint,
        genesis_id: B256::new(genesis.id::<Native>().0),
        program: PROGRAM,
        base_token: Address::ZERO,
        operator,
        sequencer,
        governance: GovernanceSetup { delay_s: 7_200, proposers: vec![operator], executors: vec![Address::ZERO] },
        committee: CommitteeSetup {
            signers,
            honest: 2,
            remaining_min_s: 7_200,
            stake_lock_s: 30 * 86_400,
            stake_min: U256::ZERO,
        },
        verifier: VerifierSetup { version: VERIFIER_VERSION, bytecode: Bytes::from_static(&TestVerifier::BYTECODE) },
        delays: Rollup::Delays {
            queueExpiry: 3_600,
            exitWindow: 3_000,
            lateAfter: 600,
            proofDeadline: 600,
            executionWindow: 600,
            timestampSkew: 60,
        },
        fees: Rollup::Fees { request: 1_000, forcedCall: 3_000, doubling: 100, perBlockMax: 8 },
        presentation_window_s: 3_600,
        grace_s: genesis.grace_seconds,
        channel_close_s: genesis.channel_close_seconds,
    }
}

/// A rollup of a network that makes real proofs of `program`: the real verifier under its development key, hours where a test has minutes, room for many requests in a block.
pub fn network_deployment(
    genesis: &Genesis,
    checkpoint: Checkpoint,
    operator: Address,
    sequencer: Address,
    signers: Vec<Address>,
    honest: u32,
    program: B256,
) -> Deployment {
    let small = test_deployment(genesis, checkpoint, operator, sequencer, signers);
    Deployment {
        program,
        governance: GovernanceSetup { delay_s: UPGRADE_DELAY_S, ..small.governance },
        committee: CommitteeSetup {
            honest,
            remaining_min_s: UPGRADE_DELAY_S,
            stake_lock_s: STAKE_LOCK_S,
            ..small.committee
        },
        verifier: VerifierSetup { version: VERIFIER_VERSION, bytecode: Bytes::from_static(&Groth16Verifier::BYTECODE) },
        delays: Rollup::Delays {
            queueExpiry: QUEUE_EXPIRY_S,
            exitWindow: EXIT_WINDOW_S,
            lateAfter: LATE_AFTER_S,
            proofDeadline: PROOF_DEADLINE_S,
            executionWindow: EXECUTION_WINDOW_S,
            timestampSkew: 60,
        },
        fees: Rollup::Fees { doubling: 1_000, perBlockMax: 64, ..small.fees },
        presentation_window_s: EXIT_WINDOW_S,
        ..small
    }
}

#[cfg(test)]
mod tests {
    use alloy::signers::local::PrivateKeySigner;
    use joule_contracts::deploy;
    use joule_protocol::Digest;

    use super::*;
    use crate::{TestL1, address, committee};

    /// L1 takes both, whose delays have to fit each other.
    #[tokio::test]
    async fn both_can_be_deployed() {
        let l1 = TestL1::start(START_S).await;
        let genesis = test_genesis();
        let checkpoint = genesis.checkpoint::<Native>(Digest::EMPTY);
        let operator = address(0);
        let signers: Vec<_> = committee().iter().map(PrivateKeySigner::address).collect();
        let small = test_deployment(&genesis, checkpoint, operator, operator, signers.clone());
        let large = network_deployment(&genesis, checkpoint, operator, operator, signers, 3, PROGRAM);
        for deployment in [small, large] {
            let addresses = deploy(&l1.provider(0), operator, &deployment).await.expect("deploys");
            let rollup = Rollup::new(addresses.rollup, l1.provider(0));
            assert_eq!(rollup.sequencer().call().await.expect("answers"), operator);
        }
    }
}
