//! A chain on disk and the same chain in memory.

use joule_protocol::{Checkpoint, Key, Object};
use joule_state::{MemoryStore, StateTree};
use joule_storage::{BatchRecord, BlockRecord, Database, Stage};
use joule_workload::{Chain, Chaos, GENESIS_SECONDS, Item, Population};

/// A database and its twin, fed with the same random blocks.
pub(crate) struct Twin {
    pub(crate) database: Database,
    pub(crate) chain: Chain,
    chaos: Chaos,
    /// The twin's tree and checkpoint after each block, from genesis on.
    pub(crate) past: Vec<(StateTree<MemoryStore>, Checkpoint)>,
}

impl Twin {
    pub(crate) fn new(database: Database, seed: u64) -> Self {
        let chain = Chain::new(*database.genesis());
        let population = Population::new(seed, &chain.genesis, 6, 3);
        let chaos = Chaos::new(seed, population, GENESIS_SECONDS + 10);
        let past = vec![(chain.execution.tree().clone(), *chain.execution.checkpoint())];
        Self { database, chain, chaos, past }
    }

    pub(crate) fn head(&self) -> u64 {
        self.chain.execution.checkpoint().block_number
    }

    /// Executes one random block in memory and returns its record and changes, made by replaying it on the database's state.
    pub(crate) fn next(&mut self, items: usize) -> (BlockRecord, joule_state::Changes) {
        self.chaos.advance();
        let (mut requests, mut transactions) = (Vec::new(), Vec::new());
        for wallet in 0..self.chaos.population.wallets.len() {
            let Item::Request(bytes) = self.chaos.deposit(wallet, 1 << 80) else { unreachable!() };
            requests.push(bytes);
        }
        for _ in 0..items {
            match self.chaos.next_item(true) {
                Item::Request(bytes) => requests.push(bytes),
                Item::Transaction { bytes, .. } => transactions.push(bytes),
            }
        }
        requests.truncate(16);
        let block = self.chain.block(self.chaos.now, 100, &requests, &transactions).expect("streams never abort");
        for (wallet, key) in self.chaos.population.wallets.clone().iter().enumerate() {
            let account = self.chain.execution.tree().get(&Key::account(&key.address)).expect("memory");
            let Some(Object::Account(account)) = account else { panic!("wallets are funded") };
            self.chaos.set_nonce(wallet, account.nonce);
        }
        let executed = self.database.execution().expect("opens").replay(&block.items).expect("the same block");
        assert_eq!(executed.sealed.block.checkpoint, block.sealed.block.checkpoint);
        self.past.push((self.chain.execution.tree().clone(), *self.chain.execution.checkpoint()));
        (BlockRecord::new(&executed, Some([7; 65])), executed.sealed.changes)
    }

    pub(crate) fn block(&mut self, items: usize) -> BlockRecord {
        let (record, changes) = self.next(items);
        self.database.commit_block(&record, &changes).expect("the block is next");
        record
    }

    /// Undoes blocks in the database and in the twin.
    pub(crate) fn revert_to(&mut self, block: u64) {
        self.database.revert_to(block, true).expect("within the window");
        self.past.truncate(block as usize + 1);
        let (tree, checkpoint) = self.past.last().expect("genesis stays").clone();
        for (wallet, key) in self.chaos.population.wallets.clone().iter().enumerate() {
            let nonce = match tree.get(&Key::account(&key.address)).expect("memory") {
                Some(Object::Account(account)) => account.nonce,
                _ => 0,
            };
            self.chaos.set_nonce(wallet, nonce);
        }
        self.chain.execution = joule_state::Execution::new(self.chain.genesis.chain_id, tree, checkpoint);
    }

    /// Holds the database equal to the twin: the head and every earlier state in the window, present and absent keys, with proofs.
    pub(crate) fn check(&self) {
        let view = self.database.view().expect("a view");
        let (tree, checkpoint) = self.past.last().expect("genesis");
        assert_eq!(view.head(), checkpoint);
        let keys: Vec<Key> = tree.store().leaves().map(|(key, _)| *key).collect();
        assert_eq!(view.tree().expect("a tree").root(), checkpoint.state_root);
        for number in view.floor().block_number..=checkpoint.block_number {
            let (past, checkpoint) = &self.past[number as usize];
            let tree = view.tree_at(number).expect("within the window");
            assert_eq!(tree.root(), checkpoint.state_root);
            assert_eq!(view.checkpoint(number).expect("reads"), Some(*checkpoint));
            for key in &keys {
                assert_eq!(tree.get(key).expect("reads"), past.get(key).expect("memory"), "{key:?} at block {number}");
                if *key == Key::FIRST {
                    continue;
                }
                let proof = tree.prove(key).expect("reads");
                assert_eq!(proof, past.prove(key).expect("memory"), "{key:?} at block {number}");
                assert_eq!(proof.verify(checkpoint.state_root, key), Some(past.get(key).expect("memory")));
            }
        }
    }
}

/// A batch from the block after `parent` to `last`.
pub(crate) fn batch(number: u64, parent: Checkpoint, checkpoint: Checkpoint, stage: Stage) -> BatchRecord {
    BatchRecord {
        number,
        revert_count: 0,
        parent,
        checkpoint,
        first_block: parent.block_number + 1,
        last_block: checkpoint.block_number,
        data_bytes: 1_000,
        certificate_expiry: None,
        stage,
        l1_transaction: None,
    }
}
