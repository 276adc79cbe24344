//! The members' addresses on the networks, and one bounded request to one of them.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use reqwest::{Client, RequestBuilder, Url, redirect::Policy};
use thiserror::Error;

use crate::{
    network::{MemberPeer, MemberPeerError, Network},
    publish::Cause,
    question::Question,
    route::{JSON_BYTES_MAX, MemberStatus, OFFERS, Refusal, RefusalCode, UPLOAD_HEADER},
    upload::Upload,
};

/// Longest wait for a connection. A member that takes longer than this to say hello will not sign in time.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The member's L1 account, by which keysets name it.
    pub account: Address,
    /// Its base URL, without a path.
    pub url: Url,
}

/// Why the client cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No HTTP client.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
    /// A member twice.
    #[error("the member {account} is listed twice")]
    MemberTwice {
        /// The member.
        account: Address,
    },
    /// A URL that has no paths below it.
    #[error("{url} is no base URL; give one like http://host:port")]
    NoBaseUrl {
        /// The URL.
        url: Url,
    },
    /// A member that libp2p does not find.
    #[error(transparent)]
    Peer(#[from] MemberPeerError),
}

/// Why one request got no answer that can be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The member said no.
    #[error("the member refused: {0}")]
    Refused(Refusal),
    /// No answer: unreachable, too slow, cut off.
    #[error("no answer: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// A longer answer than there is.
    #[error("the answer is longer than {most} bytes")]
    TooLong {
        /// Where reading stopped.
        most: usize,
    },
    /// A status without a readable refusal.
    #[error("the answer has status {status} and no refusal in it")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// An answer that is not what was asked for.
    #[error("the answer is unreadable: {0}")]
    Unreadable(String),
    /// No answer over libp2p.
    #[error("no answer over libp2p: {0}")]
    Peer(String),
    /// Somebody in the member's place on libp2p.
    #[error("the peer {peer} has not shown that it is the member {expected}")]
    OtherIdentity {
        /// The member.
        expected: Address,
        /// Who is there.
        peer: String,
    },
    /// The sequencer's key did not sign the pass; nothing was sent.
    #[error("the pass to send an offer is not signed: {0}")]
    Signer(#[source] Cause),
    /// Neither over HTTP nor over libp2p.
    #[error("over HTTP: {http}; over libp2p: {libp2p}")]
    Both {
        /// What came of HTTP.
        http: Box<RequestError>,
        /// What came of libp2p.
        libp2p: Box<RequestError>,
    },
}

impl RequestError {
    /// Whether asking the same member again can help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.code.is_retryable(),
            Self::Unreachable(_) | Self::Peer(_) | Self::Signer(_) => true,
            Self::Status { status } => *status >= 500,
            Self::TooLong { .. } | Self::Unreadable(_) | Self::OtherIdentity { .. } => false,
            Self::Both { http, libp2p } => http.is_retryable() || libp2p.is_retryable(),
        }
    }

    /// Whether there was an answer, and it was not what it must be: whoever gave it lies or has lost its disk.
    pub fn is_wrong(&self) -> bool {
        match self {
            Self::TooLong { .. } | Self::Unreadable(_) => true,
            Self::Both { http, libp2p } => http.is_wrong() || libp2p.is_wrong(),
            Self::Refused(_)
            | Self::Unreachable(_)
            | Self::Status { .. }
            | Self::Peer(_)
            | Self::Signer(_)
            | Self::OtherIdentity { .. } => false,
        }
    }

    /// Whether the member is well and has no room at the moment: nothing was tried that could have failed.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == RefusalCode::Busy)
    }
}

/// The ways to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Http,
    Libp2p,
}

/// The members that are reached over libp2p as well.
#[derive(Debug)]
struct Peers {
    network: Network,
    members: HashMap<Address, MemberPeer>,
    /// Members of which the last good answer came over libp2p: they are asked there first.
    preferred: Mutex<HashSet<Address>>,
}

/// The committee's members and clients for them.
#[derive(Debug)]
pub struct Committee {
    http: Client,
    members: Vec<Endpoint>,
    peers: Option<Peers>,
    /// Whom to ask first; moves on so that one member does not serve everybody.
    turn: AtomicUsize,
}

impl Committee {
    /// A client for these members. Which of them sign is the keyset's matter: a listed member that is not seated still serves data.
    ///
    /// # Errors
    /// A member listed twice, or a URL that cannot have paths.
    pub fn new(members: Vec<Endpoint>) -> Result<Self, ConnectError> {
        for (i, Endpoint { account, url }) in members.iter().enumerate() {
            if members[..i].iter().any(|other| other.account == *account) {
                return Err(ConnectError::MemberTwice { account: *account });
            }
            if url.cannot_be_a_base() {
                return Err(ConnectError::NoBaseUrl { url: url.clone() });
            }
        }
        // A redirect would let one member answer in another's name at another's cost.
        let http = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_MAX).build()?;
        Ok(Self { http, members, peers: None, turn: AtomicUsize::new(0) })
    }

    /// The members listed.
    pub fn members(&self) -> &[Endpoint] {
        &self.members
    }

    /// Has these members asked over libp2p too. Whichever way had the last good answer of a member is tried first, and the other if it fails.
    ///
    /// # Errors
    /// A member listed twice, or an address without an identity.
    pub fn over_libp2p(mut self, network: Network, peers: Vec<MemberPeer>) -> Result<Self, ConnectError> {
        let mut members = HashMap::new();
        for peer in peers {
            peer.peer()?;
            let account = peer.account;
            if members.insert(account, peer).is_some() {
                return Err(ConnectError::MemberTwice { account });
            }
        }
        self.peers = Some(Peers { network, members, preferred: Mutex::default() });
        Ok(self)
    }

    /// Where a member stands, by its own word.
    ///
    /// # Errors
    /// No readable answer within `limit`.
    pub async fn status(&self, member: &Endpoint, limit: Duration) -> Result<MemberStatus, RequestError> {
        let read = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(|error| error.to_string());
        self.ask_for(member, Question::Status, limit, read).await
    }

    /// All members, each call beginning with the next one.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Endpoint> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        let (later, first) = self.members.split_at(turn.min(self.members.len()));
        first.iter().chain(later)
    }

    /// Asks a member, over one network and if need be over the other. What comes is at most as long as an answer to this question can be, and nobody's word.
    ///
    /// # Errors
    /// No answer within `limit`, which each way has for itself.
    pub async fn ask(&self, member: &Endpoint, question: Question, limit: Duration) -> Result<Vec<u8>, RequestError> {
        self.ask_for(member, question, limit, |bytes| Ok(bytes.to_vec())).await
    }

    /// As [`Committee::ask`], for an answer that `read` takes.
    ///
    /// Any failure over one way is a reason to try the other, a refusal and a wrong answer too: without TLS an answer over HTTP may be that of anybody on the way.
    pub(crate) async fn ask_for<T>(
        &self,
        member: &Endpoint,
        question: Question,
        limit: Duration,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, RequestError> {
        let read = |bytes: Vec<u8>| read(&bytes).map_err(RequestError::Unreadable);
        let http = async || {
            let request = self.http.get(url(member, &question.path())).timeout(limit);
            bounded(request, question.answer_bytes_max()).await.and_then(&read)
        };
        let Some((peers, peer)) = self.peer(member) else { return http().await };
        let libp2p = async || peers.network.ask(peer, question, limit).await.and_then(&read);
        let preferred = peers.preferred.lock().unwrap_or_else(PoisonError::into_inner).contains(&member.account);
        let (first, second) = if preferred { (Way::Libp2p, Way::Http) } else { (Way::Http, Way::Libp2p) };
        let over = async |way| match way {
            Way::Http => http().await,
            Way::Libp2p => libp2p().await,
        };
        let error = match over(first).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        tracing::debug!(member = %member.account, %question, ?first, %error, "asking over the other network");
        match over(second).await {
            Ok(found) => {
                let mut preferred = peers.preferred.lock().unwrap_or_else(PoisonError::into_inner);
                match second {
                    Way::Libp2p => preferred.insert(member.account),
                    Way::Http => preferred.remove(&member.account),
                };
                Ok(found)
            }
            Err(other) => {
                let (http, libp2p) = if preferred { (other, error) } else { (error, other) };
                Err(RequestError::Both { http: Box::new(http), libp2p: Box::new(libp2p) })
            }
        }
    }

    fn peer(&self, member: &Endpoint) -> Option<(&Peers, &MemberPeer)> {
        let peers = self.peers.as_ref()?;
        Some((peers, peers.members.get(&member.account)?))
    }

    /// Sends an offer: asks for the member's nonce, and has the bytes follow the pass that is signed with it.
    ///
    /// Whoever signs trusts nobody with the nonce: the pass names this member, so that what another says is its nonce is worth nothing at the other.
    pub(crate) async fn send(
        &self,
        member: &Endpoint,
        upload: &Upload,
        most: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        let began = Instant::now();
        let at = url(member, OFFERS);
        let nonce = bounded(self.http.get(at.clone()).timeout(limit), B256::len_bytes()).await?;
        let nonce = B256::try_from(nonce.as_slice())
            .map_err(|_| RequestError::Unreadable(format!("a nonce has 32 bytes, not {}", nonce.len())))?;
        let pass = upload.pass(member.account, nonce).map_err(RequestError::Signer)?;
        let request = self.http.post(at).header(UPLOAD_HEADER, pass.to_header()).body(upload.bytes.clone().0);
        bounded(request.timeout(limit.saturating_sub(began.elapsed())), most).await
    }
}

/// The path below the member's base URL; a proxy in front of it may have put it below a path of its own.
fn url(member: &Endpoint, path: &str) -> Url {
    let mut url = member.url.clone();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let below = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&below);
    url.set_query(query);
    url
}

/// Sends a request and reads the answer up to a bound. The request's time limit covers all of it.
async fn bounded(request: RequestBuilder, most: usize) -> Result<Vec<u8>, RequestError> {
    let mut response = request.send().await?;
    let status = response.status();
    let most = if status.is_success() { most } else { JSON_BYTES_MAX };
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if bytes.len() + piece.len() > most {
            return Err(RequestError::TooLong { most });
        }
        bytes.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(bytes);
    }
    match serde_json::from_slice(&bytes) {
        Ok(refusal) => Err(RequestError::Refused(refusal)),
        Err(_) => Err(RequestError::Status { status: status.as_u16() }),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    fn endpoint(account: u8, url: &str) -> Endpoint {
        Endpoint { account: Address::repeat_byte(account), url: url.parse().expect("a URL") }
    }

    #[test]
    fn every_member_is_asked_first_in_its_turn() {
        let members: Vec<_> = (1..4).map(|i| endpoint(i, "http://127.0.0.1:1")).collect();
        let committee = Committee::new(members.clone()).expect("a client");
        for turn in 0..7 {
            let asked: Vec<_> = committee.in_turn().collect();
            assert_eq!(asked.len(), 3);
            assert_eq!(asked[0], &members[turn % 3]);
        }
        assert_eq!(Committee::new(Vec::new()).expect("a client").in_turn().count(), 0);
    }

    #[test]
    fn paths_go_below_the_base() {
        let plain = endpoint(1, "http://host:8080");
        assert_eq!(url(&plain, "/v1/status").as_str(), "http://host:8080/v1/status");
        let below = endpoint(1, "http://host/dac/");
        assert_eq!(url(&below, "/v1/snapshot?from=1").as_str(), "http://host/dac/v1/snapshot?from=1");
    }

    #[test]
    fn doubled_members_and_baseless_urls_are_refused() {
        let twice = Committee::new(vec![endpoint(1, "http://a"), endpoint(1, "http://b")]);
        assert!(matches!(twice, Err(ConnectError::MemberTwice { .. })));
        assert!(matches!(Committee::new(vec![endpoint(1, "data:x")]), Err(ConnectError::NoBaseUrl { .. })));
    }

    /// Somebody who answers every request with the same bytes, whatever HTTP says.
    fn answering(answer: impl Fn(&mut dyn Write) + Send + 'static) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut head = [0; 1_024];
                // One read holds the whole of these short requests; whoever hangs up early is none of ours.
                if stream.read(&mut head).is_ok() {
                    answer(&mut stream);
                }
            }
        });
        endpoint(1, &url)
    }

    async fn asked(member: &Endpoint) -> RequestError {
        let committee = Committee::new(vec![member.clone()]).expect("a client");
        committee.ask(member, Question::Status, Duration::from_secs(5)).await.expect_err("no answer")
    }

    #[tokio::test]
    async fn answers_without_end_redirects_and_nonsense_are_errors_within_bounds() {
        let endless = answering(|out| {
            let head = out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let mut result = head;
            while result.is_ok() {
                result = out.write_all(b"400\r\n").and_then(|()| out.write_all(&[b'x'; 0x400]));
                result = result.and_then(|()| out.write_all(b"\r\n"));
            }
        });
        assert!(matches!(asked(&endless).await, RequestError::TooLong { most: JSON_BYTES_MAX }));

        let fixed = |text: &'static str| {
            answering(move |out| {
                // The client may have hung up; then there is nobody to tell.
                let _ = out.write_all(text.as_bytes());
            })
        };
        let elsewhere = fixed("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        assert!(matches!(asked(&elsewhere).await, RequestError::Status { status: 302 }));
        let bare = fixed("HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nyes");
        let error = asked(&bare).await;
        assert!(matches!(error, RequestError::Status { status: 500 }) && error.is_retryable());
        let refused = fixed("HTTP/1.1 409 No\r\ncontent-length: 34\r\n\r\n{\"code\":\"conflict\",\"message\":\"no\"}");
        let error = asked(&refused).await;
        assert!(matches!(&error, RequestError::Refused(refusal) if refusal.message == "no"), "{error}");
        assert!(!error.is_retryable());
        let garbage = fixed("SMTP ready\r\n\r\n");
        assert!(matches!(asked(&garbage).await, RequestError::Unreachable(_)));
        let cut = fixed("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort");
        assert!(matches!(asked(&cut).await, RequestError::Unreachable(_)));
    }
}
