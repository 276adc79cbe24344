//! From no prover to many and back.
