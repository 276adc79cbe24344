//! Calls and gas estimates: transactions that are run and forgotten.

use crate::{
    chain::Chain,
    error::{About, CallError, ChainError, TransactionError},
    evm::{self, ExecutionError, Overlay, TRANSACTION_GAS_MAX},
    produce,
};
use alloy::{
    consensus::Header,
    eips::BlockId,
    primitives::{Address, Bytes, TxKind, U256},
    rpc::types as rpc,
};
use revm::context::{
    BlockEnv, TransactionType, TxEnv,
    either::Either,
    result::{ExecutionResult, HaltReason, OutOfGasError},
};

/// A plain transfer's gas, the least that any transaction costs.
const TRANSFER_GAS: u64 = 21_000;

/// A call made ready: the state and block it sees, and the transaction to run.
struct Simulation<'a> {
    chain_id: u64,
    overlay: Overlay<'a>,
    environment: BlockEnv,
    transaction: TxEnv,
}

/// The gas of one successful run.
struct Spent {
    /// Before refunds: what the run needed at some moment.
    gas_total: u64,
    /// After refunds, and at least the calldata floor.
    gas_used: u64,
}

/// One run at one gas limit.
enum Attempt {
    Success(Spent, Bytes),
    OutOfGas(OutOfGasError),
    /// Less gas than the transaction costs before its first instruction.
    Refused(TransactionError),
}

impl Chain {
    /// Runs a call at a block and returns its output (`eth_call`).
    ///
    /// # Errors
    /// The contract reverted or halted, the sender cannot pay, or the block is unknown.
    pub fn call(&self, request: &rpc::TransactionRequest, at: BlockId, now_s: u64) -> Result<Bytes, CallError> {
        let simulation = self.simulation(request, at, now_s)?;
        let gas = request.gas.unwrap_or(u64::MAX).min(simulation.environment.gas_limit);
        match simulation.run(gas)? {
            Attempt::Success(_, output) => Ok(output),
            Attempt::OutOfGas(reason) => Err(CallError::Halted { reason: HaltReason::OutOfGas(reason) }),
            Attempt::Refused(error) => Err(error.into()),
        }
    }

    /// The least gas limit with which the transaction succeeds on a block's state (`eth_estimateGas`).
    ///
    /// Exact: with one unit less the transaction fails. A contract whose success is not monotone in its gas limit
    /// gets a limit that works, though perhaps not the least.
    ///
    /// # Errors
    /// As [`Chain::call`]; also when no gas limit that the sender may use suffices.
    pub fn estimate_gas(&self, request: &rpc::TransactionRequest, at: BlockId, now_s: u64) -> Result<u64, CallError> {
        let simulation = self.simulation(request, at, now_s)?;
        let mut works = request
            .gas
            .unwrap_or(u64::MAX)
            .min(simulation.environment.gas_limit)
            .min(TRANSACTION_GAS_MAX)
            .min(simulation.gas_affordable()?);
        let allowance = works;
        let Attempt::Success(spent, _) = simulation.run(works)? else {
            return Err(CallError::GasAllowance { allowance });
        };
        // A run pays at most its limit, so no limit below what it paid can work.
        let mut fails = spent.gas_used.saturating_sub(1).max(TRANSFER_GAS - 1);
        // Most transactions need what they spent before refunds, plus the 1/64 that each inner call holds back and
        // the stipend of a transfer: a good first guess spares most of the search.
        let guess = spent.gas_total.saturating_add(2_300).saturating_mul(64) / 63;
        let mut next = guess;
        while fails + 1 < works {
            if next <= fails || next >= works {
                next = fails + (works - fails) / 2;
            }
            match simulation.run(next) {
                Ok(Attempt::Success(..)) => works = next,
                // With less gas a contract may revert instead of running out: its inner call failed.
                Ok(Attempt::OutOfGas(_) | Attempt::Refused(_))
                | Err(CallError::Reverted { .. } | CallError::Halted { .. }) => fails = next,
                Err(other) => return Err(other),
            }
            next = fails + (works - fails) / 2;
        }
        Ok(works)
    }

    /// The state and header that a block id names; for `pending`, those of the block that would be made now.
    pub(crate) fn overlay_at(&self, at: BlockId, now_s: u64) -> Result<(Overlay<'_>, Header), ChainError> {
        if at.is_pending() {
            let draft = self.draft(now_s, produce::Contents::Pool)?;
            let mut overlay = Overlay::new(&self.state, self.state.version(), &self.blocks);
            overlay.changes = draft.changes;
            return Ok((overlay, draft.header));
        }
        let block = self.block(at).ok_or(ChainError::UnknownBlock)?;
        let index = usize::try_from(block.number()).map_err(|_| ChainError::UnknownBlock)?;
        let version = *self.versions.get(index).ok_or(ChainError::UnknownBlock)?;
        Ok((Overlay::new(&self.state, version, &self.blocks[..=index]), block.header().clone()))
    }

    fn simulation(
        &self,
        request: &rpc::TransactionRequest,
        at: BlockId,
        now_s: u64,
    ) -> Result<Simulation<'_>, CallError> {
        let (overlay, header) = self.overlay_at(at, now_s)?;
        let mut environment = produce::environment(&header);
        let transaction = self.simulated(request, &overlay, &mut environment)?;
        Ok(Simulation { chain_id: self.config.chain_id, overlay, environment, transaction })
    }

    /// The transaction that a request describes. Without fees it costs nothing, and sees a base fee of zero.
    fn simulated(
        &self,
        request: &rpc::TransactionRequest,
        overlay: &Overlay<'_>,
        environment: &mut BlockEnv,
    ) -> Result<TxEnv, CallError> {
        if request.blob_versioned_hashes.as_ref().is_some_and(|hashes| !hashes.is_empty())
            || request.max_fee_per_blob_gas.is_some()
            || request.sidecar.is_some()
        {
            return Err(TransactionError::UnsupportedType { transaction_type: 3 }.into());
        }
        if let Some(got) = request.chain_id.filter(|id| *id != self.config.chain_id) {
            return Err(TransactionError::WrongChainId { expected: self.config.chain_id, got }.into());
        }
        if request.gas_price.is_some()
            && (request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some())
        {
            let reason = "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified";
            return Err(CallError::Unsupported { reason });
        }
        let input = match (&request.input.input, &request.input.data) {
            (Some(input), Some(data)) if input != data => {
                let reason = "both \"data\" and \"input\" are set and not equal; use \"input\" for the call data";
                return Err(CallError::Unsupported { reason });
            }
            (Some(input), _) => input.clone(),
            (None, data) => data.clone().unwrap_or_default(),
        };
        let priced_by_tip = request.max_fee_per_gas.is_some() || request.max_priority_fee_per_gas.is_some();
        let tip = request.max_priority_fee_per_gas.unwrap_or_default();
        let fee_cap = match (request.gas_price, request.max_fee_per_gas) {
            (Some(price), _) => price,
            (None, Some(fee_cap)) => fee_cap,
            // Only a tip is given: the cap is what geth would fill in.
            (None, None) if priced_by_tip => tip.saturating_add(u128::from(environment.basefee).saturating_mul(2)),
            (None, None) => 0,
        };
        if fee_cap == 0 {
            environment.basefee = 0;
        }
        let authorizations = request.authorization_list.clone().unwrap_or_default();
        let transaction_type = if !authorizations.is_empty() {
            TransactionType::Eip7702
        } else if priced_by_tip {
            TransactionType::Eip1559
        } else if request.access_list.is_some() {
            TransactionType::Eip2930
        } else {
            TransactionType::Legacy
        };
        let caller = request.from.unwrap_or(Address::ZERO);
        let nonce = request.nonce.unwrap_or_else(|| overlay.account(caller).map_or(0, |account| account.nonce));
        Ok(TxEnv {
            tx_type: transaction_type.into(),
            caller,
            gas_limit: 0,
            gas_price: fee_cap,
            kind: request.to.unwrap_or(TxKind::Create),
            value: request.value.unwrap_or_default(),
            data: input,
            nonce,
            chain_id: Some(self.config.chain_id),
            access_list: request.access_list.clone().unwrap_or_default(),
            gas_priority_fee: (priced_by_tip || !authorizations.is_empty()).then_some(tip),
            blob_hashes: Vec::new(),
            max_fee_per_blob_gas: 0,
            authorization_list: authorizations.into_iter().map(Either::Left).collect(),
        })
    }
}

impl Simulation<'_> {
    /// The gas that the sender's balance buys at the full fee, once the value is set aside.
    fn gas_affordable(&self) -> Result<u64, TransactionError> {
        if self.transaction.gas_price == 0 {
            return Ok(u64::MAX);
        }
        let balance = self.overlay.account(self.transaction.caller).map_or(U256::ZERO, |account| account.balance);
        let cost = self.transaction.value;
        let left = balance.checked_sub(cost).ok_or(TransactionError::InsufficientFunds { balance, cost })?;
        Ok((left / U256::from(self.transaction.gas_price)).saturating_to())
    }

    fn run(&self, gas_limit: u64) -> Result<Attempt, CallError> {
        let mut overlay = self.overlay.fork();
        let transaction = TxEnv { gas_limit, ..self.transaction.clone() };
        let rules = evm::simulation_rules(self.chain_id);
        let result = match evm::execute(&mut overlay, &rules, &self.environment, transaction) {
            Ok(result) => result,
            Err(ExecutionError::Chain(error)) => return Err(error.into()),
            Err(ExecutionError::Invalid(invalid)) => {
                let error = TransactionError::from_revm(invalid, &self.about(gas_limit));
                return match error {
                    low @ (TransactionError::IntrinsicGas { .. } | TransactionError::FloorGas { .. }) => {
                        Ok(Attempt::Refused(low))
                    }
                    other => Err(other.into()),
                };
            }
        };
        match result {
            ExecutionResult::Success { gas, output, .. } => {
                let spent = Spent { gas_total: gas.total_gas_spent(), gas_used: gas.tx_gas_used() };
                Ok(Attempt::Success(spent, output.into_data()))
            }
            ExecutionResult::Revert { output, .. } => Err(CallError::Reverted { output }),
            ExecutionResult::Halt { reason: HaltReason::OutOfGas(reason), .. } => Ok(Attempt::OutOfGas(reason)),
            ExecutionResult::Halt { reason, .. } => Err(CallError::Halted { reason }),
        }
    }

    fn about(&self, gas: u64) -> About {
        About {
            sender: self.transaction.caller,
            gas,
            fee_cap: self.transaction.gas_price,
            tip: self.transaction.gas_priority_fee.unwrap_or(self.transaction.gas_price),
            input_bytes: self.transaction.data.len(),
            base_fee: self.environment.basefee,
            block_gas_max: self.environment.gas_limit,
        }
    }
}
