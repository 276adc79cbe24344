//! `eth_call` and `eth_estimateGas`: what is asked, and dry runs of the kernel.
//!
//! A call goes one of two ways. What a transaction could do (a transfer, a function of a system contract) is a dry run of the kernel, and so are, beside it, the
//! views of system contracts, without a detour. Everything else is code, which [`evm`](crate::evm) runs.
//!
//! Nobody has signed a dry run, so it is made as what the kernel knows for calls without signatures: a forced call. That runs the same plan on the same state as
//! a signed transaction would, but for a close without the payee, which only a forced call may make; the fee, which a forced call has paid on L1, is reckoned here.

use alloy::{primitives::U256, rpc::types::TransactionRequest};
use joule_kernel::{Abort, BlockExecutor, NotExecuted, Openings, Outcome};
use joule_protocol::{
    Account, Address, Amount, CallKind, Checkpoint, Hash, Key, Native, Object, PriorityKind, PriorityRequest, Refusal,
    Rejection, SystemContract, gas_of,
    limits::{AMOUNT_MAX, PRIORITY_DATA_BYTES_MAX},
};
use joule_state::{StateTree, Store, TreeOpenings};

use crate::{
    RpcError,
    evm::{self, Answer, ChainState, DryAccount, Message, Overrides},
    wire::{address_of, protocol_address},
};

/// A call that nobody has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    from: Address,
    /// `None` for the creation of a contract.
    to: Option<Address>,
    value: Amount,
    data: Vec<u8>,
    gas_limit: Option<u64>,
    /// The most to be paid per unit of gas; `None` if fees are of no concern.
    fee_max: Option<u128>,
}

/// The block that a dry run pretends to be in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) chain_id: u64,
    /// The checkpoint of the state it runs on.
    pub(crate) parent: Checkpoint,
    /// Unix seconds.
    pub(crate) timestamp: u64,
    /// Price per unit of gas.
    pub(crate) base_fee: u64,
}

impl Call {
    /// Reads what wallets send.
    ///
    /// # Errors
    /// The [`Refusal`] that the transaction would meet, or `InvalidParams` for fields that contradict each other.
    pub(crate) fn new(request: TransactionRequest, chain_id: u64) -> Result<Self, RpcError> {
        if let Some(got) = request.chain_id.filter(|&got| got != chain_id) {
            return Err(Refusal::WrongChain { got, expected: chain_id }.into());
        }
        if request.authorization_list.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Refusal::UnsupportedType { got: 4 }.into());
        }
        if request.blob_versioned_hashes.as_ref().is_some_and(|list| !list.is_empty()) {
            return Err(Refusal::UnsupportedType { got: 3 }.into());
        }
        if request.access_list.as_ref().is_some_and(|list| !list.0.is_empty()) {
            return Err(Refusal::AccessListNotEmpty.into());
        }
        let fee_max = match (request.gas_price, request.max_fee_per_gas) {
            (Some(_), Some(_)) => {
                return Err(RpcError::InvalidParams("gasPrice and maxFeePerGas exclude each other".into()));
            }
            (price, maximum) => price.or(maximum).filter(|&price| price != 0),
        };
        if let (Some(tip), Some(maximum)) = (request.max_priority_fee_per_gas, request.max_fee_per_gas)
            && tip > maximum
        {
            return Err(Refusal::TipAboveMaximum { tip, maximum }.into());
        }
        let value = request.value.unwrap_or_default();
        let value = u128::try_from(value)
            .ok()
            .filter(|&value| value < AMOUNT_MAX)
            .ok_or(Refusal::ValueTooLarge { got: Hash(value.to_be_bytes()) })?;
        let data = request.input.try_into_unique_input();
        let data = data.map_err(|_| RpcError::InvalidParams("input and data differ; send one of them".into()))?;
        Ok(Self {
            from: protocol_address(request.from.unwrap_or_default()),
            to: request.to.and_then(|to| to.to().copied()).map(protocol_address),
            value,
            data: data.map_or(Vec::new(), |data| data.to_vec()),
            gas_limit: request.gas,
            fee_max,
        })
    }

    /// What the call does.
    ///
    /// # Errors
    /// `ContractCreation`, and `UnknownContract` if it carries data to an address that is no system contract: what a block here cannot hold.
    fn kind(&self) -> Result<CallKind, Refusal> {
        let to = self.to.ok_or(Refusal::ContractCreation)?;
        match SystemContract::at(&to) {
            Some(contract) => Ok(CallKind::of(contract, &self.data)),
            None if self.data.is_empty() => Ok(CallKind::Transfer),
            None => Err(Refusal::UnknownContract { to }),
        }
    }

    /// Whether only the EVM knows the answer: a constructor, data for an address that is no system contract, or anything for an address that has code in views.
    pub(crate) fn is_code(&self, overrides: &Overrides) -> bool {
        let Ok(kind) = self.kind() else { return true };
        let has_code = |to| to == evm::MULTICALL3 || overrides.has_code(&to);
        kind == CallKind::Transfer && self.to.map(address_of).is_some_and(has_code)
    }

    /// The system contract whose view the call names.
    pub(crate) fn view(&self) -> Option<SystemContract> {
        let contract = SystemContract::at(&self.to?)?;
        evm::is_view(contract, &self.data).then_some(contract)
    }

    /// What a system contract answers to a call of one of its views.
    ///
    /// # Errors
    /// `Rejected` if the view reverts.
    pub(crate) fn ask(&self, contract: SystemContract, chain: &dyn ChainState) -> Result<Vec<u8>, RpcError> {
        match evm::answer(contract, &self.data, self.value, chain)? {
            Answer::Returned(output) => Ok(output),
            Answer::Reverted(rejection) => Err(RpcError::Rejected(rejection)),
            Answer::Changes(kind) => Err(RpcError::Internal(format!("{kind:?} was taken for a view"))),
        }
    }

    /// The call for the EVM.
    ///
    /// # Errors
    /// `FeeBelowBase`, `InsufficientFunds` for the value; nobody pays for gas.
    pub(crate) fn message(
        self,
        chain: &dyn ChainState,
        overrides: &Overrides,
        base_fee: u64,
    ) -> Result<Message, RpcError> {
        if let Some(got) = self.fee_max.filter(|&got| got < base_fee.into()) {
            return Err(Refusal::FeeBelowBase { got, base_fee }.into());
        }
        let from = address_of(self.from);
        let wanted = overrides.account(&from).and_then(|change| change.balance);
        let have = match wanted {
            Some(balance) => u128::try_from(balance).unwrap_or(u128::MAX),
            None => evm::account(chain, &from)?.balance,
        };
        afford(have, self.value)?;
        Ok(Message {
            from,
            to: self.to.map(address_of),
            value: U256::from(self.value),
            data: self.data.into(),
            gas: self.gas_limit,
            gas_price: self.fee_max.map_or(0, |_| base_fee.into()),
        })
    }

    /// Runs the call on a state and returns the gas it costs.
    ///
    /// # Errors
    /// The [`Refusal`] or [`Rejection`](joule_protocol::Rejection) that the signed transaction would meet.
    pub(crate) fn run<S: Store>(
        &self,
        tree: &StateTree<S>,
        block: &Surroundings,
        overridden: &[DryAccount],
    ) -> Result<u64, RpcError> {
        let kind = self.kind()?;
        let need = gas_of(kind);
        if let Some(got) = self.gas_limit.filter(|&got| got < need) {
            return Err(Refusal::GasLimitTooLow { got, need }.into());
        }
        let base_fee = block.base_fee;
        if let Some(got) = self.fee_max.filter(|&got| got < base_fee.into()) {
            return Err(Refusal::FeeBelowBase { got, base_fee }.into());
        }
        let price = if self.fee_max.is_some() { Amount::from(base_fee) } else { 0 };
        let fee = Amount::from(need) * price;

        let mut state = TreeOpenings::new(tree);
        for wanted in overridden {
            let slot = state.open(&Key::account(&wanted.address))?;
            let mut account = match state.object(slot) {
                Some(Object::Account(account)) => *account,
                _ => Account::default(),
            };
            account.balance = wanted.balance.unwrap_or(account.balance);
            account.nonce = wanted.nonce.unwrap_or(account.nonce);
            state.replace(slot, Object::Account(account));
        }
        let balance = balance(&mut state, &self.from)?;
        if !kind.pays_from_credit() {
            afford(balance, self.value + fee)?;
        }
        if kind == CallKind::Transfer {
            return Ok(need);
        }
        let outcome = self.force(&mut state, block).map_err(|error| match error {
            // More money than there is is the caller's idea then, and no broken state.
            RpcError::Aborted(Abort::MoneyOverflow { what }) if !overridden.is_empty() => {
                RpcError::InvalidParams(format!("with the overridden balances {what} exceeds what the kernel can hold"))
            }
            error => error,
        });
        match as_signed(kind, outcome?) {
            Outcome::Rejected(rejection) => {
                afford(balance, fee)?;
                Err(RpcError::Rejected(rejection))
            }
            Outcome::Applied if kind.pays_from_credit() => {
                let credited = self::balance(&mut state, &self.from)?;
                afford(credited, fee)?;
                Ok(need)
            }
            Outcome::Applied => Ok(need),
        }
    }

    fn force<S: Store>(&self, state: &mut TreeOpenings<'_, S>, block: &Surroundings) -> Result<Outcome, RpcError> {
        // No call has as many bytes of arguments as a forced call may carry, so longer data is refused as malformed whether or not its end is there.
        let request = PriorityRequest {
            kind: PriorityKind::ForcedCall as u8,
            sender: self.from,
            to: self.to.unwrap_or_default(),
            amount: self.value,
            timestamp: block.parent.timestamp,
            data: self.data[..self.data.len().min(PRIORITY_DATA_BYTES_MAX)].to_vec(),
        };
        let timestamp = block.timestamp.max(block.parent.timestamp);
        // No base fee: nothing is signed here that could pay one.
        let mut run = BlockExecutor::<_, Native>::begin(state, block.chain_id, &block.parent, timestamp, 0, 0)?;
        match run.request(&request.encode(), &mut ()) {
            Ok(outcome) => Ok(outcome),
            Err(NotExecuted::Aborted(abort)) => Err(match state.failure() {
                Some(failure) => RpcError::Internal(format!("{abort}: {failure}")),
                None => abort.into(),
            }),
            Err(NotExecuted::Refused(refusal)) => Err(refusal.into()),
            Err(NotExecuted::BlockFull) => Err(RpcError::Internal("a call does not fit an empty block".into())),
        }
    }
}

/// What a transaction meets where a forced call met `outcome`. The two differ in one call: a channel is closed without its payee by a forced call alone, and the kernel
/// says so as soon as it has read the call.
fn as_signed(kind: CallKind, outcome: Outcome) -> Outcome {
    match (kind, outcome) {
        (_, Outcome::Rejected(Rejection::MalformedCall { .. } | Rejection::WrongValue { .. })) => outcome,
        (CallKind::CloseChannel, _) => Outcome::Rejected(Rejection::CloseNotForced {}),
        _ => outcome,
    }
}

fn afford(have: Amount, need: Amount) -> Result<(), Refusal> {
    if have >= need { Ok(()) } else { Err(Refusal::InsufficientFunds { have, need }) }
}

fn balance<S: Store>(state: &mut TreeOpenings<'_, S>, address: &Address) -> Result<Amount, RpcError> {
    let slot = state.open(&Key::account(address))?;
    Ok(match state.object(slot) {
        Some(Object::Account(Account { balance, .. })) => *balance,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Bytes, TxKind};
    use joule_workload::Chain;
    use proptest::prelude::*;

    use super::*;

    const RICH: Address = Address([0x11; 20]);

    fn chain() -> (Chain, Surroundings) {
        let mut chain = Chain::new(Chain::test_genesis());
        let genesis = chain.genesis;
        chain.block(genesis.timestamp, 7, &[Chain::deposit(&RICH, 1_000_000)], &[]).expect("a deposit cannot fail");
        let block = Surroundings {
            chain_id: genesis.chain_id,
            parent: *chain.execution.checkpoint(),
            timestamp: genesis.timestamp + 10,
            base_fee: 7,
        };
        (chain, block)
    }

    fn request(to: Address, value: u128, data: Vec<u8>) -> TransactionRequest {
        TransactionRequest {
            from: Some(RICH.0.into()),
            to: Some(TxKind::Call(to.0.into())),
            value: Some(U256::from(value)),
            input: Bytes::from(data).into(),
            ..TransactionRequest::default()
        }
    }

    fn run(request: TransactionRequest) -> Result<u64, RpcError> {
        let (chain, block) = chain();
        Call::new(request, block.chain_id)?.run(chain.execution.tree(), &block, &[])
    }

    fn refusal(result: Result<u64, RpcError>) -> Refusal {
        match result {
            Err(RpcError::Submit(crate::SubmitError::Refused(refusal))) => refusal,
            other => panic!("not a refusal: {other:?}"),
        }
    }

    #[test]
    fn a_transfer_costs_what_wallets_assume() {
        assert_eq!(run(request(Address([2; 20]), 5, Vec::new())).expect("affordable"), 21_000);
    }

    #[test]
    fn fees_count_when_a_price_is_named() {
        let priced = |fee_max| TransactionRequest {
            max_fee_per_gas: Some(fee_max),
            ..request(Address([2; 20]), 1_000_000 - 21_000 * 7 + 1, Vec::new())
        };
        assert_eq!(refusal(run(priced(7))), Refusal::InsufficientFunds { have: 1_000_000, need: 1_000_001 });
        assert_eq!(refusal(run(priced(6))), Refusal::FeeBelowBase { got: 6, base_fee: 7 });
        assert_eq!(run(priced(0)).expect("no price, no fee"), 21_000);
    }

    #[test]
    fn calls_meet_the_kernels_reasons() {
        let (bridge, data) = joule_protocol::Call::Withdraw { l1_recipient: Address::ZERO, amount: 5 }.encode();
        match run(request(bridge, 5, data)) {
            Err(RpcError::Rejected(rejection)) => assert_eq!(rejection, Rejection::ZeroAddress {}),
            other => panic!("not a rejection: {other:?}"),
        }
        let (channels, data) = joule_protocol::Call::CloseChannel { client_nonce: 1 }.encode();
        let rejection = |call: TransactionRequest| match run(call) {
            Err(RpcError::Rejected(rejection)) => rejection,
            other => panic!("not a rejection: {other:?}"),
        };
        assert_eq!(rejection(request(channels, 0, data.clone())), Rejection::CloseNotForced {});
        assert_eq!(rejection(request(channels, 5, data.clone())), Rejection::WrongValue { expected: 0, got: 5 });
        let short = rejection(request(channels, 0, data[..35].to_vec()));
        assert!(matches!(short, Rejection::MalformedCall { .. }));
        let (bridge, data) = joule_protocol::Call::Withdraw { l1_recipient: RICH, amount: 5 }.encode();
        assert_eq!(run(request(bridge, 5, data)).expect("a good call"), gas_of(CallKind::Withdraw));
        match run(request(bridge, 0, vec![1, 2, 3, 4])) {
            Err(RpcError::Rejected(rejection)) => {
                assert_eq!(rejection, Rejection::UnknownSelector { selector: 0x0102_0304 });
            }
            other => panic!("not a rejection: {other:?}"),
        }
    }

    #[test]
    fn calldata_longer_than_a_forced_call_is_malformed_all_the_same() {
        let (bridge, mut data) = joule_protocol::Call::Withdraw { l1_recipient: RICH, amount: 5 }.encode();
        data.resize(5_000, 0);
        match run(request(bridge, 5, data)) {
            Err(RpcError::Rejected(Rejection::MalformedCall { .. })) => {}
            other => panic!("not malformed: {other:?}"),
        }
    }

    #[test]
    fn what_a_block_cannot_hold_is_refused() {
        assert_eq!(
            refusal(run(request(Address([2; 20]), 0, vec![1]))),
            Refusal::UnknownContract { to: Address([2; 20]) }
        );
        let create = TransactionRequest { to: None, ..request(RICH, 0, Vec::new()) };
        assert_eq!(refusal(run(create)), Refusal::ContractCreation);
        let short = TransactionRequest { gas: Some(20_999), ..request(RICH, 0, Vec::new()) };
        assert_eq!(refusal(run(short)), Refusal::GasLimitTooLow { got: 20_999, need: 21_000 });
        let huge = TransactionRequest { value: Some(U256::MAX), ..request(RICH, 0, Vec::new()) };
        assert_eq!(refusal(run(huge)), Refusal::ValueTooLarge { got: Hash([0xff; 32]) });
        let foreign = TransactionRequest { chain_id: Some(1), ..request(RICH, 0, Vec::new()) };
        assert!(matches!(refusal(run(foreign)), Refusal::WrongChain { got: 1, .. }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_calldata_has_an_answer(
            low in 0x8001_u16..=0x8004,
            function in 0..CallKind::FUNCTIONS.len(),
            mut data in prop::collection::vec(any::<u8>(), 0..700),
            value in 0..2_000_000_u128,
        ) {
            if let (Some((_, selector)), true) = (CallKind::FUNCTIONS[function].function(), data.len() >= 4) {
                data[..4].copy_from_slice(&selector.to_be_bytes());
            }
            match run(request(Address::from_low_u16(low), value, data)) {
                Ok(_) | Err(RpcError::Rejected(_) | RpcError::Submit(_)) => {}
                Err(other) => prop_assert!(false, "not an answer: {other}"),
            }
        }
    }
}
