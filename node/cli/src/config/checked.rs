//! What the configuration's values mean, checked.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use joule_committee_client::{Endpoint, GatherTiming};
use joule_p2p::Multiaddr;
use joule_protocol::{Address, Genesis, Hash};
use joule_prover_network::Prices;
use joule_rpc::Limits;
use joule_sequencer::{BatchLimits, PoolLimits, SequencerConfig};
use joule_settlement::Policy;

use super::{
    BlocksConfig, Config, ConfigError,
    sections::{ProofKind, ProofProfile, ProofShape, ProofsConfig, Role, Start},
};

fn hexadecimal<const N: usize>(key: &'static str, text: &str) -> Result<[u8; N], ConfigError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(|_| ConfigError::Unusable {
        key,
        got: text.to_owned(),
        reason: "it must be hexadecimal digits, 40 for an address and 64 for 32 bytes",
    })?;
    Ok(bytes)
}

fn addresses(key: &'static str, list: &[String]) -> Result<Vec<Multiaddr>, ConfigError> {
    let reason = "it is no address like /ip4/127.0.0.1/tcp/7070";
    let unusable = |got: &String| ConfigError::Unusable { key, got: got.clone(), reason };
    list.iter().map(|address| address.parse().map_err(|_| unusable(address))).collect()
}

impl Config {
    /// What is done for provers of the network.
    ///
    /// # Errors
    /// `Unusable` for an address that is none.
    pub fn provers_plan(&self) -> Result<ProversPlan, ConfigError> {
        let ProofsConfig { keda, payout_key_file, .. } = &self.proofs;
        let unusable = |_| ConfigError::Unusable {
            key: "proofs.keda",
            got: keda.clone(),
            reason: "it is no address with a port, like 127.0.0.1:9101",
        };
        Ok(ProversPlan {
            keda: if keda.is_empty() { None } else { Some(keda.parse().map_err(unusable)?) },
            payout_key_file: Some(payout_key_file.clone()).filter(|path| !path.as_os_str().is_empty()),
        })
    }

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

    /// What JSON-RPC may be asked for.
    ///
    /// # Errors
    /// `Unusable` for views too small to begin, or so large that only the clock ends them.
    pub fn rpc_limits(&self) -> Result<Limits, ConfigError> {
        let view_gas_max = self.rpc.view_gas_max;
        if !(21_000..=1_000_000_000).contains(&view_gas_max) {
            let (key, got) = ("rpc.view_gas_max", view_gas_max.to_string());
            return Err(ConfigError::Unusable { key, got, reason: "it must be from 21000 to 1000000000" });
        }
        Ok(Limits { connections_max: self.rpc.connections_max, view_gas_max, ..Limits::default() })
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
    /// How batches are settled; `None` if nothing is configured for it, and then the node only sequences.
    ///
    /// # Errors
    /// `Unusable` for a part that is missing beside others, and for values that are none.
    pub fn settlement_plan(&self) -> Result<Option<SettlementPlan>, ConfigError> {
        let unusable = |key, got: &str, reason| ConfigError::Unusable { key, got: got.to_owned(), reason };
        let (settlement, committee) = (&self.settlement, &self.committee);
        if settlement.key_file.as_os_str().is_empty() {
            return match committee.members.is_empty() || self.role == Role::Full {
                true => Ok(None),
                false => {
                    Err(unusable("settlement.key_file", "\"\"", "a committee is listed, but no key settles with it"))
                }
            };
        }
        if committee.members.is_empty() {
            return Err(unusable("committee.members", "[]", "a key settles, but no member is listed to certify data"));
        }
        if committee.certificate_lifetime_s <= committee.certificate_margin_s {
            let (key, got) = ("committee.certificate_lifetime_s", committee.certificate_lifetime_s.to_string());
            return Err(unusable(key, &got, "a certificate would be too old at once"));
        }
        let proofs = &self.proofs;
        let folder = match proofs.folder.as_os_str().is_empty() {
            true => self.data_folder.with_file_name("proofs"),
            false => proofs.folder.clone(),
        };
        let cache = Some(proofs.cache_folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
        let proofs = match proofs.kind {
            ProofKind::Local => ProofPlan::Local { folder, cache, profile: proofs.profile },
            ProofKind::Network if proofs.listen.is_empty() => {
                return Err(unusable("proofs.listen", "[]", "provers of the network would not find this node"));
            }
            ProofKind::Network => ProofPlan::Network {
                folder,
                cache,
                profile: proofs.profile,
                listen: addresses("proofs.listen", &proofs.listen)?,
                allow: Some(proofs.allow_file.clone()).filter(|path| !path.as_os_str().is_empty()),
                shape: proofs.shape,
                within: Duration::from_secs(proofs.within_s),
                prices: Prices {
                    segment: proofs.segment_price.into(),
                    merge: proofs.merge_price.into(),
                    wrap: proofs.wrap_price.into(),
                },
            },
        };
        Ok(Some(SettlementPlan {
            key_file: settlement.key_file.clone(),
            members: self.members()?,
            policy: Policy {
                certificate_margin_s: committee.certificate_margin_s,
                healthy_for_s: settlement.healthy_for_s,
                retry_s: settlement.retry_s.max(1),
                proof_late_s: settlement.proof_late_s,
                ..Policy::default()
            },
            confirmations: settlement.confirmations,
            poll: Duration::from_millis(settlement.poll_ms.max(1)),
            fee_cap_max: u128::from(settlement.fee_cap_max_gwei) * 1_000_000_000,
            certificate_lifetime_s: committee.certificate_lifetime_s,
            timing: GatherTiming {
                deadline: Duration::from_millis(committee.deadline_ms.max(1)),
                linger: Duration::from_millis(committee.linger_ms),
                ..GatherTiming::default()
            },
            verifier_version: self.proofs.verifier_version,
            proofs,
        }))
    }

    /// The committee's members and where they listen.
    ///
    /// # Errors
    /// `Unusable` for one that is not written as `0xACCOUNT=URL`.
    pub fn members(&self) -> Result<Vec<Endpoint>, ConfigError> {
        let parse = |member: &String| {
            let (account, url) = member.split_once('=')?;
            Some(Endpoint { account: account.trim().parse().ok()?, url: url.trim().parse().ok()? })
        };
        let reason = "write each member as 0xACCOUNT=http://HOST:PORT";
        let unusable = |got: &String| ConfigError::Unusable { key: "committee.members", got: got.clone(), reason };
        self.committee.members.iter().map(|member| parse(member).ok_or_else(|| unusable(member))).collect()
    }

    /// How this node takes part in gossip; `None` if it does not.
    ///
    /// # Errors
    /// `Unusable` for addresses that are none.
    pub fn peer_plan(&self) -> Result<Option<PeerPlan>, ConfigError> {
        let p2p = &self.p2p;
        if p2p.listen.is_empty() && p2p.bootnodes.is_empty() {
            return Ok(None);
        }
        Ok(Some(PeerPlan {
            listen: addresses("p2p.listen", &p2p.listen)?,
            bootnodes: addresses("p2p.bootnodes", &p2p.bootnodes)?,
            key_file: p2p.key_file.clone(),
            peers_max: p2p.peers_max.max(1),
        }))
    }

    /// What a full node does beside following gossip.
    ///
    /// # Errors
    /// `Unusable` for members of the committee that are none.
    pub fn full_plan(&self) -> Result<FullPlan, ConfigError> {
        Ok(FullPlan {
            members: self.members()?,
            serve_limit: Duration::from_millis(self.committee.serve_limit_ms.max(1)),
            sequencer_rpc: Some(self.full.sequencer_rpc.clone()).filter(|url| !url.is_empty()),
            start: self.full.start,
            gossip_wait: Duration::from_millis(self.full.gossip_wait_ms),
        })
    }
}

/// How batches are settled.
#[derive(Clone, Debug)]
pub struct SettlementPlan {
    /// File of the key that sends to L1.
    pub key_file: PathBuf,
    /// The committee's members.
    pub members: Vec<Endpoint>,
    /// How settlement behaves.
    pub policy: Policy,
    /// Blocks below L1's head at which what it says counts as final.
    pub confirmations: u64,
    /// Pause between two looks at L1.
    pub poll: Duration,
    /// The most a transaction offers, wei per gas.
    pub fee_cap_max: u128,
    /// How long members promise data, seconds.
    pub certificate_lifetime_s: u64,
    /// How signatures are gathered.
    pub timing: GatherTiming,
    /// The version byte of proofs.
    pub verifier_version: u8,
    /// Who proves.
    pub proofs: ProofPlan,
}

/// Who proves, with what it takes.
#[derive(Clone, Debug)]
pub enum ProofPlan {
    /// This process.
    Local {
        /// Where results of steps are kept.
        folder: PathBuf,
        /// Where circuits and keys are kept; the user's cache folder if `None`.
        cache: Option<PathBuf>,
        /// How much soundness is paid for.
        profile: ProofProfile,
    },
    /// Provers that join a coordinator in this process.
    Network {
        /// Where the coordinator's key and log and the artefacts of batches are kept.
        folder: PathBuf,
        /// Where `joule-prover setup` left what results are verified with; the user's cache folder if `None`.
        cache: Option<PathBuf>,
        /// How much soundness is paid for.
        profile: ProofProfile,
        /// Where provers find this node.
        listen: Vec<Multiaddr>,
        /// The provers that may join; everybody if `None`.
        allow: Option<PathBuf>,
        /// The largest shape that batches are cut for.
        shape: ProofShape,
        /// How long after its last block a batch should be proven.
        within: Duration,
        /// What tasks pay.
        prices: Prices,
    },
}

/// What a node does for provers of the network beside giving them tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProversPlan {
    /// Where KEDA asks.
    pub keda: Option<SocketAddr>,
    /// The key that pays.
    pub payout_key_file: Option<PathBuf>,
}

/// How a node takes part in gossip.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Whom it connects to.
    pub bootnodes: Vec<Multiaddr>,
    /// File of its identity.
    pub key_file: PathBuf,
    /// Most connections.
    pub peers_max: u32,
}

/// What a full node does beside following gossip.
#[derive(Clone, Debug)]
pub struct FullPlan {
    /// The committee's members, who serve what peers do not.
    pub members: Vec<Endpoint>,
    /// How long one member may take to serve a batch.
    pub serve_limit: Duration,
    /// Where transactions go.
    pub sequencer_rpc: Option<String>,
    /// How an empty disk begins.
    pub start: Start,
    /// Longest wait for a block with a gossiped transaction.
    pub gossip_wait: Duration,
}
