//! An L1 with a committee of any size, its members registered and seated under both schemes.

use std::{sync::Arc, time::Duration};

use alloy::{
    eips::BlockNumberOrTag,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use joule_committee::{
    BlsSecretKey, Certificate, CertificateStatement, CommitteeContext, EcdsaSecretKey, Keyset, Member, Proposal,
    Scheme, SecretKey, Share, SigningLog, VerifiedShare,
};
use joule_contracts::{DataCommittee, Probe, TimelockController};
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, GenesisAccount, L1, ServerConfig};

pub(crate) const L1_CHAIN_ID: u64 = 31_337;
const START_S: u64 = 1_800_000_000;
const REMAINING_MIN_S: u64 = 7 * 86_400;
const STAKE_LOCK_S: u64 = 30 * 86_400;

pub(crate) struct Keys {
    account: PrivateKeySigner,
    ecdsa: EcdsaSecretKey,
    bls: BlsSecretKey,
}

fn seed(name: &str, index: usize) -> B256 {
    keccak256(format!("{name} of member {index}"))
}

impl Keys {
    fn new(index: usize) -> Self {
        let mut entropy = [0; 48];
        entropy[16..].copy_from_slice(seed("BLS key", index).as_slice());
        Self {
            account: PrivateKeySigner::from_bytes(&seed("account", index)).expect("a key"),
            ecdsa: EcdsaSecretKey::from_bytes(&seed("ECDSA key", index)).expect("a key"),
            bls: BlsSecretKey::from_entropy(&entropy).expect("a key"),
        }
    }
}

pub(crate) struct Network {
    // Dropping it stops the server.
    _l1: L1,
    pub(crate) provider: DynProvider,
    pub(crate) committee: Address,
    /// An account in the place of the rollup: the contract takes its caller for it.
    pub(crate) rollup: Address,
    /// The least expiry at the latest block, to which calls are put.
    pub(crate) expiry_min: u64,
    pub(crate) ecdsa: Keyset,
    pub(crate) bls: Keyset,
    keys: Vec<Keys>,
}

impl Network {
    pub(crate) async fn start(size: usize, honest: u32) -> Self {
        let keys: Vec<_> = (0..size).map(Keys::new).collect();
        let mut config = ChainConfig { chain_id: L1_CHAIN_ID, ..ChainConfig::development() };
        config.accounts.extend(keys.iter().map(|keys| GenesisAccount {
            address: keys.account.address(),
            balance: U256::from(10).pow(U256::from(18)),
            code: Bytes::new(),
        }));
        let server = ServerConfig { clock: Arc::new(|| START_S), ..ServerConfig::default() };
        let l1 = L1::start(config, server).await.expect("the L1 starts");
        let development = |i: usize| PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[i].1).expect("a key");
        let mut wallet = EthereumWallet::from(development(0));
        wallet.register_signer(development(1));
        keys.iter().for_each(|keys| wallet.register_signer(keys.account.clone()));
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(l1.url().parse().expect("a URL")).erased();
        provider.client().set_poll_interval(Duration::from_millis(5));
        let (deployer, rollup) = (DEVELOPMENT_ACCOUNTS[0].0, DEVELOPMENT_ACCOUNTS[1].0);

        let timelock =
            TimelockController::deploy(provider.clone(), U256::ZERO, vec![deployer], vec![deployer], Address::ZERO)
                .await
                .expect("the timelock deploys");
        let governance = *timelock.address();
        let contract = DataCommittee::deploy(
            provider.clone(),
            governance,
            0,
            REMAINING_MIN_S,
            STAKE_LOCK_S,
            U256::ZERO,
            Vec::new(),
            0,
        )
        .await
        .expect("the committee deploys");
        let committee = *contract.address();

        let context = CommitteeContext { l1_chain_id: L1_CHAIN_ID, committee };
        let mut members = Vec::new();
        for keys in &keys {
            let account = keys.account.address();
            let possession = keys.ecdsa.prove_possession(&context, account).expect("a proof");
            let call = contract.register(keys.ecdsa.address(), possession.to_vec().into()).from(account);
            assert!(call.send().await.expect("registers").get_receipt().await.expect("mined").status());
            let registration = keys.bls.register(&context, account).expect("a proof");
            let bls = registration.check(&context, account).expect("possession is shown");
            let g1 = |point: joule_committee::G1| DataCommittee::G1 { x: point.x, y: point.y };
            let key2 = DataCommittee::G2 {
                xImaginary: registration.key2.x_imaginary,
                xReal: registration.key2.x_real,
                yImaginary: registration.key2.y_imaginary,
                yReal: registration.key2.y_real,
            };
            let call = contract.registerBlsKey(g1(registration.key), key2, g1(registration.possession)).from(account);
            assert!(call.send().await.expect("registers").get_receipt().await.expect("mined").status());
            members.push(Member { account, signer: keys.ecdsa.address(), bls: Some(bls) });
        }

        members.sort_by_key(|member| member.signer);
        let ecdsa = Keyset::new(Scheme::Ecdsa, members.clone(), honest).expect("a keyset");
        members.sort_by_key(|member| member.account);
        let bls = Keyset::new(Scheme::Bls, members, honest).expect("a keyset");
        for keyset in [&ecdsa, &bls] {
            let accounts = keyset.members().iter().map(|member| member.account).collect();
            let scheme = keyset.scheme() as u8;
            let call = DataCommittee::setKeysetCall { scheme, members: accounts, honest };
            let (data, salt) = (Bytes::from(call.abi_encode()), B256::with_last_byte(scheme));
            let schedule = timelock.schedule(committee, U256::ZERO, data.clone(), B256::ZERO, salt, U256::ZERO);
            assert!(schedule.send().await.expect("schedules").get_receipt().await.expect("mined").status());
            let execute = timelock.execute(committee, U256::ZERO, data, B256::ZERO, salt);
            assert!(execute.send().await.expect("executes").get_receipt().await.expect("mined").status());
            let current = contract.currentKeyset(scheme).call().await.expect("reads");
            assert_eq!(current, keyset.hash(), "the keyset's hash is the contract's");
        }
        // Every block is a second later at least than the one before.
        let latest = provider.get_block_by_number(BlockNumberOrTag::Latest).await.expect("reads").expect("a block");
        let expiry_min = latest.header.timestamp + REMAINING_MIN_S;
        Self { _l1: l1, provider, committee, rollup, expiry_min, ecdsa, bls, keys }
    }

    pub(crate) fn keyset(&self, scheme: Scheme) -> &Keyset {
        match scheme {
            Scheme::Ecdsa => &self.ecdsa,
            Scheme::Bls => &self.bls,
        }
    }

    pub(crate) fn statement(&self, scheme: Scheme) -> CertificateStatement {
        CertificateStatement {
            l1_chain_id: L1_CHAIN_ID,
            rollup: self.rollup,
            batch_number: 12,
            parent_checkpoint: keccak256("parent"),
            checkpoint: keccak256("checkpoint"),
            revert_count: 3,
            data_bytes: 98_765,
            expiry: self.expiry_min,
            keyset_hash: self.keyset(scheme).hash(),
        }
    }

    /// What the members at the first `count` places of the keyset sign, each from a log of its own.
    pub(crate) fn shares(&self, statement: &CertificateStatement, scheme: Scheme, count: usize) -> Vec<VerifiedShare> {
        let keyset = self.keyset(scheme);
        let sign = |member: &Member| {
            let keys = self.keys.iter().find(|keys| keys.account.address() == member.account).expect("a member");
            let key = match scheme {
                Scheme::Ecdsa => SecretKey::Ecdsa(keys.ecdsa.clone()),
                Scheme::Bls => SecretKey::Bls(keys.bls.clone()),
            };
            let mut log = SigningLog::new(statement.l1_chain_id, statement.rollup);
            let Ok(Proposal::New(entry)) = log.propose(statement) else { panic!("a fresh log") };
            let permit = log.record(entry).expect("recorded");
            Share::sign(&permit, member.account, &key).expect("signs").verify(keyset).expect("verifies")
        };
        keyset.members()[..count].iter().map(sign).collect()
    }

    pub(crate) fn certificate(&self, scheme: Scheme, signers: usize) -> Certificate {
        self.certificate_until(self.expiry_min, scheme, signers)
    }

    pub(crate) fn certificate_until(&self, expiry: u64, scheme: Scheme, signers: usize) -> Certificate {
        let statement = CertificateStatement { expiry, ..self.statement(scheme) };
        let shares = self.shares(&statement, scheme, signers);
        Certificate::aggregate(self.keyset(scheme), &statement, &shares).expect("aggregates")
    }

    /// The call with which a rollup presents a certificate.
    pub(crate) fn call(&self, statement: &CertificateStatement, calldata: Bytes) -> TransactionRequest {
        let call = DataCommittee::requireCertifiedCall {
            statement: DataCommittee::DataStatement {
                number: statement.batch_number,
                parentCheckpoint: statement.parent_checkpoint,
                checkpoint: statement.checkpoint,
                revertCount: statement.revert_count,
                dataBytes: statement.data_bytes,
            },
            certificate: calldata,
        };
        TransactionRequest::default().with_from(statement.rollup).with_to(self.committee).with_input(call.abi_encode())
    }

    /// The contract's verdict: what it reverts with.
    pub(crate) async fn verdict(&self, certificate: &Certificate) -> Result<(), Bytes> {
        match self.provider.call(self.call(&certificate.statement, certificate.to_calldata())).latest().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let answer = error.as_error_resp().expect("the contract's answer");
                Err(answer.as_revert_data().expect("a revert"))
            }
        }
    }

    pub(crate) async fn probe(&self) -> Probe::ProbeInstance<DynProvider> {
        Probe::deploy(self.provider.clone()).await.expect("the probe deploys")
    }
}
