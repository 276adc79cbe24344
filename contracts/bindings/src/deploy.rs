//! Putting the contracts on an L1.

use alloy::{
    contract::Error as ContractError,
    network::{Ethereum, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256},
    providers::{PendingTransactionError, Provider},
    rpc::types::TransactionRequest,
    transports::TransportError,
};
use joule_protocol::Checkpoint;
use thiserror::Error;

use crate::generated::IVerifyingKey;
use crate::{Bridge, DataCommittee, Escape, FixedTimelock, Rollup, VerifierRouter};

/// L1 chain ids on which development keys and small committees are let in. The contracts hold the same list.
pub const LOCAL_CHAIN_IDS: [u64; 2] = [1337, 31337];

/// The verifier a rollup starts with.
#[derive(Clone, Debug)]
pub struct VerifierSetup {
    /// The version byte its proofs begin with.
    pub version: u8,
    /// Code that deploys it. The verifier itself says whether its key is for development.
    pub bytecode: Bytes,
}

/// Who governs.
#[derive(Clone, Debug)]
pub struct GovernanceSetup {
    /// Delay of the timelock, seconds; at least [`Deployment::upgrade_delay_min_s`].
    pub delay_s: u64,
    /// Who may propose, and cancel.
    pub proposers: Vec<Address>,
    /// Who may execute what has waited long enough; the zero address for anyone.
    pub executors: Vec<Address>,
}

/// The committee a rollup starts with.
#[derive(Clone, Debug)]
pub struct CommitteeSetup {
    /// Signers of the first ECDSA keyset, strictly increasing; empty if data is to go to L1 until governance has named members.
    pub signers: Vec<Address>,
    /// How many of them are assumed honest; N + 1 − honest must sign.
    pub honest: u32,
    /// Seconds that a certificate must outlive the moment of its use; at least [`Deployment::upgrade_delay_min_s`].
    pub remaining_min_s: u64,
    /// Seconds between leaving the last keyset and taking the stake back; L1 takes no certificate that lives longer, so at least `remaining_min_s` and
    /// what the sequencer adds to it.
    pub stake_lock_s: u64,
    /// Wei that a member named later must have at stake.
    pub stake_min: U256,
}

/// Everything a deployment is made from.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The L2 chain id, below 2^53.
    pub l2_chain_id: u64,
    /// The first checkpoint.
    pub genesis: Checkpoint,
    /// Hash of the genesis configuration, the salt of L2's EIP-712 domains.
    pub genesis_id: B256,
    /// Program hash of the first checkpoint's protocol version.
    pub program: B256,
    /// The base token on L1; zero for ETH.
    pub base_token: Address,
    /// Names the sequencer and collects fees.
    pub operator: Address,
    /// Signs blocks and commits batches.
    pub sequencer: Address,
    /// Who governs.
    pub governance: GovernanceSetup,
    /// Who holds data.
    pub committee: CommitteeSetup,
    /// What checks proofs.
    pub verifier: VerifierSetup,
    /// The network's delays.
    pub delays: Rollup::Delays,
    /// What requests cost.
    pub fees: Rollup::Fees,
    /// Seconds that receipts and vouchers may be presented in the escape.
    pub presentation_window_s: u64,
    /// Seconds after a job's deadline in which a receipt still settles it, as the genesis configuration has them.
    pub grace_s: u64,
    /// Seconds between the close of a channel and its end, as the genesis configuration has them.
    pub channel_close_s: u64,
}

impl Deployment {
    /// The least seconds between a proposal and its execution. A request that is ignored from the proposal on lets anyone freeze the chain once it has
    /// expired; proven batches that wait, however many one after the other, put that off by one execution window; then the users have theirs. The
    /// rollup's constructor counts the same.
    #[must_use]
    pub fn upgrade_delay_min_s(&self) -> u64 {
        let delays = &self.delays;
        delays.queueExpiry.saturating_add(delays.executionWindow).saturating_add(delays.exitWindow)
    }

    /// The seconds that a forced call may take to be executed by an operator who delays all it can: the request waits to its expiry, then proven
    /// batches delay the freeze by their window, and L2's clock is ahead of L1's.
    #[must_use]
    pub fn forced_call_s(&self) -> u64 {
        let delays = &self.delays;
        delays.queueExpiry.saturating_add(delays.executionWindow).saturating_add(delays.timestampSkew)
    }
}

/// Where the contracts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `FixedTimelock`.
    pub governance: Address,
    /// The first verifier.
    pub verifier: Address,
    /// `VerifierRouter`.
    pub router: Address,
    /// `DataCommittee`.
    pub committee: Address,
    /// `Rollup`.
    pub rollup: Address,
    /// `Bridge`.
    pub bridge: Address,
    /// `Escape`.
    pub escape: Address,
    /// L1 block of the rollup, from which its events are read.
    pub block_number: u64,
}

/// Why a deployment failed. What was deployed until then is of no use and holds nothing.
#[derive(Debug, Error)]
pub enum DeployError {
    /// A development key on a chain where money is.
    #[error("the verifying key is for development and L1 chain {chain_id} is not local ({LOCAL_CHAIN_IDS:?})")]
    DevelopmentKey {
        /// The L1's chain id.
        chain_id: u64,
    },
    /// A timelock faster than the users' way out.
    #[error(
        "governance's delay of {got_s} s is shorter than queue expiry plus execution window plus exit window, {min_s} s"
    )]
    DelayTooShort {
        /// Queue expiry plus execution window plus exit window.
        min_s: u64,
        /// The delay given.
        got_s: u64,
    },
    /// Certificates that may end before a chain whose operator is gone can be frozen and left.
    #[error(
        "a certificate need outlive its use by {got_s} s only, less than queue expiry plus execution window plus exit window, {min_s} s: data could be gone before users are out"
    )]
    CertificateTooShort {
        /// Queue expiry plus execution window plus exit window.
        min_s: u64,
        /// The time given.
        got_s: u64,
    },
    /// A committee none of whose certificates L1 could take.
    #[error(
        "stake is locked for {got_s} s only, less than the {min_s} s that a certificate must outlive its use by, and none may outlive the stake"
    )]
    StakeLockTooShort {
        /// What a certificate must outlive its use by.
        min_s: u64,
        /// The lock given.
        got_s: u64,
    },
    /// A worker or payee who has to force its receipt or voucher through L1 could come too late.
    #[error(
        "{delay} of {got_s} s is not longer than a forced call may take, {forced_s} s: queue expiry plus execution window plus clock skew"
    )]
    ForcedTooLate {
        /// The delay of the genesis configuration.
        delay: &'static str,
        /// What a forced call may take.
        forced_s: u64,
        /// The delay given.
        got_s: u64,
    },
    /// L1 did not put a contract where the others expect it: another transaction of the deployer's came between.
    #[error(
        "{contract} was deployed at {got} instead of {expected}; deploy again with no other transactions of the deployer under way"
    )]
    WrongAddress {
        /// The contract.
        contract: &'static str,
        /// Where the others look for it.
        expected: Address,
        /// Where it is.
        got: Address,
    },
    /// A deployment whose receipt names no contract, or that reverted.
    #[error("the deployment of {contract} failed in transaction {transaction}")]
    NotDeployed {
        /// The contract.
        contract: &'static str,
        /// The transaction.
        transaction: B256,
    },
    /// A constructor refused, or the call could not be made.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// L1 could not be asked.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A transaction was sent and not seen in a block.
    #[error(transparent)]
    Pending(#[from] PendingTransactionError),
}

/// Deploys all contracts from `deployer`, whose key `provider` holds and which sends nothing else meanwhile.
///
/// The rollup, the bridge and the escape know each other from their constructors on: their addresses follow from the
/// deployer's nonce and are checked once they are there.
///
/// # Errors
/// Refuses a timelock faster than the users' way out, certificates shorter than it, a stake lock shorter than certificates, and a grace or channel close shorter than a forced call may take, before anything is sent, and a development key on a chain that is not local
/// before anything but the verifier is.
pub async fn deploy<P: Provider<Ethereum> + Clone>(
    provider: &P,
    deployer: Address,
    config: &Deployment,
) -> Result<Addresses, DeployError> {
    let chain_id = provider.get_chain_id().await?;
    let upgrade_delay_min = config.upgrade_delay_min_s();
    if config.governance.delay_s < upgrade_delay_min {
        return Err(DeployError::DelayTooShort { min_s: upgrade_delay_min, got_s: config.governance.delay_s });
    }
    if config.committee.remaining_min_s < upgrade_delay_min {
        return Err(DeployError::CertificateTooShort {
            min_s: upgrade_delay_min,
            got_s: config.committee.remaining_min_s,
        });
    }
    let CommitteeSetup { remaining_min_s, stake_lock_s, .. } = config.committee;
    if stake_lock_s < remaining_min_s {
        return Err(DeployError::StakeLockTooShort { min_s: remaining_min_s, got_s: stake_lock_s });
    }
    let forced_s = config.forced_call_s();
    for (delay, got_s) in [("grace", config.grace_s), ("channel close", config.channel_close_s)] {
        if got_s <= forced_s {
            return Err(DeployError::ForcedTooLate { delay, forced_s, got_s });
        }
    }
    let sender = Sender { provider, deployer };

    let (verifier, _) = sender.create("verifier", config.verifier.bytecode.clone()).await?;
    let is_development = IVerifyingKey::new(verifier, provider).IS_DEVELOPMENT_KEY().call().await?;
    if is_development && !LOCAL_CHAIN_IDS.contains(&chain_id) {
        return Err(DeployError::DevelopmentKey { chain_id });
    }
    let timelock = FixedTimelock::deploy_builder(
        provider,
        U256::from(config.governance.delay_s),
        config.governance.proposers.clone(),
        config.governance.executors.clone(),
    );
    let (governance, _) = sender.create("FixedTimelock", timelock.calldata().clone()).await?;
    let router =
        VerifierRouter::deploy_builder(provider, governance, upgrade_delay_min, config.verifier.version, verifier);
    let (router, _) = sender.create("VerifierRouter", router.calldata().clone()).await?;
    let committee = DataCommittee::deploy_builder(
        provider,
        governance,
        upgrade_delay_min,
        config.committee.remaining_min_s,
        config.committee.stake_lock_s,
        config.committee.stake_min,
        config.committee.signers.clone(),
        config.committee.honest,
    );
    let (committee, _) = sender.create("DataCommittee", committee.calldata().clone()).await?;

    let nonce = provider.get_transaction_count(deployer).await?;
    let expected_bridge = deployer.create(nonce + 1);
    let expected_escape = deployer.create(nonce + 2);
    let rollup = Rollup::deploy_builder(
        provider,
        Rollup::Config {
            l2ChainId: config.l2_chain_id,
            genesis: (&config.genesis).into(),
            program: config.program,
            governance,
            operator: config.operator,
            sequencer: config.sequencer,
            bridge: expected_bridge,
            committee,
            router,
            delays: config.delays.clone(),
            fees: config.fees.clone(),
        },
    );
    let (rollup, block_number) = sender.create("Rollup", rollup.calldata().clone()).await?;
    let bridge = Bridge::deploy_builder(provider, config.base_token, rollup, expected_escape);
    let bridge = sender.create_at("Bridge", bridge.calldata().clone(), expected_bridge).await?;
    let escape = Escape::deploy_builder(
        provider,
        rollup,
        bridge,
        config.l2_chain_id,
        config.genesis_id,
        config.presentation_window_s,
    );
    let escape = sender.create_at("Escape", escape.calldata().clone(), expected_escape).await?;
    Ok(Addresses { governance, verifier, router, committee, rollup, bridge, escape, block_number })
}

struct Sender<'a, P> {
    provider: &'a P,
    deployer: Address,
}

impl<P: Provider<Ethereum>> Sender<'_, P> {
    async fn create(&self, contract: &'static str, code: Bytes) -> Result<(Address, u64), DeployError> {
        let request = TransactionRequest::default().with_from(self.deployer).with_deploy_code(code);
        let receipt = self.provider.send_transaction(request).await?.get_receipt().await?;
        match (receipt.status(), receipt.contract_address, receipt.block_number) {
            (true, Some(address), Some(block_number)) => Ok((address, block_number)),
            _ => Err(DeployError::NotDeployed { contract, transaction: receipt.transaction_hash }),
        }
    }

    async fn create_at(&self, contract: &'static str, code: Bytes, expected: Address) -> Result<Address, DeployError> {
        let (got, _) = self.create(contract, code).await?;
        if got != expected {
            return Err(DeployError::WrongAddress { contract, expected, got });
        }
        Ok(got)
    }
}
