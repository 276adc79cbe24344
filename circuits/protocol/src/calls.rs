//! Calls to the system contracts, in strict ABI encoding.

use alloc::vec::Vec;

use crate::{
    Address, Amount,
    CallKind::{
        AddStake, CancelJob, ClaimJob, CloseChannel, CloseChannelTogether, ExpireJob, FinaliseChannel, OpenChannel,
        PostJob, RedeemVoucher, RegisterDevice, ReleaseJob, RetireDevice, SettleJob, TopUpChannel, Transfer, Unknown,
        Withdraw, WithdrawStake,
    },
    ComputeReceipt, Hash, Rejection, Signature, Voucher,
};

/// A system contract: a fixed address whose Solidity interface is in `contracts/src/l2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SystemContract {
    /// `IJobs`, 0x…8001.
    Jobs,
    /// `IDevices`, 0x…8002.
    Devices,
    /// `IChannels`, 0x…8003.
    Channels,
    /// `IBridge`, 0x…8004.
    Bridge,
}

impl SystemContract {
    /// All of them, by address.
    pub const ALL: [Self; 4] = [Self::Jobs, Self::Devices, Self::Channels, Self::Bridge];

    /// Where it is.
    pub const fn address(self) -> Address {
        Address::from_low_u16(0x8001 + self as u16)
    }

    /// The system contract at `address`, if there is one.
    pub fn at(address: &Address) -> Option<Self> {
        // By words, and not by comparing addresses: the image asks this of every transaction.
        let word = |i: usize| u32::from_be_bytes([address.0[i], address.0[i + 1], address.0[i + 2], address.0[i + 3]]);
        match (word(0) | word(4) | word(8) | word(12), word(16)) {
            (0, 0x8001) => Some(Self::Jobs),
            (0, 0x8002) => Some(Self::Devices),
            (0, 0x8003) => Some(Self::Channels),
            (0, 0x8004) => Some(Self::Bridge),
            _ => None,
        }
    }
}

/// What a transaction does; decides its gas before its arguments are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the function of the interface that has its name")]
pub enum CallKind {
    Transfer,
    PostJob,
    ClaimJob,
    ReleaseJob,
    SettleJob,
    CancelJob,
    ExpireJob,
    RegisterDevice,
    AddStake,
    RetireDevice,
    WithdrawStake,
    OpenChannel,
    TopUpChannel,
    RedeemVoucher,
    CloseChannel,
    CloseChannelTogether,
    FinaliseChannel,
    Withdraw,
    /// A system contract is called with no selector it has.
    Unknown,
}

/// Declares the functions of the system contracts once: contract, selector, kind.
macro_rules! functions {
    ($( $contract:ident $selector:literal $kind:ident )*) => {
        impl CallKind {
            /// Every function there is.
            pub const FUNCTIONS: &[Self] = &[$( $kind ),*];

            /// Every kind: the functions, a plain transfer, and a call of no function.
            pub const ALL: &[Self] = &[Transfer, $( $kind ),*, Unknown];

            /// The kind of a call to `contract`.
            pub fn of(contract: SystemContract, data: &[u8]) -> Self {
                match (contract, selector(data)) {
                    $( (SystemContract::$contract, $selector) => $kind, )*
                    _ => Unknown,
                }
            }

            /// Contract and selector of a function; `None` for a transfer and an unknown call.
            pub const fn function(self) -> Option<(SystemContract, u32)> {
                match self {
                    $( $kind => Some((SystemContract::$contract, $selector)), )*
                    Transfer | Unknown => None,
                }
            }
        }
    };
}

functions! {
    Jobs 0xd578_8908 PostJob
    Jobs 0xe37c_b514 ClaimJob
    Jobs 0xe438_10ec ReleaseJob
    Jobs 0x7d26_4e32 SettleJob
    Jobs 0xbe96_1d88 CancelJob
    Jobs 0x9bc6_270a ExpireJob
    Devices 0x4dbc_06ca RegisterDevice
    Devices 0x1076_7904 AddStake
    Devices 0x6b85_4254 RetireDevice
    Devices 0xc23a_5cea WithdrawStake
    Channels 0x2abb_5e9d OpenChannel
    Channels 0x7ea1_fccc TopUpChannel
    Channels 0xf064_6517 RedeemVoucher
    Channels 0x0ccd_f1f0 CloseChannel
    Channels 0x7b4f_6e51 CloseChannelTogether
    Channels 0x164b_2d0b FinaliseChannel
    Bridge 0x08fa_b167 Withdraw
}

impl CallKind {
    /// Whether the fee may come out of what the call credits, so that a worker with nothing can be paid.
    pub fn pays_from_credit(self) -> bool {
        matches!(self, SettleJob | RedeemVoucher)
    }

    /// Whether the call may carry a value.
    pub fn is_payable(self) -> bool {
        matches!(self, Transfer | PostJob | RegisterDevice | AddStake | OpenChannel | TopUpChannel | Withdraw)
    }
}

/// A decoded call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "variants and fields are the functions and arguments of the interfaces in contracts/src/l2"
)]
pub enum Call {
    PostJob {
        model: Hash,
        input_hash: Hash,
        unit_price: Amount,
        unit_limit: u64,
        deadline: u64,
        minimum_tier: u8,
        device: Address,
        bond: Amount,
    },
    ClaimJob {
        client: Address,
        client_nonce: u64,
        device: Address,
    },
    ReleaseJob {
        client: Address,
        client_nonce: u64,
    },
    SettleJob {
        receipt: ComputeReceipt,
        signature: Option<Signature>,
    },
    CancelJob {
        client_nonce: u64,
    },
    ExpireJob {
        client: Address,
        client_nonce: u64,
    },
    RegisterDevice {
        device: Address,
        payout: Address,
        class: u32,
        consent: Option<Signature>,
    },
    AddStake {
        device: Address,
    },
    RetireDevice {
        device: Address,
    },
    WithdrawStake {
        device: Address,
    },
    OpenChannel {
        payee: Address,
    },
    TopUpChannel {
        client_nonce: u64,
    },
    RedeemVoucher {
        voucher: Voucher,
        signature: Option<Signature>,
    },
    CloseChannel {
        client_nonce: u64,
    },
    CloseChannelTogether {
        client_nonce: u64,
        deadline: u64,
        payee_signature: Option<Signature>,
    },
    FinaliseChannel {
        client: Address,
        client_nonce: u64,
    },
    Withdraw {
        l1_recipient: Address,
        amount: Amount,
    },
}

/// The first four bytes as an integer; zero if there are fewer.
fn selector(data: &[u8]) -> u32 {
    data.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Reads static ABI words in order.
struct Arguments<'a>(&'a [u8]);

impl Arguments<'_> {
    fn word(&mut self) -> Option<&[u8; 32]> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(word)
    }

    fn hash(&mut self) -> Option<Hash> {
        self.word().map(|word| Hash(*word))
    }

    /// The last `N` bytes of the next word, the others being zero.
    fn low<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (high, low) = self.word()?.split_at(32 - N);
        high.iter().all(|&byte| byte == 0).then(|| low.try_into().expect("N bytes"))
    }

    fn address(&mut self) -> Option<Address> {
        self.low().map(Address)
    }

    fn u8(&mut self) -> Option<u8> {
        self.low().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.low().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.low().map(u64::from_be_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.low().map(u128::from_be_bytes)
    }

    /// The `bytes` argument at the end, whose offset is the last static word: 65 bytes, zero-padded to 96. The outer `None` is
    /// bad ABI; the inner one a signature whose values are out of range.
    fn signature(&mut self, offset: u64) -> Option<Option<Signature>> {
        (self.u64()? == offset && self.u64()? == 65).then_some(())?;
        let (bytes, padding) = self.0.split_first_chunk::<65>()?;
        (padding.len() == 31 && padding.iter().all(|&byte| byte == 0)).then(|| Signature::from_bytes(bytes))
    }

    fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

impl Call {
    /// Decodes the call of `kind` that `data` holds.
    ///
    /// # Errors
    /// `UnknownSelector` for [`CallKind::Unknown`] and [`CallKind::Transfer`]; `MalformedCall` unless the data is exactly the encoding that a Solidity compiler
    /// makes of the arguments.
    pub fn decode(kind: CallKind, data: &[u8]) -> Result<Self, Rejection> {
        if matches!(kind, Unknown | Transfer) {
            return Err(Rejection::UnknownSelector { selector: selector(data) });
        }
        Self::decode_arguments(kind, Arguments(&data[4..])).ok_or(Rejection::MalformedCall { selector: selector(data) })
    }

    fn decode_arguments(kind: CallKind, mut input: Arguments<'_>) -> Option<Self> {
        let read = &mut input;
        let call = match kind {
            PostJob => Self::PostJob {
                model: read.hash()?,
                input_hash: read.hash()?,
                unit_price: read.u128()?,
                unit_limit: read.u64()?,
                deadline: read.u64()?,
                minimum_tier: read.u8()?,
                device: read.address()?,
                bond: read.u128()?,
            },
            ClaimJob => Self::ClaimJob { client: read.address()?, client_nonce: read.u64()?, device: read.address()? },
            ReleaseJob => Self::ReleaseJob { client: read.address()?, client_nonce: read.u64()? },
            SettleJob => {
                let receipt = ComputeReceipt {
                    client: read.address()?,
                    client_nonce: read.u64()?,
                    device: read.address()?,
                    model: read.hash()?,
                    runtime: read.hash()?,
                    input_hash: read.hash()?,
                    output_hash: read.hash()?,
                    units: read.u64()?,
                    unit_price: read.u128()?,
                    started_at: read.u64()?,
                    finished_at: read.u64()?,
                    tier: read.u8()?,
                    evidence: read.hash()?,
                };
                return Some(Self::SettleJob { receipt, signature: read.signature(14 * 32)? });
            }
            CancelJob => Self::CancelJob { client_nonce: read.u64()? },
            ExpireJob => Self::ExpireJob { client: read.address()?, client_nonce: read.u64()? },
            RegisterDevice => {
                let (device, payout, class) = (read.address()?, read.address()?, read.u32()?);
                return Some(Self::RegisterDevice { device, payout, class, consent: read.signature(4 * 32)? });
            }
            AddStake => Self::AddStake { device: read.address()? },
            RetireDevice => Self::RetireDevice { device: read.address()? },
            WithdrawStake => Self::WithdrawStake { device: read.address()? },
            OpenChannel => Self::OpenChannel { payee: read.address()? },
            TopUpChannel => Self::TopUpChannel { client_nonce: read.u64()? },
            RedeemVoucher => {
                let voucher = Voucher {
                    client: read.address()?,
                    client_nonce: read.u64()?,
                    payee: read.address()?,
                    cumulative: read.u128()?,
                };
                return Some(Self::RedeemVoucher { voucher, signature: read.signature(5 * 32)? });
            }
            CloseChannel => Self::CloseChannel { client_nonce: read.u64()? },
            CloseChannelTogether => {
                let (client_nonce, deadline) = (read.u64()?, read.u64()?);
                let payee_signature = read.signature(3 * 32)?;
                return Some(Self::CloseChannelTogether { client_nonce, deadline, payee_signature });
            }
            FinaliseChannel => Self::FinaliseChannel { client: read.address()?, client_nonce: read.u64()? },
            Withdraw => Self::Withdraw { l1_recipient: read.address()?, amount: read.u128()? },
            Transfer | Unknown => return None,
        };
        input.end(call)
    }
}

/// Writes static ABI words in order.
#[derive(Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    fn low(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&[0; 32][bytes.len()..]);
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: impl Into<u128>) {
        self.low(&number.into().to_be_bytes());
    }

    /// A `bytes` argument behind `offset` bytes of static words. No signature is written as 65 zero bytes, which no signature equals.
    fn signature(&mut self, offset: u64, signature: Option<&Signature>) {
        self.number(offset);
        self.number(65_u64);
        self.0.extend_from_slice(&signature.map_or([0; 65], Signature::to_bytes));
        self.0.extend_from_slice(&[0; 31]);
    }
}

impl Call {
    /// What the call does.
    pub fn kind(&self) -> CallKind {
        match self {
            Self::PostJob { .. } => PostJob,
            Self::ClaimJob { .. } => ClaimJob,
            Self::ReleaseJob { .. } => ReleaseJob,
            Self::SettleJob { .. } => SettleJob,
            Self::CancelJob { .. } => CancelJob,
            Self::ExpireJob { .. } => ExpireJob,
            Self::RegisterDevice { .. } => RegisterDevice,
            Self::AddStake { .. } => AddStake,
            Self::RetireDevice { .. } => RetireDevice,
            Self::WithdrawStake { .. } => WithdrawStake,
            Self::OpenChannel { .. } => OpenChannel,
            Self::TopUpChannel { .. } => TopUpChannel,
            Self::RedeemVoucher { .. } => RedeemVoucher,
            Self::CloseChannel { .. } => CloseChannel,
            Self::CloseChannelTogether { .. } => CloseChannelTogether,
            Self::FinaliseChannel { .. } => FinaliseChannel,
            Self::Withdraw { .. } => Withdraw,
        }
    }

    /// The contract to call and the calldata: selector and strict ABI encoding.
    pub fn encode(&self) -> (Address, Vec<u8>) {
        let (contract, selector) = self.kind().function().expect("every call is a function of a contract");
        let mut out = Encoder(selector.to_be_bytes().to_vec());
        match self {
            Self::PostJob { model, input_hash, unit_price, unit_limit, deadline, minimum_tier, device, bond } => {
                out.low(&model.0);
                out.low(&input_hash.0);
                out.number(*unit_price);
                out.number(*unit_limit);
                out.number(*deadline);
                out.number(*minimum_tier);
                out.low(&device.0);
                out.number(*bond);
            }
            Self::ClaimJob { client, client_nonce, device } => {
                out.low(&client.0);
                out.number(*client_nonce);
                out.low(&device.0);
            }
            Self::ReleaseJob { client, client_nonce }
            | Self::ExpireJob { client, client_nonce }
            | Self::FinaliseChannel { client, client_nonce } => {
                out.low(&client.0);
                out.number(*client_nonce);
            }
            Self::SettleJob { receipt, signature } => {
                out.low(&receipt.client.0);
                out.number(receipt.client_nonce);
                out.low(&receipt.device.0);
                for hash in [receipt.model, receipt.runtime, receipt.input_hash, receipt.output_hash] {
                    out.low(&hash.0);
                }
                out.number(receipt.units);
                out.number(receipt.unit_price);
                out.number(receipt.started_at);
                out.number(receipt.finished_at);
                out.number(receipt.tier);
                out.low(&receipt.evidence.0);
                out.signature(14 * 32, signature.as_ref());
            }
            Self::CancelJob { client_nonce }
            | Self::TopUpChannel { client_nonce }
            | Self::CloseChannel { client_nonce } => {
                out.number(*client_nonce);
            }
            Self::RegisterDevice { device, payout, class, consent } => {
                out.low(&device.0);
                out.low(&payout.0);
                out.number(*class);
                out.signature(4 * 32, consent.as_ref());
            }
            Self::AddStake { device } | Self::RetireDevice { device } | Self::WithdrawStake { device } => {
                out.low(&device.0);
            }
            Self::OpenChannel { payee } => out.low(&payee.0),
            Self::RedeemVoucher { voucher, signature } => {
                out.low(&voucher.client.0);
                out.number(voucher.client_nonce);
                out.low(&voucher.payee.0);
                out.number(voucher.cumulative);
                out.signature(5 * 32, signature.as_ref());
            }
            Self::CloseChannelTogether { client_nonce, deadline, payee_signature } => {
                out.number(*client_nonce);
                out.number(*deadline);
                out.signature(3 * 32, payee_signature.as_ref());
            }
            Self::Withdraw { l1_recipient, amount } => {
                out.low(&l1_recipient.0);
                out.number(*amount);
            }
        }
        (contract.address(), out.0)
    }
}
