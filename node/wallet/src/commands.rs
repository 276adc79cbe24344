//! What each command does.

mod channels;
mod devices;
mod escape;
mod jobs;
mod receipts;
mod watch;

use std::path::Path;

use alloy::{
    primitives::{Address, B256, U64},
    signers::local::PrivateKeySigner,
};
use joule_protocol::Call;
use joule_rpc::wire::{Batch, Genesis, WithdrawalProof, address_of, protocol_address};
use serde::de::DeserializeOwned;

use crate::{
    Amount, Arguments, Command, Report, WalletError,
    arguments::{Connection, KeyCommand},
    keys::KeySource,
    l1::L1,
    l2::L2,
};

/// What a command works with; connections are made when they are needed.
pub(crate) struct Session {
    connection: Connection,
}

impl Session {
    pub(crate) fn signer(&self) -> Result<PrivateKeySigner, WalletError> {
        self.connection.key().ok_or(WalletError::NoKey)?.load()
    }

    /// The address given, or the key's.
    pub(crate) fn address_or_own(&self, address: Option<Address>) -> Result<Address, WalletError> {
        match address {
            Some(address) => Ok(address),
            None => Ok(self.signer()?.address()),
        }
    }

    pub(crate) async fn l2(&self) -> Result<L2, WalletError> {
        L2::connect(&self.connection.rpc, self.connection.network.as_deref()).await
    }

    /// L1, with the key if there is one and it is wanted.
    pub(crate) async fn l1(&self, l2: &L2, signer: Option<PrivateKeySigner>) -> Result<L1, WalletError> {
        let url = self.connection.l1_rpc.as_ref().ok_or(WalletError::NoL1)?;
        L1::connect(url, l2.genesis(), l2.contracts()?, signer).await
    }

    pub(crate) fn has_l1(&self) -> bool {
        self.connection.l1_rpc.is_some()
    }

    /// L1 with the key, for who must not depend on a node of the chain: with a network file none is asked.
    async fn l1_alone(&self, signer: PrivateKeySigner) -> Result<L1, WalletError> {
        let Some(path) = &self.connection.network else {
            let l2 = self.l2().await?;
            return self.l1(&l2, Some(signer)).await;
        };
        let url = self.connection.l1_rpc.as_ref().ok_or(WalletError::NoL1)?;
        let genesis: Genesis = read_json(path, "network")?;
        let contracts = genesis.contracts.ok_or(WalletError::NotSettled)?;
        L1::connect(url, &genesis, contracts, Some(signer)).await
    }

    /// Sends a call of a system contract with the key: to the node, or through L1 if it is to be forced.
    pub(crate) async fn call(&self, value: u128, call: &Call) -> Result<Report, WalletError> {
        if self.connection.forced {
            return self.force(value, call).await;
        }
        let signer = self.signer()?;
        self.l2().await?.call(&signer, value, call).await
    }

    /// Sends a call of a system contract with the key as a request through L1, which is paid for whatever comes of it.
    async fn force(&self, value: u128, call: &Call) -> Result<Report, WalletError> {
        let l1 = self.l1_alone(self.signer()?).await?;
        match call {
            Call::Withdraw { l1_recipient, amount } => l1.request_withdrawal(address_of(*l1_recipient), *amount).await,
            call => l1.request_call(value, call).await,
        }
    }
}

/// Unix seconds.
fn now() -> Result<u64, WalletError> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|since| since.as_secs()).map_err(|_| WalletError::Clock)
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<T, WalletError> {
    let text = std::fs::read(path).map_err(WalletError::file(path))?;
    serde_json::from_slice(&text).map_err(|error| WalletError::MalformedFile { path: path.to_owned(), what, error })
}

/// Runs a command.
///
/// # Errors
/// Every [`WalletError`]; each says what to do about it.
pub async fn run(arguments: Arguments) -> Result<Report, WalletError> {
    let Arguments { connection, command } = arguments;
    let session = Session { connection };
    match command {
        Command::Key(command) => key(&session, command),
        Command::Genesis => Ok(Report::whole(session.l2().await?.genesis())),
        Command::Balance { address } => {
            let address = session.address_or_own(address)?;
            let l2 = session.l2().await?;
            let (balance, nonce) = (l2.balance(address).await?, l2.nonce(address).await?);
            let amount = u128::try_from(balance).unwrap_or(u128::MAX);
            Ok(Report::new()
                .with("address", address)
                .with("balance", Amount(amount).to_string())
                .with("balanceWei", amount.to_string())
                .with("nonce", nonce))
        }
        Command::Transfer { .. } if session.connection.forced => Err(WalletError::NotForcible),
        Command::Transfer { to, amount } => {
            let signer = session.signer()?;
            session.l2().await?.transfer(&signer, to, amount.0).await
        }
        Command::Deposit { amount, to } => {
            let signer = session.signer()?;
            let l2 = session.l2().await?;
            let to = to.unwrap_or(signer.address());
            Ok(session.l1(&l2, Some(signer)).await?.deposit(to, amount.0).await?.with("to", to))
        }
        Command::Withdraw { amount, to } => {
            let l1_recipient = protocol_address(session.address_or_own(to)?);
            session.call(amount.0, &Call::Withdraw { l1_recipient, amount: amount.0 }).await
        }
        Command::Claim { transaction } => claim(&session, transaction).await,
        Command::Job(command) => jobs::run(&session, command).await,
        Command::Device(command) => devices::run(&session, command).await,
        Command::Channel(command) => channels::run(&session, command).await,
        Command::Receipt(command) => receipts::run(&session, command).await,
        Command::Batch { number } => {
            let l2 = session.l2().await?;
            let batch: Option<Batch> = match number {
                Some(number) => l2.ask("joule_getBatch", (U64::from(number),)).await?,
                None => l2.ask("joule_getLastBatch", ()).await?,
            };
            batch.map(Report::whole).ok_or_else(|| WalletError::NotFound("there is no such batch yet".into()))
        }
        Command::Watch { count } => watch::run(&session, count).await,
        Command::Escape(command) => escape::run(&session, command).await,
    }
}

fn key(session: &Session, command: KeyCommand) -> Result<Report, WalletError> {
    match command {
        KeyCommand::New { file } => {
            let source = match session.connection.password_file() {
                Some(password) => KeySource::Keystore { path: file.clone(), password: Some(password) },
                None => KeySource::File(file.clone()),
            };
            let signer = source.create()?;
            Ok(Report::new().with("address", signer.address()).with("file", file))
        }
        KeyCommand::Address => Ok(Report::new().with("address", session.signer()?.address())),
    }
}

async fn claim(session: &Session, transaction: B256) -> Result<Report, WalletError> {
    let signer = session.signer()?;
    let l2 = session.l2().await?;
    if l2.block_of(transaction).await?.is_none() {
        return Err(WalletError::NotFound(format!("transaction {transaction} is in no block")));
    }
    // L1 checks the path itself: a wrong one costs nothing but the estimate that fails.
    let proof: WithdrawalProof = l2.ask("joule_getWithdrawalProof", (transaction,)).await?;
    session.l1(&l2, Some(signer)).await?.claim(&proof).await
}
