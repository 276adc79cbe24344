//! L1: deposits, claims and the escape.

use alloy::{
    contract::{CallBuilder, CallDecoder},
    network::EthereumWallet,
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionReceipt,
    signers::local::PrivateKeySigner,
    sol,
    transports::http::reqwest::Url,
};
use joule_contracts::{Bridge, Escape, Rollup};
use joule_protocol::{self as protocol, Call, Checkpoint, Key, PriorityKind};
use joule_rpc::{
    bundle::verify_state_proof,
    wire::{Genesis, L1Contracts, StateProof, WithdrawalProof, address_of, protocol_address},
};

use crate::{Report, SignedReceipt, SignedVoucher, WalletError};

sol! {
    /// What a deposit asks of a base token that is not ETH.
    #[sol(rpc)]
    interface IERC20 {
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
    }
}

/// L1, as one key acts on it.
#[derive(Debug)]
pub(crate) struct L1 {
    provider: DynProvider,
    contracts: L1Contracts,
    base_token: Address,
    owner: Address,
}

impl L1 {
    /// Connects; the node must be of the chain that the network settles on.
    ///
    /// # Errors
    /// `MalformedUrl`, `Unreachable`, `OtherL1`.
    pub(crate) async fn connect(
        url: &str,
        genesis: &Genesis,
        contracts: L1Contracts,
        signer: Option<PrivateKeySigner>,
    ) -> Result<Self, WalletError> {
        let parsed = url.parse::<Url>().map_err(|_| WalletError::MalformedUrl { text: url.to_owned() })?;
        let owner = signer.as_ref().map_or(Address::ZERO, PrivateKeySigner::address);
        let provider = match signer {
            Some(signer) => ProviderBuilder::new().wallet(EthereumWallet::from(signer)).connect_http(parsed).erased(),
            None => ProviderBuilder::new().connect_http(parsed).erased(),
        };
        let got = provider.get_chain_id().await.map_err(|error| WalletError::rpc(url, error))?;
        match got == genesis.l1_chain_id {
            true => Ok(Self { provider, contracts, base_token: genesis.base_token, owner }),
            false => Err(WalletError::OtherL1 { got, expected: genesis.l1_chain_id }),
        }
    }

    fn rollup(&self) -> Rollup::RollupInstance<DynProvider> {
        Rollup::new(self.contracts.rollup, self.provider.clone())
    }

    fn bridge(&self) -> Bridge::BridgeInstance<DynProvider> {
        Bridge::new(self.contracts.bridge, self.provider.clone())
    }

    fn escape(&self) -> Escape::EscapeInstance<DynProvider> {
        Escape::new(self.contracts.escape, self.provider.clone())
    }

    /// Hash of the last executed checkpoint.
    pub(crate) async fn executed_checkpoint(&self) -> Result<B256, WalletError> {
        Ok(self.rollup().executedCheckpoint().call().await?)
    }

    /// Deposits for an L2 account, and the fee of the request with it.
    pub(crate) async fn deposit(&self, to: Address, amount: u128) -> Result<Report, WalletError> {
        let fee = self.rollup().requestFee(PriorityKind::Deposit as u8).call().await?;
        let value = if self.base_token.is_zero() { fee.saturating_add(U256::from(amount)) } else { fee };
        if !self.base_token.is_zero() {
            let token = IERC20::new(self.base_token, self.provider.clone());
            let allowance = token.allowance(self.owner, self.contracts.bridge).call().await?;
            if allowance < U256::from(amount) {
                send(token.approve(self.contracts.bridge, U256::from(amount))).await?;
            }
        }
        let receipt = send(self.bridge().deposit(to, amount).value(value)).await?;
        let index = receipt.decoded_log::<Bridge::Deposited>().map(|log| log.requestIndex);
        Ok(included(&receipt).with("requestIndex", index).with("requestFeeWei", fee.to_string()))
    }

    /// Withdraws from the key's L2 account whether the sequencer likes it or not.
    pub(crate) async fn request_withdrawal(&self, to: Address, amount: u128) -> Result<Report, WalletError> {
        let fee = self.rollup().requestFee(PriorityKind::ForcedWithdrawal as u8).call().await?;
        let receipt = send(self.rollup().requestWithdrawal(to, amount).value(fee)).await?;
        Ok(queued(&receipt, fee))
    }

    /// Calls a system contract in the key's name whether the sequencer likes it or not. Whether the call does what it says shows when a batch has consumed the request.
    pub(crate) async fn request_call(&self, value: u128, call: &Call) -> Result<Report, WalletError> {
        let (to, data) = call.encode();
        let fee = self.rollup().requestFee(PriorityKind::ForcedCall as u8).call().await?;
        let rollup = self.rollup();
        let receipt = send(rollup.requestCall(address_of(to), value, data.into()).value(fee)).await?;
        Ok(queued(&receipt, fee))
    }

    /// Takes a withdrawal that L1 has executed.
    ///
    /// # Errors
    /// `NotClaimable` before that.
    pub(crate) async fn claim(&self, proof: &WithdrawalProof) -> Result<Report, WalletError> {
        if self.rollup().withdrawalRoot(proof.batch_number).call().await?.is_zero() {
            return Err(WalletError::NotClaimable { batch: proof.batch_number });
        }
        let recipient = protocol_address(proof.recipient);
        let withdrawal = Bridge::Withdrawal::new(proof.index, recipient, proof.amount);
        let (bridge, position) = (self.bridge(), U256::from(proof.position));
        let receipt = send(bridge.claim(proof.batch_number, withdrawal, position, proof.siblings.clone())).await?;
        Ok(included(&receipt).with("recipient", proof.recipient).with("amountWei", proof.amount.to_string()))
    }

    /// Checks a proof against what L1 has executed, and returns its object.
    async fn proven(&self, proof: &StateProof) -> Result<(protocol::Object, Escape::Opening), WalletError> {
        let object = verify_state_proof(proof)?;
        let expected = self.executed_checkpoint().await?;
        if proof.checkpoint_hash != expected {
            return Err(WalletError::StaleProof { got: proof.checkpoint_hash, expected });
        }
        let key = Key::from_bytes(proof.key.0);
        let nothing = || WalletError::NotFound(format!("the last executed state holds nothing at {key:?}"));
        let next = Key::from_bytes(proof.opening.next_key.0);
        let opening = Escape::Opening::new(proof.opening.position, &next, proof.opening.digests()?);
        Ok((object.ok_or_else(nothing)?, opening))
    }

    /// Freezes the chain, if a request has waited too long.
    pub(crate) async fn freeze(&self) -> Result<Report, WalletError> {
        Ok(included(&send(self.rollup().freeze()).await?))
    }

    /// Opens the escape of a frozen chain with the checkpoint of any proof.
    pub(crate) async fn open_escape(&self, proof: &StateProof) -> Result<Report, WalletError> {
        self.proven(proof).await?;
        let checkpoint = Checkpoint::try_from(&proof.checkpoint)?;
        let receipt = send(self.escape().openEscape((&checkpoint).into())).await?;
        Ok(included(&receipt).with("checkpointHash", proof.checkpoint_hash))
    }

    /// Takes an object's money out of a frozen chain: to where the object says.
    pub(crate) async fn leave(&self, proof: &StateProof) -> Result<Report, WalletError> {
        let (object, opening) = self.proven(proof).await?;
        let key = Key::from_bytes(proof.key.0);
        let (owner, nonce) = (Address::new(key.address().0), key.nonce());
        let escape = self.escape();
        let receipt = match &object {
            protocol::Object::Account(account) => send(escape.escapeAccount(owner, account.into(), opening)).await?,
            protocol::Object::Device(device) => send(escape.escapeDevice(owner, device.into(), opening)).await?,
            protocol::Object::Job(job) => send(escape.escapeJob(owner, nonce, job.into(), opening)).await?,
            protocol::Object::Channel(channel) => {
                send(escape.escapeChannel(owner, nonce, channel.into(), opening)).await?
            }
            protocol::Object::Chain(_) => {
                return Err(WalletError::NotFound("the chain's own object holds no money".into()));
            }
        };
        Ok(included(&receipt).with("amountWei", object.money().to_string()))
    }

    /// Pays what escaped jobs and channels left for somebody.
    pub(crate) async fn collect(&self, owner: Address) -> Result<Report, WalletError> {
        Ok(included(&send(self.escape().collect(owner)).await?))
    }

    /// Takes a deposit back that no executed batch consumed. L1 keeps its hash alone, so its fields are read from its event.
    pub(crate) async fn refund(&self, index: u64) -> Result<Report, WalletError> {
        let queued = self.rollup().RequestQueued_filter().topic1(U256::from(index)).from_block(0).query().await?;
        let not_found = || WalletError::NotFound(format!("L1 has queued no request with index {index}"));
        let (queued, _) = queued.first().ok_or_else(not_found)?;
        let request = protocol::PriorityRequest::from(&queued.request);
        let receipt = send(self.escape().refundDeposit(index, (&request).into())).await?;
        Ok(included(&receipt).with("amountWei", request.amount.to_string()))
    }

    /// Shows the receipt of a claimed job of a frozen chain.
    pub(crate) async fn present_receipt(
        &self,
        job: &StateProof,
        device: &StateProof,
        signed: &SignedReceipt,
    ) -> Result<Report, WalletError> {
        let wrong = || WalletError::NotFound("the proofs are not of the receipt's job and device".into());
        let ((job, job_opening), (device, device_opening)) = (self.proven(job).await?, self.proven(device).await?);
        let (protocol::Object::Job(job), protocol::Object::Device(device)) = (&job, &device) else {
            return Err(wrong());
        };
        let receipt = protocol::ComputeReceipt::from(&signed.receipt);
        let signature = signed.signature.clone();
        let escape = self.escape();
        let call =
            escape.presentReceipt(job.into(), job_opening, device.into(), device_opening, (&receipt).into(), signature);
        Ok(included(&send(call).await?))
    }

    /// Shows a voucher on an open channel of a frozen chain.
    pub(crate) async fn present_voucher(
        &self,
        channel: &StateProof,
        signed: &SignedVoucher,
    ) -> Result<Report, WalletError> {
        let (channel, opening) = self.proven(channel).await?;
        let protocol::Object::Channel(channel) = &channel else {
            return Err(WalletError::NotFound("the proof is not of the voucher's channel".into()));
        };
        let voucher = (&signed.voucher()).into();
        let escape = self.escape();
        let call = escape.presentVoucher(channel.into(), opening, voucher, signed.signature.clone());
        Ok(included(&send(call).await?))
    }
}

/// Sends a call and waits for its block. Estimating its gas shows a revert's reason first.
async fn send<P: Provider, D: CallDecoder>(call: CallBuilder<P, D>) -> Result<TransactionReceipt, WalletError> {
    let receipt = call.send().await?.get_receipt().await?;
    match receipt.status() {
        true => Ok(receipt),
        false => Err(WalletError::Reverted { hash: receipt.transaction_hash }),
    }
}

/// A request that waits in L1's queue: nobody can leave it out for longer than the queue's expiry without ending the chain.
fn queued(receipt: &TransactionReceipt, fee: U256) -> Report {
    let index = receipt.decoded_log::<Rollup::RequestQueued>().map(|log| log.index);
    included(receipt).with("requestIndex", index).with("requestFeeWei", fee.to_string())
}

fn included(receipt: &TransactionReceipt) -> Report {
    Report::new()
        .with("l1TransactionHash", receipt.transaction_hash)
        .with("l1Block", receipt.block_number)
        .with("gasUsed", receipt.gas_used)
}
