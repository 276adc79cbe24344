//! Signed transactions as they arrive, and the checks that need no state.

use crate::{
    config::ChainConfig,
    error::{About, TransactionError},
    evm::{FORK, TRANSACTION_GAS_MAX},
};
use alloy::{
    consensus::{
        Transaction as _, TxEnvelope, Typed2718,
        transaction::{Recovered, SignerRecoverable, TransactionInfo},
    },
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, U256},
    rpc::types as rpc,
};
use revm::{
    context::{TxEnv, either::Either},
    handler::validation::validate_initial_tx_gas,
    primitives::eip3860::MAX_INITCODE_SIZE,
};

/// A transaction whose signer has been recovered.
#[derive(Debug, Clone)]
pub struct SignedTransaction {
    recovered: Recovered<TxEnvelope>,
    size_bytes: usize,
}

impl SignedTransaction {
    /// Decodes an EIP-2718 envelope and recovers its signer.
    ///
    /// # Errors
    /// Malformed or oversized bytes, a blob transaction, a signature that recovers nobody or is malleable.
    pub fn decode(bytes: &[u8], bytes_max: usize) -> Result<Self, TransactionError> {
        if bytes.len() > bytes_max {
            return Err(TransactionError::Oversized { bytes: bytes.len(), bytes_max });
        }
        let envelope = TxEnvelope::decode_2718_exact(bytes)
            .map_err(|error| TransactionError::Undecodable { reason: error.to_string() })?;
        if envelope.is_eip4844() {
            return Err(TransactionError::UnsupportedType { transaction_type: envelope.ty() });
        }
        let signer = envelope
            .recover_signer()
            .map_err(|error| TransactionError::InvalidSignature { reason: error.to_string() })?;
        Ok(Self { recovered: Recovered::new_unchecked(envelope, signer), size_bytes: bytes.len() })
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        *self.recovered.tx_hash()
    }

    /// Who signed it.
    #[must_use]
    pub fn sender(&self) -> Address {
        self.recovered.signer()
    }

    /// The signed envelope.
    #[must_use]
    pub fn envelope(&self) -> &TxEnvelope {
        self.recovered.inner()
    }

    pub(crate) fn recovered(&self) -> &Recovered<TxEnvelope> {
        &self.recovered
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.recovered.nonce()
    }

    pub(crate) fn fee_cap(&self) -> u128 {
        self.recovered.max_fee_per_gas()
    }

    pub(crate) fn gas_limit(&self) -> u64 {
        self.recovered.gas_limit()
    }

    /// The wei per gas that it may pay above the base fee; a legacy transaction's price counts wholly.
    pub(crate) fn tip_max(&self) -> u128 {
        self.recovered.max_priority_fee_per_gas().unwrap_or_else(|| self.recovered.max_fee_per_gas())
    }

    /// What it can cost its sender at most, in wei.
    pub(crate) fn cost_max(&self) -> Result<U256, TransactionError> {
        U256::from(self.recovered.max_fee_per_gas())
            .checked_mul(U256::from(self.recovered.gas_limit()))
            .and_then(|gas| gas.checked_add(self.recovered.value()))
            .ok_or(TransactionError::CostOverflow)
    }

    /// As `eth_getTransactionByHash` shows it while it waits in the pool.
    #[must_use]
    pub fn pending_view(&self) -> rpc::Transaction {
        // Before it is mined its price shows as the fee cap, as geth has it.
        rpc::Transaction::from_transaction(self.recovered.clone(), TransactionInfo::default())
    }

    /// The checks that hold whatever the state is. revm repeats them when the block is made; here they keep a
    /// transaction that can never be mined out of the pool, in geth's order and words.
    pub(crate) fn check(&self, config: &ChainConfig) -> Result<(), TransactionError> {
        let transaction = &self.recovered;
        match transaction.chain_id() {
            None => return Err(TransactionError::Unprotected),
            Some(got) if got != config.chain_id => {
                return Err(TransactionError::WrongChainId { expected: config.chain_id, got });
            }
            Some(_) => {}
        }
        let (gas, fee_cap) = (transaction.gas_limit(), transaction.max_fee_per_gas());
        let bytes = transaction.input().len();
        if transaction.is_create() && bytes > MAX_INITCODE_SIZE {
            return Err(TransactionError::InitCodeTooLarge { bytes, bytes_max: MAX_INITCODE_SIZE });
        }
        if gas > TRANSACTION_GAS_MAX {
            return Err(TransactionError::GasAboveCap { gas, gas_max: TRANSACTION_GAS_MAX });
        }
        if gas > config.block_gas_max {
            return Err(TransactionError::GasAboveBlock { gas, gas_max: config.block_gas_max });
        }
        if let Some(tip) = transaction.max_priority_fee_per_gas().filter(|tip| *tip > fee_cap) {
            return Err(TransactionError::TipAboveFeeCap { tip, fee_cap });
        }
        if transaction.nonce() == u64::MAX {
            return Err(TransactionError::NonceMax);
        }
        if transaction.authorization_list().is_some_and(|list| list.is_empty()) {
            return Err(TransactionError::Invalid {
                reason: "set code transaction must have at least one authorization tuple".into(),
            });
        }
        self.cost_max()?;
        let initial = validate_initial_tx_gas(self.environment(), FORK, false, false, TRANSACTION_GAS_MAX, None);
        match initial {
            Ok(_) => Ok(()),
            Err(invalid) => Err(TransactionError::from_revm(invalid, &self.about(0, config.block_gas_max))),
        }
    }

    /// What error messages say of it.
    pub(crate) fn about(&self, base_fee: u64, block_gas_max: u64) -> About {
        About {
            sender: self.sender(),
            gas: self.recovered.gas_limit(),
            fee_cap: self.recovered.max_fee_per_gas(),
            tip: self.tip_max(),
            input_bytes: self.recovered.input().len(),
            base_fee,
            block_gas_max,
        }
    }

    /// The transaction as revm takes it.
    pub(crate) fn environment(&self) -> TxEnv {
        let transaction = &self.recovered;
        TxEnv {
            tx_type: transaction.ty(),
            caller: self.sender(),
            gas_limit: transaction.gas_limit(),
            gas_price: transaction.max_fee_per_gas(),
            kind: transaction.kind(),
            value: transaction.value(),
            data: transaction.input().clone(),
            nonce: transaction.nonce(),
            chain_id: transaction.chain_id(),
            access_list: transaction.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: transaction.max_priority_fee_per_gas(),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: transaction
                .authorization_list()
                .unwrap_or_default()
                .iter()
                .cloned()
                .map(Either::Left)
                .collect(),
        }
    }
}
