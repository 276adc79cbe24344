//! The configuration, and where each value of it came from.
//!
//! Four layers, the later over the earlier: defaults, the TOML file, environment variables (`JOULE_NODE_` and the key in capitals, dots as underscores), flags
//! (`--set key=value`). A key that no default names is an error, so that a misspelt one is not silently without effect.

use std::{collections::BTreeMap, fmt, fs, net::SocketAddr, path::PathBuf};

use joule_protocol::{Address, Genesis, Hash};
use joule_sequencer::{BatchLimits, PoolLimits, SequencerConfig};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Table, Value};

/// Everything an operator chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
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

impl Default for Config {
    fn default() -> Self {
        let pool = PoolLimits::default();
        let zero = Address::ZERO.to_string();
        Self {
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
            rpc: RpcConfig { address: SocketAddr::from(([127, 0, 0, 1], 8_545)), connections_max: 1_024 },
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
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file.
    #[error("the configuration file {path} cannot be used: {error}")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// No TOML, or no configuration.
    #[error("{source_name}: {reason}")]
    Malformed {
        /// Which layer.
        source_name: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that there is not.
    #[error("{source_name} sets `{key}`, which is no setting; `joule-node config show` lists them")]
    UnknownKey {
        /// Which layer.
        source_name: String,
        /// The key.
        key: String,
    },
    /// A value of another type.
    #[error("{source_name} sets `{key}` to {got}, which is no {expected}")]
    WrongType {
        /// Which layer.
        source_name: String,
        /// The key.
        key: String,
        /// The value.
        got: String,
        /// The type.
        expected: &'static str,
    },
    /// A value that a node cannot run with.
    #[error("`{key}` is {got}: {reason}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// The value.
        got: String,
        /// Why not.
        reason: &'static str,
    },
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody chose it.
    Default,
    /// The file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Environment(name) => write!(formatter, "${name}"),
            Self::Flag => formatter.write_str("flag"),
        }
    }
}

/// A configuration with the origin of each value.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    values: BTreeMap<String, (Value, Source)>,
}

/// Prefix of the environment's variables.
const ENVIRONMENT_PREFIX: &str = "JOULE_NODE_";

fn flatten(prefix: &str, table: &Table, into: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, into),
            other => drop(into.insert(key, other.clone())),
        }
    }
}

fn unflatten(values: impl IntoIterator<Item = (String, Value)>) -> Table {
    let mut root = Table::new();
    for (key, value) in values {
        match key.split_once('.') {
            None => drop(root.insert(key, value)),
            Some((section, name)) => {
                if let Value::Table(table) =
                    root.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()))
                {
                    table.insert(name.to_owned(), value);
                }
            }
        }
    }
    root
}

fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Reads text as the type that the default has.
fn parse_like(default: &Value, text: &str) -> Option<Value> {
    match default {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => text.replace('_', "").parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        _ => None,
    }
}

impl Resolved {
    /// Lays file, environment and flags over the defaults.
    ///
    /// # Errors
    /// [`ConfigError`], which names the layer and the key.
    pub fn resolve(
        file: Option<(PathBuf, String)>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let defaults = Table::try_from(Config::default()).map_err(|error| ConfigError::Malformed {
            source_name: "defaults".to_owned(),
            reason: error.to_string(),
        })?;
        let mut flat = BTreeMap::new();
        flatten("", &defaults, &mut flat);
        let mut values: BTreeMap<String, (Value, Source)> =
            flat.into_iter().map(|(key, value)| (key, (value, Source::Default))).collect();

        if let Some((path, text)) = file {
            let source_name = path.display().to_string();
            let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Malformed {
                source_name: source_name.clone(),
                reason: error.to_string(),
            })?;
            let mut flat = BTreeMap::new();
            flatten("", &table, &mut flat);
            for (key, value) in flat {
                let Some(slot) = values.get_mut(&key) else { return Err(ConfigError::UnknownKey { source_name, key }) };
                if !slot.0.same_type(&value) {
                    let (got, expected) = (value.to_string(), slot.0.type_str());
                    return Err(ConfigError::WrongType { source_name, key, got, expected });
                }
                *slot = (value, Source::File(path.clone()));
            }
        }
        let names: BTreeMap<String, String> = values.keys().map(|key| (variable_of(key), key.clone())).collect();
        for (name, text) in environment.into_iter().filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)) {
            let source_name = format!("${name}");
            let Some(key) = names.get(&name).cloned() else {
                return Err(ConfigError::UnknownKey { source_name, key: name });
            };
            Self::set(&mut values, &key, &text, source_name, Source::Environment(name))?;
        }
        for (key, text) in flags {
            Self::set(&mut values, key, text, "a flag".to_owned(), Source::Flag)?;
        }
        let table = unflatten(values.iter().map(|(key, (value, _))| (key.clone(), value.clone())));
        let config = table.try_into().map_err(|error: toml::de::Error| ConfigError::Malformed {
            source_name: "the configuration".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { config, values })
    }

    fn set(
        values: &mut BTreeMap<String, (Value, Source)>,
        key: &str,
        text: &str,
        source_name: String,
        source: Source,
    ) -> Result<(), ConfigError> {
        let Some(slot) = values.get_mut(key) else {
            return Err(ConfigError::UnknownKey { source_name, key: key.to_owned() });
        };
        let (got, expected) = (text.to_owned(), slot.0.type_str());
        let value = parse_like(&slot.0, text);
        let value = value.ok_or(ConfigError::WrongType { source_name, key: key.to_owned(), got, expected })?;
        *slot = (value, source);
        Ok(())
    }

    /// Reads the file, if it is there, and the process's environment. Without a file, `write_defaults` writes one, so that an operator finds every setting in it.
    ///
    /// # Errors
    /// As [`Resolved::resolve`].
    pub fn load(path: PathBuf, write_defaults: bool, flags: &[(String, String)]) -> Result<Self, ConfigError> {
        let file = match fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if write_defaults {
                    let text = toml::to_string_pretty(&Config::default()).map_err(|error| ConfigError::Malformed {
                        source_name: "defaults".to_owned(),
                        reason: error.to_string(),
                    })?;
                    fs::write(&path, text).map_err(|error| ConfigError::File { path, error })?;
                }
                None
            }
            Err(error) => return Err(ConfigError::File { path, error }),
        };
        Self::resolve(file, std::env::vars(), flags)
    }

    /// Every key with its value and where it came from, by key.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Value, &Source)> {
        self.values.iter().map(|(key, (value, source))| (key.as_str(), value, source))
    }
}

fn hexadecimal<const N: usize>(key: &'static str, text: &str) -> Result<[u8; N], ConfigError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| ConfigError::Unusable {
        key,
        got: text.to_owned(),
        reason: "it must be hexadecimal digits, 40 for an address and 64 for 32 bytes",
    })?;
    Ok(bytes)
}

impl Config {
    /// The chain's genesis.
    ///
    /// # Errors
    /// `Unusable` for an address or salt that is none, and for what no chain can start from.
    pub fn genesis(&self) -> Result<Genesis, ConfigError> {
        let config = &self.genesis;
        let genesis = Genesis {
            chain_id: config.chain_id,
            l1_chain_id: config.l1_chain_id,
            base_token: Address(hexadecimal("genesis.base_token", &config.base_token)?),
            fee_recipient: Address(hexadecimal("genesis.fee_recipient", &config.fee_recipient)?),
            base_fee_max: config.base_fee_max,
            grace_seconds: config.grace_seconds,
            channel_close_seconds: config.channel_close_seconds,
            timestamp: config.timestamp,
            salt: Hash(hexadecimal("genesis.salt", &config.salt)?),
        };
        match genesis.check() {
            Ok(()) => Ok(genesis),
            Err(error) => {
                Err(ConfigError::Malformed { source_name: "[genesis]".to_owned(), reason: error.to_string() })
            }
        }
    }

    /// The rollup's address.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn rollup(&self) -> Result<Address, ConfigError> {
        Ok(Address(hexadecimal("l1.rollup", &self.l1.rollup)?))
    }

    /// What the core is told.
    ///
    /// # Errors
    /// `Unusable` for a base fee over the genesis' cap, or a bound that lets nothing through.
    pub fn sequencer(&self) -> Result<SequencerConfig, ConfigError> {
        let BlocksConfig { base_fee, .. } = self.sequencer;
        if base_fee > self.genesis.base_fee_max {
            let (key, got) = ("sequencer.base_fee", base_fee.to_string());
            return Err(ConfigError::Unusable { key, got, reason: "it exceeds genesis.base_fee_max" });
        }
        let bounds = [
            ("sequencer.block_interval_ms", self.sequencer.block_interval_ms),
            ("sequencer.pool_transactions_max", self.sequencer.pool_transactions_max as u64),
            ("sequencer.pool_per_sender_max", self.sequencer.pool_per_sender_max as u64),
            ("batch.gas_max", self.batch.gas_max),
            ("batch.data_bytes_max", self.batch.data_bytes_max),
            ("batch.blocks_max", self.batch.blocks_max),
            ("batch.age_ms_max", self.batch.age_ms_max),
        ];
        if let Some((key, _)) = bounds.into_iter().find(|&(_, bound)| bound == 0) {
            return Err(ConfigError::Unusable { key, got: "0".to_owned(), reason: "nothing would fit" });
        }
        Ok(SequencerConfig {
            base_fee,
            block_interval_ms: self.sequencer.block_interval_ms,
            pool: PoolLimits {
                transactions_max: self.sequencer.pool_transactions_max,
                per_sender_max: self.sequencer.pool_per_sender_max,
                gapped_max: self.sequencer.pool_gapped_max,
                replacement_percent: self.sequencer.replacement_percent,
                parked_ms_max: self.sequencer.parked_ms_max,
            },
            batch: BatchLimits {
                gas_max: self.batch.gas_max,
                data_bytes_max: self.batch.data_bytes_max,
                blocks_max: self.batch.blocks_max,
                age_ms_max: self.batch.age_ms_max,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn source<'a>(resolved: &'a Resolved, wanted: &str) -> &'a Source {
        resolved.values().find(|(key, ..)| *key == wanted).map(|(.., source)| source).expect("a setting")
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let file = "[rpc]\naddress = \"127.0.0.1:1\"\n[sequencer]\nbase_fee = 5\nblock_interval_ms = 6\n";
        let environment = pairs(&[
            ("JOULE_NODE_SEQUENCER_BASE_FEE", "7"),
            ("JOULE_NODE_RPC_ADDRESS", "127.0.0.1:2"),
            ("HOME", "/nowhere"),
        ]);
        let resolved = Resolved::resolve(
            Some(("a.toml".into(), file.to_owned())),
            environment,
            &pairs(&[("rpc.address", "127.0.0.1:3")]),
        )
        .unwrap();
        assert_eq!(resolved.config.rpc.address.port(), 3);
        assert_eq!(source(&resolved, "rpc.address"), &Source::Flag);
        assert_eq!(resolved.config.sequencer.base_fee, 7);
        let variable = Source::Environment("JOULE_NODE_SEQUENCER_BASE_FEE".to_owned());
        assert_eq!(source(&resolved, "sequencer.base_fee"), &variable);
        assert_eq!(resolved.config.sequencer.block_interval_ms, 6);
        assert_eq!(source(&resolved, "sequencer.block_interval_ms"), &Source::File("a.toml".into()));
        assert_eq!(source(&resolved, "log"), &Source::Default);
        assert_eq!(resolved.values().count(), resolved.values.len());
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let file = |text: &str| Resolved::resolve(Some(("a.toml".into(), text.to_owned())), [], &[]).unwrap_err();
        assert!(matches!(file("[rpc]\nadress = \"\""), ConfigError::UnknownKey { key, .. } if key == "rpc.adress"));
        assert!(matches!(file("[rpc]\naddress = 5"), ConfigError::WrongType { key, .. } if key == "rpc.address"));
        assert!(matches!(file("[rpc"), ConfigError::Malformed { .. }));
        assert!(matches!(file("[rpc]\naddress = \"here\""), ConfigError::Malformed { .. }));
        let flag = |key, value| Resolved::resolve(None, [], &pairs(&[(key, value)])).unwrap_err();
        assert!(matches!(flag("rpc", "x"), ConfigError::UnknownKey { .. }));
        assert!(matches!(flag("sequencer.base_fee", "much"), ConfigError::WrongType { .. }));
        let variable = Resolved::resolve(None, pairs(&[("JOULE_NODE_RPC", "x")]), &[]);
        assert!(matches!(variable, Err(ConfigError::UnknownKey { .. })));
    }

    #[test]
    fn the_file_of_the_first_run_says_what_the_defaults_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("joule-node.toml");
        Resolved::load(path.clone(), true, &[]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let again = Resolved::resolve(Some((path, text)), [], &[]).unwrap();
        assert_eq!(again.config, Config::default());
    }

    #[test]
    fn unusable_values_are_refused() {
        let config = |edit: fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            config
        };
        assert!(config(|_| ()).genesis().is_err(), "a chain id must be chosen");
        assert!(config(|config| config.genesis.salt = "0x12".to_owned()).genesis().is_err());
        assert!(config(|config| config.sequencer.base_fee = u64::MAX).sequencer().is_err());
        assert!(config(|config| config.batch.blocks_max = 0).sequencer().is_err());
        assert!(config(|_| ()).sequencer().is_ok());
    }
}
