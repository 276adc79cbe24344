//! The command line.

use std::path::PathBuf;

use alloy::primitives::{Address, B256};
use clap::{Args, Parser, Subcommand};

use crate::{Amount, keys::KeySource};

/// Joule's wallet: accounts, jobs, devices, channels, deposits and withdrawals.
#[derive(Debug, Parser)]
#[command(name = "joule", version, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  joule key new wallet.key
  joule --key wallet.key --l1-rpc http://127.0.0.1:8545 deposit 0.5
  joule --key wallet.key transfer 0x00000000000000000000000000000000000000aa 0.1
  joule --key wallet.key job post --model 0x… --input-hash 0x… --unit-price 100wei --unit-limit 5000 --deadline-in 3600
  joule receipt show 0x… > bundle.json && joule --l1-rpc http://127.0.0.1:8545 receipt verify bundle.json";

/// Whom to ask and with which key.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// A node of the chain.
    #[arg(
        long,
        global = true,
        env = "JOULE_RPC",
        default_value = "http://127.0.0.1:8600",
        help_heading = "Connection"
    )]
    pub(crate) rpc: String,
    /// A node of L1.
    #[arg(long, global = true, env = "JOULE_L1_RPC", help_heading = "Connection")]
    pub(crate) l1_rpc: Option<String>,
    /// A file with what `joule genesis` printed on a machine you trust; a node of another network, or with other contracts, is refused.
    #[arg(long, global = true, env = "JOULE_NETWORK", value_name = "FILE", help_heading = "Connection")]
    pub(crate) network: Option<PathBuf>,
    /// Send a call of a system contract as a request through L1, which the sequencer cannot refuse: all but `transfer`. Its fee is paid on L1. `channel close` always goes this way. With --network a node of the chain is asked only where the call needs something of it.
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) forced: bool,
    /// A file with a secret key: 32 bytes in hexadecimal, readable by you alone.
    #[arg(
        long,
        global = true,
        env = "JOULE_KEY",
        value_name = "FILE",
        conflicts_with = "keystore",
        help_heading = "Key"
    )]
    key: Option<PathBuf>,
    /// An encrypted keystore, as Ethereum's clients write it.
    #[arg(long, global = true, env = "JOULE_KEYSTORE", value_name = "FILE", help_heading = "Key")]
    keystore: Option<PathBuf>,
    /// A file with the keystore's password, readable by you alone.
    #[arg(long, global = true, env = "JOULE_PASSWORD_FILE", value_name = "FILE", help_heading = "Key")]
    password_file: Option<PathBuf>,
    /// Answer in JSON on one line.
    #[arg(long, global = true)]
    json: bool,
}

impl Connection {
    pub(crate) fn key(&self) -> Option<KeySource> {
        match (&self.keystore, &self.key) {
            (Some(path), _) => Some(KeySource::Keystore { path: path.clone(), password: self.password_file.clone() }),
            (None, Some(path)) => Some(KeySource::File(path.clone())),
            (None, None) => None,
        }
    }

    pub(crate) fn password_file(&self) -> Option<PathBuf> {
        self.password_file.clone()
    }
}

impl Arguments {
    /// Whether the answer is to be JSON.
    pub fn is_json(&self) -> bool {
        self.connection.json
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum Command {
    /// Make a key, or show a key's address.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show what is fixed when the chain starts; the output is a network file.
    Genesis,
    /// Show an account.
    Balance {
        /// Whose; your own without it.
        address: Option<Address>,
    },
    /// Send base token.
    Transfer {
        to: Address,
        /// 1.5 (tokens), 20gwei or 100wei.
        amount: Amount,
    },
    /// Deposit from L1.
    Deposit {
        /// 1.5 (tokens), 20gwei or 100wei.
        amount: Amount,
        /// The L2 account to credit; your own without it.
        #[arg(long)]
        to: Option<Address>,
    },
    /// Withdraw to L1; claim it when its batch is executed.
    Withdraw {
        /// 1.5 (tokens), 20gwei or 100wei.
        amount: Amount,
        /// Who is paid on L1; your own address without it.
        #[arg(long)]
        to: Option<Address>,
    },
    /// Claim a withdrawal on L1.
    Claim {
        /// The transaction that withdrew.
        transaction: B256,
    },
    /// Post, claim, settle and cancel jobs.
    #[command(subcommand)]
    Job(JobCommand),
    /// Register devices and their stake.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Pay per call with vouchers.
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Show and verify compute receipts.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Show how far a batch has come.
    Batch {
        /// Its number; the last one without it.
        number: Option<u64>,
    },
    /// Print new logs of the system contracts as they come, one a line.
    Watch {
        /// Stop after this many logs.
        #[arg(long)]
        count: Option<u64>,
    },
    /// Leave a frozen chain through L1.
    #[command(subcommand)]
    Escape(EscapeCommand),
}

/// Keys.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum KeyCommand {
    /// Make a key in a new file; with --password-file an encrypted keystore.
    New { file: PathBuf },
    /// Show the address of the key.
    Address,
}

/// A job by its client and the nonce it was posted with.
#[derive(Clone, Copy, Debug, Args)]
pub struct JobName {
    /// Who posted it.
    pub(crate) client: Address,
    /// With which nonce.
    pub(crate) nonce: u64,
}

/// Jobs.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum JobCommand {
    /// Post a job; its whole possible price goes into escrow.
    Post {
        /// Commitment to weights and architecture.
        #[arg(long)]
        model: B256,
        /// Hash of the input.
        #[arg(long)]
        input_hash: B256,
        /// Price of one unit: 100wei, 20gwei or 1.5 (tokens).
        #[arg(long)]
        unit_price: Amount,
        /// Most units that are paid.
        #[arg(long)]
        unit_limit: u64,
        /// Seconds from now until which work is paid.
        #[arg(long)]
        deadline_in: u64,
        /// The lowest attestation tier that settles it.
        #[arg(long, default_value_t = 0)]
        tier: u8,
        /// The one device that may claim it; any without it.
        #[arg(long)]
        device: Option<Address>,
        /// Stake that a claim locks, paid to you if the job expires claimed.
        #[arg(long, default_value = "0")]
        bond: Amount,
    },
    /// Bind an open job to a device of yours.
    Claim {
        #[command(flatten)]
        job: JobName,
        #[arg(long)]
        device: Address,
    },
    /// Give a claimed job back.
    Release(JobName),
    /// Sign a compute receipt with the device's key (as --key); the answer is what `job settle` takes.
    Sign {
        /// The receipt as JSON.
        receipt: PathBuf,
    },
    /// Get a job paid with a signed compute receipt.
    Settle {
        /// What `job sign` wrote.
        signed: PathBuf,
    },
    /// Take an unclaimed job of yours back.
    Cancel {
        /// The nonce it was posted with.
        nonce: u64,
    },
    /// End a job that nobody delivered in time.
    Expire(JobName),
    /// Show a job.
    Show(JobName),
    /// List open jobs.
    Open,
}

/// Devices.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum DeviceCommand {
    /// Register a device key to you; the device's key signs its consent here.
    Register {
        /// The device's key file.
        #[arg(long, value_name = "FILE")]
        device_key: PathBuf,
        /// Who is paid; you without it.
        #[arg(long)]
        payout: Option<Address>,
        /// Hardware class; informs clients and binds nothing.
        #[arg(long, default_value_t = 0)]
        class: u32,
        /// Stake to begin with.
        #[arg(long, default_value = "0")]
        stake: Amount,
    },
    /// Add to a device's stake.
    Stake { device: Address, amount: Amount },
    /// Take no new jobs; final.
    Retire { device: Address },
    /// Take a retired device's stake back.
    WithdrawStake { device: Address },
    /// Show a device.
    Show { device: Address },
}

/// Channels.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum ChannelCommand {
    /// Open a channel to a payee.
    Open { payee: Address, deposit: Amount },
    /// Add to the deposit of a channel of yours.
    TopUp { nonce: u64, amount: Amount },
    /// Sign a voucher for a growing total; send the answer to the payee.
    Voucher {
        /// The nonce the channel was opened with.
        nonce: u64,
        /// The total over the channel's life.
        total: Amount,
    },
    /// Redeem a voucher.
    Redeem {
        /// What `channel voucher` wrote.
        voucher: PathBuf,
    },
    /// Start closing a channel of yours without its payee. It goes through L1 (--l1-rpc), where the payee sees it, and its fee is paid there.
    Close { nonce: u64 },
    /// As payee, agree that a channel be closed at once; send the answer to the client. Redeem the last voucher first, and take no more.
    Agree {
        client: Address,
        nonce: u64,
        /// Seconds from now until which the client may use it.
        #[arg(long, default_value_t = 3600)]
        deadline_in: u64,
    },
    /// Close a channel of yours at once.
    CloseTogether {
        /// What the payee's `channel agree` wrote.
        consent: PathBuf,
    },
    /// After the closing time, return what was not redeemed.
    Finalise { client: Address, nonce: u64 },
    /// Show a channel.
    Show { client: Address, nonce: u64 },
}

/// Compute receipts.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum ReceiptCommand {
    /// Fetch the bundle of a settled job, by the settling transaction or by client and nonce.
    Show {
        /// The settling transaction, or the client.
        id: String,
        /// With a client: the nonce the job was posted with.
        nonce: Option<u64>,
    },
    /// Verify a bundle. Offline with --checkpoint; with --l1-rpc against what L1 has executed.
    Verify {
        /// The bundle.
        bundle: PathBuf,
        /// Hash of an executed checkpoint that you trust.
        #[arg(long)]
        checkpoint: Option<B256>,
    },
}

/// The way out.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "each variant's text is its help")]
pub enum EscapeCommand {
    /// Freeze the chain on L1, if a request has waited longer than the queue's expiry.
    Freeze,
    /// Open the escape of a frozen chain.
    Open,
    /// Take an account's balance out.
    Account {
        /// Whose; your own without it.
        owner: Option<Address>,
    },
    /// Take a device's stake out.
    Device { device: Address },
    /// Divide a job's escrow; collect it afterwards.
    Job(JobName),
    /// Divide a channel; collect it afterwards.
    Channel { client: Address, nonce: u64 },
    /// Show the receipt of a claimed job while the presentation window is open.
    Receipt {
        /// What `job sign` wrote.
        signed: PathBuf,
    },
    /// Show a voucher while the presentation window is open.
    Voucher {
        /// What `channel voucher` wrote.
        voucher: PathBuf,
    },
    /// Take a deposit back that no executed batch consumed.
    Refund {
        /// Its index in the queue, as `deposit` showed it.
        index: u64,
    },
    /// Pay out what jobs and channels left.
    Collect {
        /// Whose; your own without it.
        owner: Option<Address>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_argument_takes_a_secret() {
        let help = Arguments::command().render_long_help().to_string();
        assert!(!help.contains("--private-key") && !help.contains("--password "), "{help}");
    }
}
