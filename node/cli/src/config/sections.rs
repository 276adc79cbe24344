//! The sections of the configuration and their defaults.

use std::{net::SocketAddr, path::PathBuf};

use joule_protocol::{Address, Hash};
use joule_rpc::Limits;
use joule_sequencer::PoolLimits;
use serde::{Deserialize, Serialize};

/// Everything an operator chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What this node is: `sequencer` or `full`.
    pub role: Role,
    /// Where the database is.
    pub data_folder: PathBuf,
    /// What is logged: `error`, `warn`, `info`, `debug`, or a filter of `tracing`.
    pub log: String,
    /// The chain.
    pub genesis: GenesisConfig,
    /// JSON-RPC.
    pub rpc: RpcConfig,
    /// Metrics, health, drain.
    pub operations: OperationsConfig,
    /// Blocks and mempool.
    pub sequencer: BlocksConfig,
    /// Batches.
    pub batch: BatchConfig,
    /// L1.
    pub l1: L1Config,
    /// Settling on L1, by the sequencer.
    pub settlement: SettlementConfig,
    /// The committee that holds batch data.
    pub committee: CommitteeConfig,
    /// Where proofs come from.
    pub proofs: ProofsConfig,
    /// Gossip and sync.
    pub p2p: P2pConfig,
    /// What a full node is told.
    pub full: FullConfig,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders transactions, seals blocks and batches, and settles them. One of its kind.
    Sequencer,
    /// Follows: executes what the sequencer signed, compares it with L1, and serves JSON-RPC.
    Full,
}

/// What is fixed when the chain starts. All nodes must have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisConfig {
    /// The chain id that wallets sign for.
    pub chain_id: u64,
    /// Chain id of the L1.
    pub l1_chain_id: u64,
    /// The base token on L1; zero for ETH.
    pub base_token: String,
    /// Who gets the fees.
    pub fee_recipient: String,
    /// Highest base fee, per unit of gas.
    pub base_fee_max: u64,
    /// Seconds after a job's deadline before it may expire.
    pub grace_seconds: u64,
    /// Seconds between closing and finalising a channel.
    pub channel_close_seconds: u64,
    /// Unix seconds; no block is earlier.
    pub timestamp: u64,
    /// 32 bytes that make this chain differ from another with the same numbers.
    pub salt: String,
}

/// JSON-RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcConfig {
    /// Where it listens, HTTP and WebSocket.
    pub address: SocketAddr,
    /// Connections at a time.
    pub connections_max: u32,
    /// Gas of an `eth_call` that runs code, such as Multicall3.
    pub view_gas_max: u64,
}

/// Metrics, health, drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationsConfig {
    /// Where it listens. Keep it from the public: `POST /drain` is here.
    pub address: SocketAddr,
}

/// Blocks and mempool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlocksConfig {
    /// File with the key that signs blocks, which L1 knows the sequencer by.
    pub key_file: PathBuf,
    /// Price per unit of gas.
    pub base_fee: u64,
    /// Shortest time between two blocks, milliseconds.
    pub block_interval_ms: u64,
    /// Transactions in the mempool.
    pub pool_transactions_max: usize,
    /// Transactions of one sender in the mempool.
    pub pool_per_sender_max: usize,
    /// Transactions in the mempool that wait for an earlier nonce.
    pub pool_gapped_max: usize,
    /// How much more a replacement must pay, percent.
    pub replacement_percent: u32,
    /// How long a transaction that its sender cannot afford any more is kept, milliseconds.
    pub parked_ms_max: u64,
}

/// When a batch closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Gas.
    pub gas_max: u64,
    /// Bytes of batch data.
    pub data_bytes_max: u64,
    /// Blocks.
    pub blocks_max: u64,
    /// Age of the first block, milliseconds.
    pub age_ms_max: u64,
}

/// L1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Config {
    /// An L1 node's URL.
    pub url: String,
    /// Address of `Rollup`.
    pub rollup: String,
    /// L1 block of its deployment.
    pub deployed_at: u64,
    /// Blocks on top of a block before it is believed.
    pub confirmations: u64,
    /// Pause between two looks, milliseconds.
    pub poll_ms: u64,
}

/// Settling on L1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettlementConfig {
    /// File with the key that sends to L1: the sequencer's. Nothing is settled while this is empty.
    pub key_file: PathBuf,
    /// Blocks below L1's head at which what it says counts as final.
    pub confirmations: u64,
    /// Pause between two looks, milliseconds.
    pub poll_ms: u64,
    /// After a refusal of L1 the same is tried again after this long, and then later and later, seconds.
    pub retry_s: u64,
    /// After a failure of the committee data goes to L1 until the committee has been well for this long, seconds.
    pub healthy_for_s: u64,
    /// A committed batch that is unproven for this long raises an alarm, seconds.
    pub proof_late_s: u64,
    /// The most a transaction offers, in billionths of ETH per unit of gas.
    pub fee_cap_max_gwei: u64,
}

/// The committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitteeConfig {
    /// Its members, each as `0xACCOUNT=http://HOST:PORT`. Which of them must sign is read from L1.
    pub members: Vec<String>,
    /// How long members promise a batch's data, seconds from its certificate.
    pub certificate_lifetime_s: u64,
    /// A certificate must outlive what L1 asks for by this much to be worth a commit, seconds.
    pub certificate_margin_s: u64,
    /// Without a quorum after this long the data goes to L1, milliseconds.
    pub deadline_ms: u64,
    /// After a certificate, slow members get this long to sign too, milliseconds.
    pub linger_ms: u64,
    /// How long one member may take to serve a batch, milliseconds.
    pub serve_limit_ms: u64,
}

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofKind {
    /// This process, on all of its processors.
    Local,
    /// Provers that take tasks over the network.
    Network,
}

/// How much soundness is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofProfile {
    /// For development.
    Fast,
    /// At least 100 provable bits in the tables.
    Proven,
}

/// Where proofs come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofsConfig {
    /// `local` or `network`.
    pub kind: ProofKind,
    /// `fast` or `proven`; L1's verifier is for one of them.
    pub profile: ProofProfile,
    /// Where results of proving are kept; `proofs` beside the database if empty.
    pub folder: PathBuf,
    /// Where circuits and keys are kept; the user's cache folder if empty.
    pub cache_folder: PathBuf,
    /// The version byte that L1's router knows the verifier by.
    pub verifier_version: u8,
    /// Where provers find this node, for `network`: addresses like `/ip4/0.0.0.0/udp/7071/quic-v1`.
    pub listen: Vec<String>,
    /// File with the provers that may join, for `network`: on each line a peer id, an address that ends in one, or the name that reports call a prover by. Read at
    /// the start. Everybody may join if empty.
    pub allow_file: PathBuf,
    /// The largest shape that batches are cut for, for `network`: `small`, `medium` or `large`.
    pub shape: ProofShape,
    /// How long after its last block a batch should be proven, for `network`, seconds.
    pub within_s: u64,
    /// What a segment in the smallest shape pays, for `network`, wei on L2; each larger shape pays twice as much.
    pub segment_price: u64,
    /// What a merge pays, wei on L2.
    pub merge_price: u64,
    /// What a wrap pays, wei on L2.
    pub wrap_price: u64,
    /// Where KEDA asks how many tasks there are, for `network`: an address inside the cluster like `10.0.0.5:9101`. Nobody asks if empty.
    pub keda: String,
    /// File with the key of the genesis' fee recipient, which pays provers on L2, for `network`. If empty, what is owed is written down and nobody is paid.
    pub payout_key_file: PathBuf,
}

/// How much a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofShape {
    /// Few payments; provers of little memory.
    Small,
    /// A full segment of payments.
    Medium,
    /// Any block.
    Large,
}

/// Gossip and sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct P2pConfig {
    /// Where to listen: addresses like `/ip4/0.0.0.0/tcp/7070` and `/ip4/0.0.0.0/udp/7070/quic-v1`. With none, and no bootnodes, there is no gossip.
    pub listen: Vec<String>,
    /// Whom to connect to, each with its peer id at the end: `/ip4/…/tcp/7070/p2p/12D3…`.
    pub bootnodes: Vec<String>,
    /// File with this node's identity; made if it is not there.
    pub key_file: PathBuf,
    /// Most connections.
    pub peers_max: u32,
}

/// How a full node with an empty disk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At genesis: every block is executed.
    Blocks,
    /// At the last executed checkpoint, whose state is rebuilt from the data of all batches.
    Data,
}

/// What a full node is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullConfig {
    /// URL of the sequencer's JSON-RPC, for transactions; with none they are gossiped, and acknowledged when a block has them.
    pub sequencer_rpc: String,
    /// `blocks` or `data`: how an empty disk begins.
    pub start: Start,
    /// Longest wait for a block with a transaction that was gossiped, milliseconds.
    pub gossip_wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let pool = PoolLimits::default();
        let zero = Address::ZERO.to_string();
        Self {
            role: Role::Sequencer,
            data_folder: "joule-data".into(),
            log: "info".to_owned(),
            genesis: GenesisConfig {
                chain_id: 0,
                l1_chain_id: 0,
                base_token: zero.clone(),
                fee_recipient: zero.clone(),
                base_fee_max: 1_000_000_000_000,
                grace_seconds: 8 * 24 * 3_600,
                channel_close_seconds: 8 * 24 * 3_600,
                timestamp: 0,
                salt: Hash::ZERO.to_string(),
            },
            rpc: RpcConfig {
                address: SocketAddr::from(([127, 0, 0, 1], 8_545)),
                connections_max: 1_024,
                view_gas_max: Limits::default().view_gas_max,
            },
            operations: OperationsConfig { address: SocketAddr::from(([127, 0, 0, 1], 9_100)) },
            sequencer: BlocksConfig {
                key_file: "sequencer.key".into(),
                base_fee: 1_000_000,
                block_interval_ms: 100,
                pool_transactions_max: pool.transactions_max,
                pool_per_sender_max: pool.per_sender_max,
                pool_gapped_max: pool.gapped_max,
                replacement_percent: pool.replacement_percent,
                parked_ms_max: pool.parked_ms_max,
            },
            batch: BatchConfig { gas_max: 64_000_000, data_bytes_max: 2_000_000, blocks_max: 600, age_ms_max: 600_000 },
            l1: L1Config { url: String::new(), rollup: zero, deployed_at: 0, confirmations: 6, poll_ms: 2_000 },
            settlement: SettlementConfig {
                key_file: PathBuf::new(),
                confirmations: 64,
                poll_ms: 4_000,
                retry_s: 12,
                healthy_for_s: 1_800,
                proof_late_s: 6 * 3_600,
                fee_cap_max_gwei: 500,
            },
            committee: CommitteeConfig {
                members: Vec::new(),
                certificate_lifetime_s: 60 * 24 * 3_600,
                certificate_margin_s: 3_600,
                deadline_ms: 60_000,
                linger_ms: 30_000,
                serve_limit_ms: 30_000,
            },
            proofs: ProofsConfig {
                kind: ProofKind::Local,
                profile: ProofProfile::Fast,
                folder: PathBuf::new(),
                cache_folder: PathBuf::new(),
                verifier_version: 1,
                listen: Vec::new(),
                allow_file: PathBuf::new(),
                shape: ProofShape::Large,
                within_s: 3_600,
                segment_price: 1_000_000_000_000,
                merge_price: 100_000_000_000,
                wrap_price: 1_000_000_000_000,
                keda: String::new(),
                payout_key_file: PathBuf::new(),
            },
            p2p: P2pConfig { listen: Vec::new(), bootnodes: Vec::new(), key_file: "node.key".into(), peers_max: 64 },
            full: FullConfig { sequencer_rpc: String::new(), start: Start::Blocks, gossip_wait_ms: 10_000 },
        }
    }
}
