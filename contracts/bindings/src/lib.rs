//! Joule's L1 contracts for Rust: typed calls and events, deployment, and the conversions from [`joule_protocol`].
//!
//! Everything comes from the artefacts committed in `contracts/artefacts`, so that nobody needs Node or a Solidity compiler to build
//! or run a node; a test of this crate says when they are older than the Solidity sources.

mod availability;
mod convert;
mod deploy;

pub use availability::{Availability, BlsAggregate, PROOF_BYTES, bls_keyset_hash, ecdsa_keyset_hash, proof_bytes};
pub use convert::WrongDigest;
pub use deploy::{
    Addresses, CommitteeSetup, DeployError, Deployment, GovernanceSetup, LOCAL_CHAIN_IDS, VerifierSetup, deploy,
};

/// By itself, because it brings a type of OpenZeppelin's timelock along under that contract's name.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the contract's ABI, documented there")]
mod timelock {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        FixedTimelock,
        "../artefacts/FixedTimelock.json"
    );
}

/// One module per contract: its calls, events, errors and structs. A contract's type has the contract's own documentation in Solidity.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the contracts' ABIs, documented there")]
mod generated {
    alloy::sol! {
        #[sol(rpc)]
        interface IVerifyingKey {
            function IS_DEVELOPMENT_KEY() external view returns (bool);
        }
    }
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Rollup,
        "../artefacts/Rollup.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Bridge,
        "../artefacts/Bridge.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Escape,
        "../artefacts/Escape.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        DataCommittee,
        "../artefacts/DataCommittee.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        VerifierRouter,
        "../artefacts/VerifierRouter.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        TimelockController,
        "../artefacts/TimelockController.json"
    );
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Groth16Verifier,
        "../artefacts/Groth16Verifier.json"
    );
    #[cfg(feature = "testing")]
    alloy::sol!(
        #[sol(rpc, all_derives)]
        TestVerifier,
        "../artefacts/test/TestVerifier.json"
    );
    #[cfg(feature = "testing")]
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Probe,
        "../artefacts/test/Probe.json"
    );
}

pub use generated::{Bridge, DataCommittee, Escape, Groth16Verifier, Rollup, TimelockController, VerifierRouter};
#[cfg(feature = "testing")]
pub use generated::{Probe, TestVerifier};
pub use timelock::FixedTimelock;
