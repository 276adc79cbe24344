//! The configuration, and where each value of it came from.
//!
//! Four layers, the later over the earlier: defaults, the TOML file, environment variables (`JOULE_NODE_` and the key in capitals, dots as underscores), flags
//! (`--set key=value`). A key that no default names is an error, so that a misspelt one is not silently without effect.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use thiserror::Error;
use toml::{Table, Value};

mod checked;
mod sections;

pub use checked::{FullPlan, PeerPlan, ProofPlan, ProversPlan, SettlementPlan};
pub use sections::{
    BatchConfig, BlocksConfig, CommitteeConfig, Config, FullConfig, GenesisConfig, L1Config, OperationsConfig,
    P2pConfig, ProofKind, ProofProfile, ProofShape, ProofsConfig, Role, RpcConfig, SettlementConfig, Start,
};

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
        // Lists are of texts, none of which has a comma in it.
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
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
    fn views_get_gas_that_lets_some_through_and_ends() {
        let resolve = |gas| Resolved::resolve(None, [], &pairs(&[("rpc.view_gas_max", gas)])).unwrap().config;
        let limits = |gas| resolve(gas).rpc_limits();
        assert_eq!(limits("50000000").unwrap().view_gas_max, 50_000_000);
        for wrong in ["0", "20999", "1000000001"] {
            assert!(matches!(limits(wrong), Err(ConfigError::Unusable { key: "rpc.view_gas_max", .. })), "{wrong}");
        }
    }

    #[test]
    fn lists_come_from_flags_and_variables_too() {
        let variables = pairs(&[("JOULE_NODE_P2P_LISTEN", "/ip4/127.0.0.1/tcp/1, /ip4/127.0.0.1/udp/1/quic-v1")]);
        let resolved = Resolved::resolve(None, variables, &pairs(&[("committee.members", "")])).unwrap();
        assert_eq!(resolved.config.p2p.listen, ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"]);
        assert!(resolved.config.committee.members.is_empty());
    }

    #[test]
    fn settling_is_off_until_it_is_configured_whole() {
        let resolve = |flags: &[(&str, &str)]| Resolved::resolve(None, [], &pairs(flags)).unwrap().config;
        assert!(resolve(&[]).settlement_plan().unwrap().is_none(), "nothing configured: the node only sequences");
        let member = ("committee.members", "0x0101010101010101010101010101010101010101=http://127.0.0.1:7060");
        let key = ("settlement.key_file", "operator.key");
        let unusable = |flags: &[(&str, &str)]| match resolve(flags).settlement_plan() {
            Err(ConfigError::Unusable { key, .. }) => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(unusable(&[member]), "settlement.key_file");
        assert_eq!(unusable(&[key]), "committee.members");
        assert_eq!(unusable(&[key, ("committee.members", "http://127.0.0.1:7060")]), "committee.members");
        assert_eq!(unusable(&[key, ("committee.members", "0x01=http://127.0.0.1:7060")]), "committee.members");
        assert_eq!(
            unusable(&[key, member, ("committee.certificate_lifetime_s", "0")]),
            "committee.certificate_lifetime_s"
        );
        let plan = resolve(&[key, member]).settlement_plan().unwrap().expect("settles");
        assert_eq!(plan.members.len(), 1);
        assert!(matches!(plan.proofs, ProofPlan::Local { .. }));
        let network = ("proofs.kind", "network");
        assert_eq!(unusable(&[key, member, network]), "proofs.listen");
        assert_eq!(unusable(&[key, member, network, ("proofs.listen", "here")]), "proofs.listen");
        let listen = ("proofs.listen", "/ip4/127.0.0.1/udp/7071/quic-v1");
        let plan = resolve(&[key, member, network, listen]).settlement_plan().unwrap().expect("settles");
        assert!(matches!(plan.proofs, ProofPlan::Network { allow: None, .. }), "everybody");
        let listed = resolve(&[key, member, network, listen, ("proofs.allow_file", "provers")]).settlement_plan();
        let plan = listed.unwrap().expect("settles");
        assert!(matches!(plan.proofs, ProofPlan::Network { allow: Some(path), .. } if path.as_os_str() == "provers"));
        assert_eq!(resolve(&[]).provers_plan().unwrap(), ProversPlan::default());
        let given = resolve(&[("proofs.keda", "127.0.0.1:9101"), ("proofs.payout_key_file", "fees.key")]);
        let plan = given.provers_plan().unwrap();
        assert_eq!(plan.keda.map(|address| address.port()), Some(9_101));
        assert_eq!(plan.payout_key_file, Some("fees.key".into()));
        let wrong = resolve(&[("proofs.keda", "keda")]).provers_plan();
        assert!(matches!(wrong, Err(ConfigError::Unusable { key: "proofs.keda", .. })));
    }

    #[test]
    fn roles_and_addresses_of_peers_are_checked() {
        let resolve = |flags: &[(&str, &str)]| Resolved::resolve(None, [], &pairs(flags));
        assert!(resolve(&[("role", "emperor")]).is_err());
        assert_eq!(resolve(&[("role", "full")]).unwrap().config.role, Role::Full);
        let config = resolve(&[("p2p.listen", "here")]).unwrap().config;
        assert!(matches!(config.peer_plan(), Err(ConfigError::Unusable { key: "p2p.listen", .. })));
        assert!(Config::default().peer_plan().unwrap().is_none(), "no addresses, no peers");
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
