//! A connection to a coordinator for whoever asks again and again, and takes no work.

use core::fmt;

use libp2p::Multiaddr;
use tokio::time::timeout;

use crate::{
    coordinator::Queue,
    keys::Identity,
    message::{Answer, Question},
    work::{ASK_WITHIN, Connection, WorkError, ask},
};

/// A connection that is made when there is something to ask, and made anew when it breaks. It ends when this is dropped.
pub struct Client {
    coordinator: Multiaddr,
    connection: Connection,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Client").field(&self.coordinator).finish()
    }
}

impl Client {
    /// A client with these keys, of the coordinator at an address that ends in its peer id.
    ///
    /// # Errors
    /// [`WorkError::NoPeer`], or what the transports say.
    pub fn new(identity: &Identity, coordinator: &Multiaddr) -> Result<Self, WorkError> {
        let connection = Connection::open(identity, coordinator)?;
        Ok(Self { coordinator: coordinator.clone(), connection })
    }

    /// What there is to do, by kind and shape.
    ///
    /// # Errors
    /// [`WorkError::NoAnswer`]; [`WorkError::Refused`] by a coordinator that does not list it, or of another version.
    pub async fn demand(&self) -> Result<Vec<Queue>, WorkError> {
        let failed = |reason| WorkError::NoAnswer { coordinator: self.coordinator.clone(), reason };
        match timeout(ASK_WITHIN, ask(&self.connection.questions, Question::Demand)).await {
            Ok(Ok(Answer::Demand(queues))) => Ok(queues),
            Ok(Ok(Answer::No(reason))) => Err(WorkError::Refused(reason)),
            Ok(Ok(other)) => Err(WorkError::Refused(format!("{other:?}"))),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed(format!("nothing was heard in {} s", ASK_WITHIN.as_secs()))),
        }
    }
}
