//! The member's configuration file, in TOML. Flags and environment variables go before the file.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::{Address, B256};
use joule_committee_client::{Committee, ConnectError, Endpoint};
use joule_protocol::{Genesis, GenesisError, Hash};
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{http::HttpLimits, rules::Promises, sync::SyncConfig};

/// Why a configuration is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file.
    #[error("the configuration {path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Not TOML, or not of this shape.
    #[error("the configuration {path}: {error}")]
    Shape {
        /// Where.
        path: PathBuf,
        /// What is wrong, with the line.
        error: String,
    },
    /// A genesis that no chain has.
    #[error("the configuration's genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// Peers that are none.
    #[error(transparent)]
    Peers(#[from] ConnectError),
    /// A URL that is none.
    #[error("{url:?} is no URL")]
    Url {
        /// What is there.
        url: String,
    },
    /// L1's chain id in two places.
    #[error("l1.chain_id is {l1} and genesis.l1_chain_id is {genesis}; a chain has one L1")]
    TwoL1s {
        /// In `[l1]`.
        l1: u64,
        /// In `[genesis]`.
        genesis: u64,
    },
}

/// What every node of a network has alike: published by whoever started it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Where the chain is settled.
    pub l1: L1Config,
    /// What the chain started from.
    pub genesis: GenesisConfig,
    /// The committee's members and where they listen.
    #[serde(default)]
    pub peers: Vec<PeerConfig>,
}

/// Everything a member is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where to keep everything.
    #[serde(default = "default_data")]
    pub data: PathBuf,
    /// Who this member is.
    pub keys: KeysConfig,
    /// Its place on libp2p; HTTP alone without.
    pub p2p: Option<P2pConfig>,
    /// How it keeps up, and what it promises.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Where the chain is settled.
    pub l1: L1Config,
    /// What the chain started from.
    pub genesis: GenesisConfig,
    /// The committee's members and where they listen; this member may be among them.
    #[serde(default)]
    pub peers: Vec<PeerConfig>,
}

/// `[keys]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The L1 account that registered the keys.
    pub account: Address,
    /// File of the ECDSA key.
    pub ecdsa: Option<PathBuf>,
    /// File of the BLS key.
    pub bls: Option<PathBuf>,
    /// File of the password, where the keys are keystores.
    pub password: Option<PathBuf>,
}

/// `[p2p]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct P2pConfig {
    /// Where to listen, TCP or QUIC (`/ip4/0.0.0.0/tcp/7061`, `/ip4/0.0.0.0/udp/7061/quic-v1`).
    pub listen: Vec<Multiaddr>,
    /// File of the identity's key: 32 bytes in hexadecimal digits.
    pub key: PathBuf,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Milliseconds between two looks at L1.
    pub l1_poll_ms: u64,
    /// Milliseconds for one answer of a peer.
    pub peer_limit_ms: u64,
    /// Seconds between two snapshots; 0 for none, and then nothing is pruned.
    pub snapshot_every_s: u64,
    /// Seconds that data stays at least.
    pub retention_s: u64,
    /// The furthest expiry that is signed, seconds from now.
    pub expiry_ahead_max_s: u64,
    /// HTTP connections at a time.
    pub http_connections_max: usize,
    /// HTTP connections at a time from one address; behind a proxy all come from one.
    pub http_per_host_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            l1_poll_ms: 1_000,
            peer_limit_ms: 30_000,
            snapshot_every_s: 86_400,
            retention_s: 30 * 86_400,
            // Certificates live for 14 days at least; more than a quarter of a year is nobody's need and fills disks.
            expiry_ahead_max_s: 90 * 86_400,
            http_connections_max: HttpLimits::default().connections_max,
            http_per_host_max: HttpLimits::default().per_host_max,
        }
    }
}

/// `[l1]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Config {
    /// JSON-RPC over HTTP. The node is trusted to tell the truth about L1.
    pub url: String,
    /// Its chain id.
    pub chain_id: u64,
    /// The rollup.
    pub rollup: Address,
    /// L1 block of its deployment.
    pub deployed_at: u64,
    /// Blocks on top of a block before it counts.
    #[serde(default = "default_confirmations")]
    pub confirmations: u64,
}

/// `[genesis]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisConfig {
    /// The L2's chain id.
    pub chain_id: u64,
    /// The L1's chain id.
    pub l1_chain_id: u64,
    /// The base token on L1; zero for ETH.
    pub base_token: Address,
    /// Who gets the fees.
    pub fee_recipient: Address,
    /// Highest base fee per unit of gas.
    pub base_fee_max: u64,
    /// Seconds after a job's deadline before it may expire.
    pub grace_seconds: u64,
    /// Seconds between closing and finalising a channel.
    pub channel_close_seconds: u64,
    /// Unix seconds.
    pub timestamp: u64,
    /// What makes this chain differ from another with the same numbers.
    pub salt: B256,
}

/// `[[peers]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// The member's L1 account.
    pub account: Address,
    /// Where it listens.
    pub url: String,
    /// Where it listens on libp2p, with its peer id at the end; HTTP alone without.
    pub p2p: Option<Multiaddr>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_060))
}

fn default_data() -> PathBuf {
    PathBuf::from("joule-dac")
}

fn default_confirmations() -> u64 {
    6
}

impl From<&Genesis> for GenesisConfig {
    fn from(genesis: &Genesis) -> Self {
        Self {
            chain_id: genesis.chain_id,
            l1_chain_id: genesis.l1_chain_id,
            base_token: Address::new(genesis.base_token.0),
            fee_recipient: Address::new(genesis.fee_recipient.0),
            base_fee_max: genesis.base_fee_max,
            grace_seconds: genesis.grace_seconds,
            channel_close_seconds: genesis.channel_close_seconds,
            timestamp: genesis.timestamp,
            salt: B256::new(genesis.salt.0),
        }
    }
}

impl GenesisConfig {
    fn genesis(&self) -> Result<Genesis, GenesisError> {
        let genesis = Genesis {
            chain_id: self.chain_id,
            l1_chain_id: self.l1_chain_id,
            base_token: joule_protocol::Address(self.base_token.into_array()),
            fee_recipient: joule_protocol::Address(self.fee_recipient.into_array()),
            base_fee_max: self.base_fee_max,
            grace_seconds: self.grace_seconds,
            channel_close_seconds: self.channel_close_seconds,
            timestamp: self.timestamp,
            salt: Hash(self.salt.0),
        };
        genesis.check().map(|()| genesis)
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::Io { path: path.to_owned(), error })?;
    toml::from_str(&text).map_err(|error| ConfigError::Shape { path: path.to_owned(), error: error.to_string() })
}

impl NetworkConfig {
    /// Reads a network's file.
    ///
    /// # Errors
    /// A file that is missing or of another shape.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        read(path)
    }

    /// The chain's genesis.
    ///
    /// # Errors
    /// Numbers that no chain starts from.
    pub fn genesis(&self) -> Result<Genesis, ConfigError> {
        if self.l1.chain_id != self.genesis.l1_chain_id {
            return Err(ConfigError::TwoL1s { l1: self.l1.chain_id, genesis: self.genesis.l1_chain_id });
        }
        Ok(self.genesis.genesis()?)
    }

    /// The members, over HTTP.
    ///
    /// # Errors
    /// Peers that are none.
    pub fn committee(&self) -> Result<Committee, ConfigError> {
        let members = self.peers.iter().map(|PeerConfig { account, url, .. }| {
            let parsed = url.parse().map_err(|_| ConfigError::Url { url: url.clone() })?;
            Ok(Endpoint { account: *account, url: parsed })
        });
        Ok(Committee::new(members.collect::<Result<_, ConfigError>>()?)?)
    }

    /// The members that are on libp2p.
    pub fn on_libp2p(&self) -> impl Iterator<Item = (Address, Multiaddr)> {
        self.peers.iter().filter_map(|peer| Some((peer.account, peer.p2p.clone()?)))
    }
}

impl Config {
    /// Reads a configuration and checks what one value says of another.
    ///
    /// # Errors
    /// A file that is missing, of another shape, or that contradicts itself.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = read(path)?;
        config.genesis()?;
        config.committee()?;
        Ok(config)
    }

    /// Writes the configuration where no file is.
    ///
    /// # Errors
    /// A file that is there, or the disk.
    pub fn write_new(&self, path: &Path) -> Result<(), ConfigError> {
        use io::Write as _;
        let shape = |error: toml::ser::Error| ConfigError::Shape { path: path.to_owned(), error: error.to_string() };
        let text = toml::to_string(self).map_err(shape)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| ConfigError::Io { path: path.to_owned(), error })
    }

    /// The network as this member sees it: without itself.
    pub fn network(&self) -> NetworkConfig {
        let peers = self.peers.iter().filter(|peer| peer.account != self.keys.account).cloned().collect();
        NetworkConfig { l1: self.l1.clone(), genesis: self.genesis, peers }
    }

    /// The chain's genesis.
    ///
    /// # Errors
    /// Numbers that no chain starts from.
    pub fn genesis(&self) -> Result<Genesis, ConfigError> {
        self.network().genesis()
    }

    /// The other members, over HTTP.
    ///
    /// # Errors
    /// Peers that are none.
    pub fn committee(&self) -> Result<Committee, ConfigError> {
        self.network().committee()
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.data.join("database")
    }

    /// What the member promises.
    pub fn promises(&self) -> Promises {
        Promises { expiry_ahead_max_s: self.limits.expiry_ahead_max_s }
    }

    /// What strangers may take of the member.
    pub fn http(&self) -> HttpLimits {
        HttpLimits {
            connections_max: self.limits.http_connections_max,
            per_host_max: self.limits.http_per_host_max,
            ..HttpLimits::default()
        }
    }

    /// How the member keeps up.
    pub fn sync(&self) -> SyncConfig {
        SyncConfig {
            poll: Duration::from_millis(self.limits.l1_poll_ms.max(1)),
            peer_limit: Duration::from_millis(self.limits.peer_limit_ms.max(1)),
            snapshot_every: Duration::from_secs(self.limits.snapshot_every_s),
            retention_s: self.limits.retention_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            listen: default_listen(),
            data: default_data(),
            keys: KeysConfig {
                account: Address::repeat_byte(1),
                ecdsa: Some("ecdsa.key".into()),
                bls: None,
                password: None,
            },
            p2p: Some(P2pConfig {
                listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
                key: "p2p.key".into(),
            }),
            limits: LimitsConfig::default(),
            l1: L1Config {
                url: "http://127.0.0.1:8545".to_owned(),
                chain_id: 31_337,
                rollup: Address::repeat_byte(2),
                deployed_at: 7,
                confirmations: 0,
            },
            genesis: (&joule_workload::Chain::test_genesis()).into(),
            peers: vec![
                PeerConfig { account: Address::repeat_byte(1), url: "http://127.0.0.1:1".to_owned(), p2p: None },
                PeerConfig {
                    account: Address::repeat_byte(3),
                    url: "http://127.0.0.1:2".to_owned(),
                    p2p: Some("/dns/member.example/tcp/7061".parse().expect("an address")),
                },
            ],
        }
    }

    #[test]
    fn a_written_configuration_reads_back_and_is_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("joule-dac.toml");
        config().write_new(&path).expect("writes");
        assert_eq!(Config::read(&path).expect("reads"), config());
        assert!(matches!(config().write_new(&path), Err(ConfigError::Io { .. })));
        assert_eq!(config().committee().expect("peers").members().len(), 1, "without itself");
        assert_eq!(config().network().on_libp2p().count(), 1);
        assert_eq!(config().genesis().expect("a genesis"), joule_workload::Chain::test_genesis());
    }

    #[test]
    fn unknown_fields_and_contradictions_are_refused() {
        let text = toml::to_string(&config()).expect("serialises");
        assert!(toml::from_str::<Config>(&format!("colour = 1\n{text}")).is_err());
        let mut other = config();
        other.l1.chain_id = 1;
        assert!(matches!(other.genesis(), Err(ConfigError::TwoL1s { .. })));
        let mut other = config();
        other.peers[1].url = "nowhere".to_owned();
        assert!(matches!(other.committee(), Err(ConfigError::Url { .. })));
    }
}
