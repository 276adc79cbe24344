//! The server over a real database, asked as clients ask.

mod clients;
mod compat;
mod evm;
mod joule;
mod malformed;
mod protocol;
mod support;
