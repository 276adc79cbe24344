//! Subscriptions: one hub reads each new block once and tells everybody.

use std::{collections::VecDeque, sync::Arc};

use alloy::{
    primitives::B256,
    rpc::types::{
        Filter, Header, Log,
        pubsub::{Params, SubscriptionKind},
    },
};
use joule_storage::View;
use jsonrpsee::{PendingSubscriptionSink, SubscriptionMessage, core::SubscriptionResult};
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::broadcast;

use crate::{
    Node, NodeEvent, RpcError,
    filters::log_filter,
    lookup::{self, Found},
    server::Context,
    views::{BlockView, pending_transaction},
    wire::{address_of, hash_of, protocol_hash},
};

/// Notices that a slow subscriber may be behind; one that is further behind is cut off and may come again.
const NOTICES_KEPT: usize = 1_024;

/// Published blocks kept, so that their logs can be taken back when they are undone.
const BLOCKS_KEPT: usize = 256;

/// A block as subscribers want it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) header: Header,
    pub(crate) logs: Vec<Log>,
}

/// What subscribers are told.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// A new block.
    Block(Arc<Published>),
    /// A block was undone.
    Undone(Arc<Published>),
    /// The pool took a transaction.
    Pending(B256),
}

/// Where notices go out.
#[derive(Clone, Debug)]
pub(crate) struct Hub(broadcast::Sender<Notice>);

impl Hub {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(NOTICES_KEPT).0)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }

    fn tell(&self, notice: Notice) {
        // Nobody listening is no error.
        let _ = self.0.send(notice);
    }
}

/// Follows the node until it stops, and tells the hub and the polled filters.
pub(crate) async fn follow<N: Node>(context: Arc<Context<N>>, mut events: broadcast::Receiver<NodeEvent>) {
    let mut told = Told { published: VecDeque::new(), last: 0 };
    told.last = context.read(|view| Ok(view.head().block_number)).await.unwrap_or(0);
    loop {
        match events.recv().await {
            Ok(NodeEvent::Pending { hash }) => {
                let hash = hash_of(hash);
                context.filters().pending(hash);
                context.hub.tell(Notice::Pending(hash));
            }
            Ok(NodeEvent::Reverted { to }) => told.undo(&context, to),
            Ok(NodeEvent::Block { .. }) => told.publish(&context).await,
            // Events that were missed are made up for by looking at the chain. Blocks may have been undone among them, and as many built in their place.
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let known: Vec<_> = told.published.iter().map(|(number, block)| (*number, block.header.hash)).collect();
                let last = told.last;
                match context
                    .read(move |view| {
                        last_kept(view.head().block_number.min(last), &known, |number| hash_at(view, number))
                    })
                    .await
                {
                    Ok(kept) if kept < last => told.undo(&context, kept),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "blocks could not be read for subscribers"),
                }
                told.publish(&context).await;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// What subscribers have been told.
struct Told {
    /// The latest blocks, by rising number.
    published: VecDeque<(u64, Arc<Published>)>,
    /// The last block.
    last: u64,
}

impl Told {
    fn undo<N: Node>(&mut self, context: &Context<N>, to: u64) {
        context.filters().reverted(to);
        while let Some((_, block)) = self.published.pop_back_if(|(number, _)| *number > to) {
            context.hub.tell(Notice::Undone(block));
        }
        self.last = self.last.min(to);
    }

    async fn publish<N: Node>(&mut self, context: &Context<N>) {
        let last = self.last;
        match context.read(move |view| publish(view, last)).await {
            Ok(blocks) => {
                for (number, block) in blocks {
                    self.last = number;
                    if self.published.len() == BLOCKS_KEPT {
                        self.published.pop_front();
                    }
                    self.published.push_back((number, block.clone()));
                    context.hub.tell(Notice::Block(block));
                }
            }
            Err(error) => tracing::error!(%error, "blocks could not be read for subscribers"),
        }
    }
}

fn hash_at(view: &View<'_>, number: u64) -> Result<Option<B256>, RpcError> {
    Ok(view.checkpoint(number)?.map(|checkpoint| B256::new(checkpoint.block_hash.0)))
}

/// The last of the published blocks that is still the chain's, or the one before them; `last` if none were published.
fn last_kept<E>(
    last: u64,
    published: &[(u64, B256)],
    hash_at: impl Fn(u64) -> Result<Option<B256>, E>,
) -> Result<u64, E> {
    for (number, hash) in published.iter().rev() {
        if hash_at(*number)? == Some(*hash) {
            return Ok(*number);
        }
    }
    Ok(published.first().map_or(last, |(first, _)| first.saturating_sub(1)))
}

/// The blocks behind `last`, at most as many as can be undone later.
fn publish(view: &View<'_>, last: u64) -> Result<Vec<(u64, Arc<Published>)>, RpcError> {
    let head = view.head().block_number;
    let first = (last + 1).max(head.saturating_sub(BLOCKS_KEPT as u64 - 1));
    let fee_recipient = address_of(view.genesis().fee_recipient);
    let mut blocks = Vec::new();
    for number in first..=head {
        if let Some(Found::Block(record)) = lookup::block(view, number)? {
            let block = BlockView::new(&record);
            let published = Published { header: block.header(fee_recipient)?, logs: block.logs() };
            blocks.push((number, Arc::new(published)));
        }
    }
    Ok(blocks)
}

/// What one subscriber wants.
enum Wish {
    Headers,
    Logs(Box<Filter>),
    Pending { is_whole: bool },
}

impl Wish {
    fn new(kind: SubscriptionKind, params: Option<Params>) -> Result<Self, RpcError> {
        let params = params.unwrap_or_default();
        match (kind, params) {
            (SubscriptionKind::NewHeads, Params::None) => Ok(Self::Headers),
            (SubscriptionKind::Logs, Params::None) => Ok(Self::Logs(Box::default())),
            (SubscriptionKind::Logs, Params::Logs(filter)) => {
                log_filter(&filter, 0, 0)?;
                Ok(Self::Logs(filter))
            }
            (SubscriptionKind::NewPendingTransactions, Params::None) => Ok(Self::Pending { is_whole: false }),
            (SubscriptionKind::NewPendingTransactions, Params::Bool(is_whole)) => Ok(Self::Pending { is_whole }),
            (kind, _) => Err(RpcError::InvalidParams(format!(
                "no subscription to {kind} with these parameters; there are newHeads, logs with a filter, and newPendingTransactions"
            ))),
        }
    }

    /// What a notice has for this subscriber.
    fn items<N: Node>(&self, context: &Context<N>, notice: &Notice) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
        match (self, notice) {
            (Self::Headers, Notice::Block(block)) => Ok(vec![to_raw_value(&block.header)?]),
            (Self::Logs(filter), Notice::Block(block)) => {
                block.logs.iter().filter(|log| filter.rpc_matches(log)).map(to_raw_value).collect()
            }
            (Self::Logs(filter), Notice::Undone(block)) => {
                let wanted = block.logs.iter().filter(|log| filter.rpc_matches(log));
                wanted.map(|log| to_raw_value(&Log { removed: true, ..log.clone() })).collect()
            }
            (Self::Pending { is_whole: false }, Notice::Pending(hash)) => Ok(vec![to_raw_value(hash)?]),
            (Self::Pending { is_whole: true }, Notice::Pending(hash)) => {
                // It may be in a block by now; whoever wants whole transactions gets it with the block.
                let bytes = context.node().pending_transaction(&protocol_hash(*hash));
                let transaction = bytes.and_then(|bytes| pending_transaction(&bytes).ok());
                transaction.iter().map(to_raw_value).collect()
            }
            (Self::Headers, Notice::Undone(_) | Notice::Pending(_))
            | (Self::Logs(_), Notice::Pending(_))
            | (Self::Pending { .. }, Notice::Block(_) | Notice::Undone(_)) => Ok(Vec::new()),
        }
    }
}

/// Serves one `eth_subscribe` until its connection closes, it is unsubscribed, or it reads too slowly.
pub(crate) async fn serve<N: Node>(
    context: Arc<Context<N>>,
    pending: PendingSubscriptionSink,
    kind: SubscriptionKind,
    params: Option<Params>,
) -> SubscriptionResult {
    let wish = match Wish::new(kind, params) {
        Ok(wish) => wish,
        Err(error) => {
            pending.reject(error).await;
            return Ok(());
        }
    };
    // From before the acceptance, so that nothing falls between it and the first notice.
    let mut notices = context.hub.subscribe();
    let sink = pending.accept().await?;
    loop {
        let notice = tokio::select! {
            () = sink.closed() => return Ok(()),
            notice = notices.recv() => match notice {
                Ok(notice) => notice,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    return Err(format!("{missed} notices were not read in time; subscribe again").into());
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        };
        for item in wish.items(&context, &notice)? {
            if sink.send(SubscriptionMessage::from(item)).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn blocks_that_were_replaced_while_events_were_missed_are_found_by_their_hashes() {
        let block = |number: u64, fork: u8| (number, B256::left_padding_from(&[number as u8, fork]));
        let kept = |published: &[(u64, B256)], chain: &[(u64, B256)]| {
            let at = |number| Ok::<_, Infallible>(chain.iter().find(|(at, _)| *at == number).map(|(_, hash)| *hash));
            last_kept(chain.len() as u64, published, at).expect("never fails")
        };
        let old = [3, 4, 5].map(|number| block(number, 0));
        let chain = |forked_at: u64, head: u64| -> Vec<_> {
            (1..=head).map(|number| block(number, u8::from(number >= forked_at))).collect()
        };
        assert_eq!(kept(&old, &chain(9, 7)), 5, "only more");
        assert_eq!(kept(&old, &chain(4, 5)), 3, "as many as before, and others");
        assert_eq!(kept(&old, &chain(5, 9)), 4);
        assert_eq!(kept(&old, &chain(9, 4)), 4, "one fewer");
        assert_eq!(kept(&old, &chain(2, 6)), 2, "all of them");
        assert_eq!(kept(&[], &chain(9, 6)), 6);
    }
}
