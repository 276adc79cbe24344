//! `joule-node`: the sequencer and the full node, assembled.
//!
//! * [`Engine`] is the execution thread: the one writer of the chain, fed by a bounded queue.
//! * [`RequestWatch`] follows L1 and brings its priority requests.
//! * [`SequencerNode`] is what the RPC server sees.
//! * [`Resolved`] is the configuration, with the origin of each value.
//! * [`RunningNode`] starts all of it in this process and stops it in order.
//! * [`Settling`] settles on L1 what the sequencer seals.
//! * [`RunningFullNode`] follows instead: it executes what the sequencer signed and compares it with L1.

pub mod bench;
mod config;
mod engine;
mod full;
mod keys;
mod l1;
mod metrics;
mod node;
mod operations;
mod peers;
mod pending;
mod pruning;
mod running;
mod settling;
pub mod snapshot;

pub use config::{
    BatchConfig, BlocksConfig, CommitteeConfig, Config, ConfigError, FullConfig, FullPlan, GenesisConfig, L1Config,
    OperationsConfig, P2pConfig, PeerPlan, ProofKind, ProofPlan, ProofProfile, ProofShape, ProofsConfig, ProversPlan,
    Resolved, Role, RpcConfig, SettlementConfig, SettlementPlan, Source, Start,
};
pub use engine::{Engine, EngineError, EngineHandle, Shared};
pub use full::{BeginError, FullNode, FullSetup, FullStartError, RunningFullNode, begin};
pub use keys::{BlockKey, KeyFileError};
pub use l1::{FollowError, RequestWatch, contracts_of};
pub use metrics::Metrics;
pub use node::SequencerNode;
pub use peers::identity;
pub use pending::Pending;
pub use running::{L1Setup, RunningNode, Setup, StartError};
pub use settling::{KeysetOnL1Error, ProverServices, Settling, SettlingError, SettlingStatus};
