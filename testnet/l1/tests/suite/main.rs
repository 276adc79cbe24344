//! The L1 as clients see it: through alloy's provider, as bare JSON, beside anvil, and through the core's own API.

mod anvil;
mod client;
mod core;
mod support;
mod wire;
