//! What tests of several crates, and the networks of the testnet, start from.
//!
//! * [`TestL1`] is an L1 in this process whose clock is the test's.
//! * [`test_deployment`] is a rollup on it that takes test proofs, with delays of an hour; [`network_deployment`] one with the real verifier, for networks in which minutes of
//!   proving pass. A test that is about a delay or a fee names it over these.
//!
//! Tests alone lean on this, so it panics where they would.

mod deployment;
mod l1;
mod secrets;

pub use deployment::{
    CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, PROGRAM, QUEUE_EXPIRY_S, UPGRADE_DELAY_S, VERIFIER_VERSION,
    network_deployment, test_deployment, test_genesis,
};
pub use l1::{START_S, TestL1, address, committee, provider, signer};
pub use secrets::derived;
