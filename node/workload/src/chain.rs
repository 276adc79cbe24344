//! A chain in memory to run streams on.

use joule_kernel::{Abort, BlockExecutor, Event, Executed, NotExecuted, Outcome};
use joule_protocol::{Address, Amount, Checkpoint, Genesis, Hash, Native, PriorityKind, PriorityRequest};
use joule_state::{BlockItems, Execution, MemoryStore, Sealed, StateTree, TreeOpenings};

/// Time of the genesis below, unix seconds.
pub const GENESIS_SECONDS: u64 = 1_750_000_000;

/// A chain in memory.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its genesis.
    pub genesis: Genesis,
    /// Its state.
    pub execution: Execution<MemoryStore>,
}

/// A block as it was executed.
#[derive(Debug)]
pub struct ExecutedBlock {
    /// What went in; refused transactions are left out.
    pub items: BlockItems,
    /// Outcomes of the requests.
    pub requests: Vec<Outcome>,
    /// The transactions of the block.
    pub transactions: Vec<Executed>,
    /// Transactions that were not taken, by position in what was offered.
    pub refused: Vec<(usize, NotExecuted)>,
    /// Events in order.
    pub events: Vec<Event>,
    /// The checkpoint before it.
    pub parent: Checkpoint,
    /// The block.
    pub sealed: Sealed,
}

impl Chain {
    /// The genesis that tests and benches use unless they need another.
    pub fn test_genesis() -> Genesis {
        Genesis {
            chain_id: 7_707,
            l1_chain_id: 31_337,
            base_token: Address::ZERO,
            fee_recipient: Address([0xfe; 20]),
            base_fee_max: 1_000_000_000_000,
            grace_seconds: 8 * 24 * 3_600,
            channel_close_seconds: 8 * 24 * 3_600,
            timestamp: GENESIS_SECONDS,
            salt: Hash([7; 32]),
        }
    }

    /// A chain at its genesis.
    pub fn new(genesis: Genesis) -> Self {
        let tree = match StateTree::genesis(MemoryStore::default(), &genesis) {
            Ok(tree) => tree,
            Err(error) => panic!("a tree in memory takes its genesis: {error}"),
        };
        let checkpoint = genesis.checkpoint::<Native>(tree.root());
        Self { genesis, execution: Execution::new(genesis.chain_id, tree, checkpoint) }
    }

    /// The bytes of a deposit, dated at genesis.
    pub fn deposit(to: &Address, amount: Amount) -> Vec<u8> {
        let kind = PriorityKind::Deposit as u8;
        PriorityRequest { kind, sender: *to, to: *to, amount, timestamp: GENESIS_SECONDS, data: Vec::new() }.encode()
    }

    /// Executes and takes one block. Transactions that are refused or find no room are left out.
    ///
    /// # Errors
    /// The [`Abort`] that loses the block; the chain is then where it was.
    pub fn block(
        &mut self,
        timestamp: u64,
        base_fee: u64,
        requests: &[Vec<u8>],
        transactions: &[Vec<u8>],
    ) -> Result<ExecutedBlock, Abort> {
        let parent = *self.execution.checkpoint();
        let mut items = BlockItems { timestamp, base_fee, requests: requests.to_vec(), transactions: Vec::new() };
        let (mut outcomes, mut executed, mut refused, mut events) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let fill = |block: &mut BlockExecutor<'_, TreeOpenings<'_, MemoryStore>, Native>| {
            for request in requests {
                outcomes.push(block.request(request, &mut events).map_err(|error| match error {
                    NotExecuted::Aborted(abort) => abort,
                    NotExecuted::Refused(_) | NotExecuted::BlockFull => Abort::BlockOverfull,
                })?);
            }
            for (position, transaction) in transactions.iter().enumerate() {
                match block.transaction(transaction, &mut events) {
                    Ok(done) => {
                        executed.push(done);
                        items.transactions.push(transaction.clone());
                    }
                    Err(NotExecuted::Aborted(abort)) => return Err(abort),
                    Err(error) => refused.push((position, error)),
                }
            }
            Ok(())
        };
        let sealed = self.execution.block(timestamp, base_fee, fill)?;
        if let Err(error) = self.execution.take(&sealed) {
            panic!("a tree in memory takes a block: {error}");
        }
        Ok(ExecutedBlock { items, requests: outcomes, transactions: executed, refused, events, parent, sealed })
    }
}
