//! HTTP within bounds: so many connections in all and from one host, each of which must ask in time and take what it asked for.
//!
//! A member serves strangers. Without these bounds one of them holds it up by opening connections and saying nothing, by sending a header byte by byte, or by
//! asking for a batch and not reading it. Behind a proxy all connections come from one host: raise [`HttpLimits::per_host_max`] there.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
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

/// Between two attempts to take a connection when the system has no room for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a request's head, and of what is read ahead.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// What strangers may take of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections at a time from one address.
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
    let hosts = Hosts::default();
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    if connections.len() >= limits.connections_max {
                        tracing::debug!(%from, "a connection too many");
                        continue;
                    }
                    match hosts.enter(from.ip(), limits.per_host_max) {
                        Some(place) => {
                            let serving = connection(stream, router.clone(), limits, ended.clone());
                            connections.spawn(async move { (serving.await, drop(place)).0 });
                        }
                        None => tracing::debug!(%from, "a connection too many from one host"),
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

async fn connection(stream: TcpStream, router: Router, limits: HttpLimits, mut ended: watch::Receiver<bool>) {
    // Answers are short or leave in one go; waiting for more to send would only delay them. Where the system refuses, they are late.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Impatient::new(stream, limits.stall_max));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_within)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(stream, TowerToHyperService::new(router));
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

/// Connections by the address they come from.
#[derive(Clone, Debug, Default)]
struct Hosts(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection, until it is dropped.
    fn enter(&self, host: IpAddr, most: usize) -> Option<Place> {
        let mut hosts = self.lock();
        let count = hosts.get(&host).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        hosts.insert(host, count + 1);
        Some(Place { hosts: self.clone(), host })
    }
}

#[derive(Debug)]
struct Place {
    hosts: Hosts,
    host: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock();
        match hosts.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(hosts.remove(&self.host)),
        }
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
