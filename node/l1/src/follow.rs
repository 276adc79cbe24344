//! Events in order, each once, through reorgs.

use std::collections::VecDeque;

use crate::{BlockRef, L1Client, L1Error, Located};

/// The blocks last followed, by rising number: the points at which a fork can be found. Bounded; the oldest make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    blocks: VecDeque<BlockRef>,
    blocks_max: usize,
}

impl Window {
    /// A window over at most `blocks_max` blocks, of which the last of `blocks` are kept. Blocks out of order are left out.
    pub fn new(blocks_max: usize, blocks: impl IntoIterator<Item = BlockRef>) -> Self {
        let mut window = Self { blocks: VecDeque::new(), blocks_max: blocks_max.max(1) };
        for block in blocks {
            window.push(block);
        }
        window
    }

    /// The last block followed.
    pub fn tip(&self) -> Option<&BlockRef> {
        self.blocks.back()
    }

    /// The blocks, oldest first: what to keep in storage to go on from.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &BlockRef> + '_ {
        self.blocks.iter()
    }

    fn push(&mut self, block: BlockRef) {
        if self.tip().is_some_and(|tip| tip.number >= block.number) {
            return;
        }
        if self.blocks.len() == self.blocks_max {
            self.blocks.pop_front();
        }
        self.blocks.push_back(block);
    }

    fn cut(&mut self, kept: usize) {
        self.blocks.truncate(kept);
    }
}

/// How L1 is followed.
#[derive(Clone, Copy, Debug)]
pub struct FollowConfig {
    /// Blocks on top of a block before its events are delivered; 0 follows the head itself.
    pub confirmations: u64,
    /// Blocks remembered to find where a reorg forked.
    pub window_blocks_max: usize,
    /// Blocks in one query for logs.
    pub range_blocks_max: u64,
}

impl Default for FollowConfig {
    fn default() -> Self {
        // 64 blocks are two epochs, after which Ethereum's own finality has spoken; twice that is remembered.
        Self { confirmations: 6, window_blocks_max: 128, range_blocks_max: 1_000 }
    }
}

/// What following delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Something happened.
    Event(Located),
    /// Everything delivered from blocks above `kept` did not happen; `None` if even the oldest block remembered is gone, and with it
    /// everything delivered. What follows starts above `kept`.
    Reorg {
        /// The last block that stays.
        kept: Option<BlockRef>,
    },
    /// All events up to this block have been delivered.
    Reached(BlockRef),
}

/// Follows the contracts' events.
#[derive(Clone, Debug)]
pub struct Follower {
    client: L1Client,
    config: FollowConfig,
    window: Window,
}

impl Follower {
    /// Follows from the rollup's deployment, or goes on after the blocks of an earlier [`Follower::window`].
    pub fn new(client: L1Client, config: FollowConfig, blocks: impl IntoIterator<Item = BlockRef>) -> Self {
        Self { client, config, window: Window::new(config.window_blocks_max, blocks) }
    }

    /// Where it stands.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Blocks on top of a block before its events are delivered.
    pub fn confirmations(&self) -> u64 {
        self.config.confirmations
    }

    /// Looks once, at one range of blocks at most. Nothing new gives nothing.
    ///
    /// # Errors
    /// The node could not be asked, or answers nonsense; nothing is lost, and asking again goes on.
    pub async fn poll(&mut self) -> Result<Vec<Followed>, L1Error> {
        let head = self.client.head().await?;
        if let Some(reorg) = self.find_fork().await? {
            return Ok(vec![reorg]);
        }
        let from = self.window.tip().map_or(self.client.contracts().deployed_at, |tip| tip.number + 1);
        let Some(target) = head.number.checked_sub(self.config.confirmations).filter(|&target| target >= from) else {
            return Ok(Vec::new());
        };
        let to = target.min(from.saturating_add(self.config.range_blocks_max.max(1) - 1));
        let Some(blocks) = self.linked_blocks(from, to).await? else { return Ok(Vec::new()) };
        let events = self.client.events(from, to).await?;
        // Logs and headers are separate answers. If the range still ends in the same block, its whole past is the same, and the logs were
        // read from it; a log of another block shows that the node changed its mind in between.
        let end = blocks[blocks.len() - 1];
        let mut is_same = self.client.block(to).await?.is_some_and(|block| block.hash == end.hash);
        // Where the range is too long for its headers to reach back to the tip, the tip itself must still be there.
        if let Some(tip) = self.window.tip().filter(|tip| tip.number + 1 != blocks[0].number) {
            is_same &= self.client.block(tip.number).await?.is_some_and(|block| block.hash == tip.hash);
        }
        let is_theirs = |event: &Located| {
            let first = blocks[0].number;
            event.block_number.checked_sub(first).is_none_or(|i| blocks[i as usize].hash == event.block_hash)
        };
        if !is_same || !events.iter().all(is_theirs) {
            return Ok(Vec::new());
        }
        for block in blocks {
            self.window.push(block);
        }
        let events = events.into_iter().map(Followed::Event);
        Ok(events.chain([Followed::Reached(end)]).collect())
    }

    /// The blocks of the range that the window has room for, if they form one chain that continues the window.
    async fn linked_blocks(&self, from: u64, to: u64) -> Result<Option<Vec<BlockRef>>, L1Error> {
        let first = from.max((to + 1).saturating_sub(self.config.window_blocks_max as u64));
        let mut parent = self.window.tip().filter(|tip| tip.number + 1 == first).map(|tip| tip.hash);
        let mut blocks = Vec::with_capacity((to - first + 1) as usize);
        for number in first..=to {
            let Some(header) = self.client.header(number.into()).await? else { return Ok(None) };
            if parent.is_some_and(|parent| parent != header.parent_hash) {
                return Ok(None);
            }
            parent = Some(header.hash);
            blocks.push(BlockRef::from(&header));
        }
        Ok(Some(blocks))
    }

    /// A block that the node does not have is no fork: it may lag behind the one that was asked before. A fork shows once another
    /// block stands in its place.
    async fn find_fork(&mut self) -> Result<Option<Followed>, L1Error> {
        let Some(tip) = self.window.tip().copied() else { return Ok(None) };
        match self.client.block(tip.number).await? {
            None => return Ok(None),
            Some(block) if block.hash == tip.hash => return Ok(None),
            Some(_) => {}
        }
        let mut kept = self.window.blocks.len() - 1;
        while let Some(block) = kept.checked_sub(1).and_then(|last| self.window.blocks.get(last)).copied() {
            if self.client.block(block.number).await?.is_some_and(|found| found.hash == block.hash) {
                self.window.cut(kept);
                tracing::warn!(from = tip.number, to = block.number, "L1 reorganised");
                return Ok(Some(Followed::Reorg { kept: Some(block) }));
            }
            kept -= 1;
        }
        self.window.cut(0);
        tracing::error!(
            from = tip.number,
            "L1 reorganised deeper than the blocks remembered; reading it from the start"
        );
        Ok(Some(Followed::Reorg { kept: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::with_last_byte(number as u8), timestamp_s: number }
    }

    #[test]
    fn the_window_keeps_the_latest_in_order() {
        let mut window = Window::new(3, [1, 2, 3, 4].map(block));
        assert_eq!(window.blocks().map(|block| block.number).collect::<Vec<_>>(), [2, 3, 4]);
        window.push(block(4));
        window.push(block(1));
        assert_eq!(window.tip(), Some(&block(4)), "only newer blocks are taken");
        window.cut(1);
        assert_eq!(window.tip(), Some(&block(2)));
    }
}
