//! `joule-node`: the sequencer, assembled.
//!
//! * [`Engine`] is the execution thread: the one writer of the chain, fed by a bounded queue.
//! * [`RequestWatch`] follows L1 and brings its priority requests.
//! * [`SequencerNode`] is what the RPC server sees.
//! * [`Resolved`] is the configuration, with the origin of each value.
//! * [`RunningNode`] starts all of it in this process and stops it in order.

pub mod bench;
mod config;
mod engine;
mod keys;
mod l1;
mod metrics;
mod node;
mod operations;
mod pending;
mod running;

pub use config::{
    BatchConfig, BlocksConfig, Config, ConfigError, GenesisConfig, L1Config, OperationsConfig, Resolved, RpcConfig,
    Source,
};
pub use engine::{Engine, EngineError, EngineHandle, Shared};
pub use keys::{BlockKey, KeyFileError};
pub use l1::{FollowError, RequestWatch};
pub use metrics::Metrics;
pub use node::SequencerNode;
pub use pending::Pending;
pub use running::{L1Setup, RunningNode, Setup, StartError};
