//! HTTP within bounds: so many connections in all and from one host, each of which must ask in time and take what it asked for.
//!
//! A member serves strangers. Without these bounds one of them holds it up by opening connections and saying nothing, by sending a header byte by byte, or by
//! asking for a batch and not reading it. Behind a proxy all connections come from one host: raise [`HttpLimits::per_host_max`] there.
//!
//! Some hosts together can still open all connections that there may be. Nobody is turned away for that: the host with the most connections loses its oldest, so that a newcomer has its say, and what
//! is being done for whoever has shown who it is goes on ([`Connection::keep`]).

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// Between two attempts to take a connection when the system has no room for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head, and of what is read ahead.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// What strangers may take of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time. For one more the oldest of the host with the most is closed, unless it is kept.
    pub connections_max: usize,
    /// Connections at a time from one address; of IPv6, from one network of 64 bits, which is what one customer has at least.
    pub per_host_max: usize,
    /// From one request's end, or the connection's beginning, to the end of the next one's head.
    pub head_within: Duration,
    /// Without a byte going the way it has to go, a body in or an answer out.
    pub stall_max: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            per_host_max: 64,
            head_within: Duration::from_secs(10),
            stall_max: Duration::from_secs(20),
        }
    }
}

/// Serves until `stop` resolves, then finishes what is under way, for as long as a stalled connection lives at most.
///
/// # Errors
/// The listener has no address.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.local_addr()?;
    let places = Places::default();
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    match places.enter(from.ip(), limits) {
                        Some((place, closed)) => {
                            let serving = connection(stream, router.clone(), limits, place.connection(), ended.clone());
                            connections.spawn(async move {
                                tokio::select! { () = closed.cancelled() => {}, () = serving => {} }
                                drop(place);
                            });
                        }
                        None => tracing::debug!(%from, "a connection too many"),
                    }
                }
                // Too many open files, say: other connections will end, and the client tries again.
                Err(error) => {
                    tracing::warn!(%error, "no connection could be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    ending.send_replace(true);
    let longest = limits.head_within + limits.stall_max;
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever takes longer than this is not waiting for an answer.
    let _ = tokio::time::timeout(longest, all).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: Router,
    limits: HttpLimits,
    connection: Connection,
    mut ended: watch::Receiver<bool>,
) {
    // Answers are short or leave in one go; waiting for more to send would only delay them. Where the system refuses, they are late.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Impatient::new(stream, limits.stall_max));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(stream, service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        result = &mut serving => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended");
            }
            return;
        }
        _ = ended.wait_for(|is_over| *is_over) => serving.as_mut().graceful_shutdown(),
    }
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Whose a connection is, for counting.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The connections there are, by their age.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    taken: BTreeMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    host: IpAddr,
    is_kept: bool,
    close: CancellationToken,
}

impl Table {
    /// The oldest connection of the host that has the most, counting one that is about to come; of those that nobody keeps.
    fn to_close(&self, newcomer: IpAddr) -> Option<u64> {
        let mut counts = HashMap::from([(newcomer, 1_usize)]);
        for taken in self.taken.values() {
            *counts.entry(taken.host).or_default() += 1;
        }
        let closable = self.taken.iter().filter(|(_, taken)| !taken.is_kept);
        // Of several with the same count the first, which is the oldest.
        let most = closable.clone().map(|(_, taken)| counts[&taken.host]).max()?;
        closable.clone().find(|(_, taken)| counts[&taken.host] == most).map(|(id, _)| *id)
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection, until it is dropped, and what tells that another has it.
    fn enter(&self, address: IpAddr, limits: HttpLimits) -> Option<(Place, CancellationToken)> {
        let (host, mut table) = (host(address), self.lock());
        if table.taken.values().filter(|taken| taken.host == host).count() >= limits.per_host_max {
            return None;
        }
        if table.taken.len() >= limits.connections_max {
            let id = table.to_close(host)?;
            if let Some(taken) = table.taken.remove(&id) {
                taken.close.cancel();
            }
        }
        let (id, close) = (table.next, CancellationToken::new());
        table.next += 1;
        table.taken.insert(id, Taken { host, is_kept: false, close: close.clone() });
        Some((Place(Connection { places: self.clone(), id }), close))
    }
}

#[derive(Debug)]
struct Place(Connection);

impl Place {
    fn connection(&self) -> Connection {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.lock().taken.remove(&self.0.id);
    }
}

/// The connection that a request came on; among the request's extensions.
#[derive(Clone, Debug)]
pub struct Connection {
    places: Places,
    id: u64,
}

impl Connection {
    /// Has this connection stay when others come, until what is returned is dropped. For whoever has shown who it is: the others have what it leaves.
    pub fn keep(self) -> Kept {
        self.set_kept(true);
        Kept(self)
    }

    /// A connection has one request at a time.
    fn set_kept(&self, is_kept: bool) {
        if let Some(taken) = self.places.lock().taken.get_mut(&self.id) {
            taken.is_kept = is_kept;
        }
    }
}

/// Keeps a connection.
#[derive(Debug)]
pub struct Kept(Connection);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.set_kept(false);
    }
}

/// A stream that gives up on the other side when it takes nothing for too long.
///
/// Reading has no limit here: between requests and in a head it is hyper's, and in the one body that is read, the handler's.
#[derive(Debug)]
struct Impatient<S> {
    stream: S,
    stall_max: Duration,
    /// Runs while bytes wait for the other side.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S, stall_max: Duration) -> Self {
        Self { stream, stall_max, stalled: None }
    }

    /// Lets a finished write through, and a waiting one only for so long.
    fn judge<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let until = Instant::now() + self.stall_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes nothing")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judge(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
    };

    use super::*;

    const LONG: usize = 64 << 20;

    /// A server with these limits, its address, and what ends it.
    async fn serving(
        limits: HttpLimits,
    ) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router =
            Router::new().route("/short", get(|| async { "hello" })).route("/long", get(|| async { vec![7_u8; LONG] }));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, router, limits, async move { drop(stopped.await) }));
        (address, stop, task)
    }

    async fn asks(address: std::net::SocketAddr) -> Option<String> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET /short HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.ends_with("hello").then_some(answer)
    }

    #[test]
    fn the_host_with_the_most_connections_makes_room() {
        let limits = HttpLimits { connections_max: 4, per_host_max: 3, ..HttpLimits::default() };
        let at = |last: u8| IpAddr::from([10, 0, 0, last]);
        let (crowd, other, third) = (at(1), at(2), at(3));
        let places = Places::default();
        let enter = |address: IpAddr| places.enter(address, limits);
        let (first, first_closed) = enter(other).expect("room");
        let mut held: Vec<_> = (0..3).map(|_| enter(crowd).expect("room")).collect();
        assert!(enter(crowd).is_none(), "as many as one host may have");
        let kept = held[0].0.connection().keep();
        // The oldest of the crowd's that nobody keeps goes, although the other host's is older.
        let (second, second_closed) = enter(third).expect("room is made");
        assert!(held[1].1.is_cancelled() && !held[0].1.is_cancelled() && !held[2].1.is_cancelled());
        // A newcomer of the crowd takes the crowd's place.
        held.push(enter(crowd).expect("room is made"));
        assert!(held[2].1.is_cancelled() && !first_closed.is_cancelled() && !second_closed.is_cancelled());
        // Once nobody keeps it, it is one among others.
        drop(kept);
        held.push(enter(crowd).expect("room is made"));
        assert!(held[0].1.is_cancelled());
        let all: Vec<_> = [&first, &second, &held[3].0, &held[4].0].map(|place| place.connection().keep()).into();
        assert!(enter(at(4)).is_none(), "whoever is known is served, and nobody else waits for it");
        drop((all, first, second, held));
        assert!(places.lock().taken.is_empty());
    }

    #[test]
    fn hosts_are_counted_by_what_one_customer_has() {
        let parse = |text: &str| host(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8:1:2:3:4:5:6"), parse("2001:db8:1:2::"));
        assert_ne!(parse("2001:db8:1:2::"), parse("2001:db8:1:3::"));
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_ne!(parse("192.0.2.1"), parse("192.0.2.2"));
    }

    /// Waits until the other side hangs up; whether it says something before is its business.
    async fn hung_up(stream: &mut TcpStream) {
        let mut answer = Vec::new();
        // A reset is a way of hanging up.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }

    #[tokio::test]
    async fn connections_have_a_bound_in_all_and_for_each_host() {
        let limits = HttpLimits { connections_max: 3, per_host_max: 2, ..HttpLimits::default() };
        let (address, stop, task) = serving(limits).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            // One answered request, so that the server has surely taken the connection.
            stream.write_all(b"GET /short HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
            let mut first = [0; 1];
            stream.read_exact(&mut first).await.expect("an answer");
            held.push(stream);
        }
        hung_up(&mut TcpStream::connect(address).await.expect("connects")).await;
        drop(held.pop());
        // The place is free as soon as the server has noticed.
        while asks(address).await.is_none() {
            tokio::task::yield_now().await;
        }
        drop(held);
        stop.send(()).expect("it runs");
        task.await.expect("ends").expect("served");
    }

    #[tokio::test]
    async fn whoever_says_nothing_or_says_it_slowly_is_hung_up_on() {
        let limits = HttpLimits { head_within: Duration::from_millis(300), ..HttpLimits::default() };
        let (address, stop, task) = serving(limits).await;
        let mut silent = TcpStream::connect(address).await.expect("connects");
        let mut slow = TcpStream::connect(address).await.expect("connects");
        slow.write_all(b"GET /short HTTP/1.1\r\nhost: ").await.expect("sends");
        let (read, mut write) = slow.split();
        let dripping = async {
            // A byte now and then, each of which comes in time and the whole of which never does.
            while write.write_all(b"x").await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let mut read = read;
        let ended = async {
            let mut answer = Vec::new();
            let _ = read.read_to_end(&mut answer).await;
        };
        tokio::select! { () = dripping => {}, () = ended => {} }
        hung_up(&mut silent).await;
        // Between two requests the same limit holds. (Where this machine is so busy that the request itself comes too late, it is made again.)
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            answer.clear();
            let mut idle = TcpStream::connect(address).await.expect("connects");
            let _ = idle.write_all(b"GET /short HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let _ = idle.read_to_end(&mut answer).await;
        }
        // Others are served.
        while asks(address).await.is_none() {}
        stop.send(()).expect("it runs");
        task.await.expect("ends").expect("served");
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_hung_up_on_and_heads_are_bounded() {
        let limits = HttpLimits { stall_max: Duration::from_millis(200), ..HttpLimits::default() };
        let (address, stop, task) = serving(limits).await;
        let mut deaf = TcpStream::connect(address).await.expect("connects");
        deaf.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
        // The server gives up and ends, although this connection has an answer to take and never does.
        let mut large = TcpStream::connect(address).await.expect("connects");
        let head = format!("GET /short HTTP/1.1\r\nhost: x\r\nlarge: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX * 2));
        // The server may have hung up before all of it was sent.
        let _ = large.write_all(head.as_bytes()).await;
        hung_up(&mut large).await;
        stop.send(()).expect("it runs");
        task.await.expect("ends").expect("served");
        let mut taken = Vec::new();
        let _ = deaf.read_to_end(&mut taken).await;
        assert!(taken.len() < LONG, "it was cut off");
    }
}
