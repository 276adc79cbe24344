//! The member's HTTP interface. Handlers parse and pass on; [`joule_committee_client::route`] has the paths, [`crate::answers`] the answers.

use std::{fmt::Display, future::Future, io, sync::Arc};

use alloy_primitives::{Address, B256, Keccak256};
use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{StreamExt as _, stream};
use joule_committee_client::{OFFER_BYTES_MAX, Question, Refusal, RefusalCode, UploadPass, route};
use serde::Deserialize;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    answers::{Answer, answer},
    http::{self, Connection, HttpLimits},
    member::Member,
};

type Shared = State<Arc<Member>>;

/// An answer leaves in pieces of this length, so that its room is taken until nearly all of it has left.
const PIECE_BYTES: usize = 64 << 10;

struct Refused(Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

fn malformed(what: &str, error: &dyn Display) -> Refused {
    Refused(Refusal { code: RefusalCode::Malformed, message: format!("{what}: {error}") })
}

/// All routes.
pub fn router(member: Arc<Member>) -> Router {
    Router::new()
        .route(route::OFFERS, post(offer).get(upload_nonce))
        .route(route::BATCH, get(batch))
        .route(route::BATCH_DATA, get(batch_data))
        .route(route::DATA, get(data))
        .route(route::CHUNK, get(chunk))
        .route(route::STATE, get(state))
        .route(route::ACCOUNT, get(account))
        .route(route::SNAPSHOT, get(snapshot_page))
        .route(route::STATUS, get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(member)
}

/// Serves within the usual limits until `stop` resolves, then finishes what is under way.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    member: Arc<Member>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    http::serve(listener, router(member), HttpLimits::default(), stop).await
}

async fn upload_nonce(State(member): Shared) -> Result<Response, Refused> {
    // A cache on the way would hand out one that is used.
    Ok(([(header::CACHE_CONTROL, "no-store")], member.upload_nonce()?.to_vec()).into_response())
}

async fn offer(
    State(member): Shared,
    connection: Option<Extension<Connection>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let upload = member.upload(&pass(&headers)?)?;
    // From here on nobody who opens connections can have this one closed.
    let _kept = connection.filter(|_| upload.is_sequencer).map(|Extension(connection)| connection.keep());
    let bytes = match timeout(upload.within, read(body, upload.body)).await {
        Ok(bytes) => bytes?,
        Err(elapsed) => return Err(malformed("the offer was not sent in time", &elapsed)),
    };
    let share = member.offer(bytes).await?;
    drop(upload);
    Ok(share.encode().into_response())
}

/// The one pass of a request.
fn pass(headers: &HeaderMap) -> Result<UploadPass, Refused> {
    let mut passes = headers.get_all(route::UPLOAD_HEADER).iter();
    match (passes.next(), passes.next()) {
        (Some(pass), None) => {
            UploadPass::from_header(pass.as_bytes()).map_err(|error| malformed("the pass cannot be read", &error))
        }
        (found, _) => {
            let count = if found.is_none() { "no pass" } else { "more than one pass" };
            Err(malformed("an offer is sent with one pass", &format_args!("{count} in {}", route::UPLOAD_HEADER)))
        }
    }
}

/// The bytes that the pass has announced. They are hashed as they come, so that the hash of 16 MiB holds up nobody.
async fn read(body: Body, expected: B256) -> Result<Vec<u8>, Refused> {
    let (mut pieces, mut bytes, mut hasher) = (body.into_data_stream(), Vec::new(), Keccak256::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| malformed("the offer cannot be read", &error))?;
        if bytes.len() + piece.len() > OFFER_BYTES_MAX {
            return Err(malformed("the offer is too long", &format_args!("it may have {OFFER_BYTES_MAX} bytes")));
        }
        hasher.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    match hasher.finalize() {
        got if got == expected => Ok(bytes),
        got => Err(malformed("the pass is for another body", &format_args!("hash {expected}, and not {got}"))),
    }
}

async fn respond(member: &Arc<Member>, question: Question) -> Result<Response, Refused> {
    let Answer { bytes, is_json, room } = answer(member, question).await?;
    let kind = if is_json { "application/json" } else { "application/octet-stream" };
    let length = bytes.len();
    let pieces = stream::unfold((Bytes::from(bytes), room), async |(mut left, room)| {
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok::<_, io::Error>(piece), (left, room)))
    });
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

async fn batch(State(member): Shared, Path(number): Path<u64>) -> Result<Response, Refused> {
    respond(&member, Question::Batch(number)).await
}

async fn batch_data(State(member): Shared, Path(number): Path<u64>) -> Result<Response, Refused> {
    respond(&member, Question::BatchData(number)).await
}

async fn data(State(member): Shared, Path(checkpoint): Path<String>) -> Result<Response, Refused> {
    respond(&member, Question::Data(parse("a checkpoint's hash", &checkpoint)?)).await
}

async fn chunk(State(member): Shared, Path((checkpoint, index)): Path<(String, u32)>) -> Result<Response, Refused> {
    respond(&member, Question::Chunk(parse("a checkpoint's hash", &checkpoint)?, index)).await
}

fn parse<T: std::str::FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: T::Err| malformed(&format!("{text:?} is not {what}"), &error))
}

async fn state(State(member): Shared, Path(key): Path<String>) -> Result<Response, Refused> {
    respond(&member, Question::State(parse::<B256>("a key of 32 bytes", &key)?)).await
}

async fn account(State(member): Shared, Path(address): Path<String>) -> Result<Response, Refused> {
    respond(&member, Question::Account(parse::<Address>("an address", &address)?)).await
}

#[derive(Debug, Deserialize)]
struct Page {
    /// First byte of the page.
    #[serde(default)]
    from: u64,
    /// The block that the first page named; another page of another snapshot is worth nothing.
    block: Option<u64>,
}

async fn snapshot_page(State(member): Shared, Query(page): Query<Page>) -> Result<Response, Refused> {
    respond(&member, Question::Snapshot { from: page.from, block: page.block }).await
}

async fn status(State(member): Shared) -> Result<Response, Refused> {
    respond(&member, Question::Status).await
}

async fn ready(State(member): Shared) -> Response {
    match member.status().await {
        Ok(status) => match status.not_ready {
            None => "ready\n".into_response(),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
        },
        Err(refusal) => Refused(refusal).into_response(),
    }
}

async fn metrics(State(member): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], member.metrics().text()).into_response()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use alloy_primitives::keccak256;
    use axum::{extract::Request, middleware::Next};
    use joule_committee::{CompactSignature, EcdsaSecretKey, FallBack, Keyset, Scheme};
    use joule_committee_client::{
        Cause, Committee, Endpoint, GatherTiming, OfferSigner, Outcome, RequestError, SignedOffer, UploadClaim,
    };
    use joule_storage::Database;
    use joule_workload::{Chain, GENESIS_SECONDS};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        bench::{BatchMaker, quiet_l1},
        keys::MemberKeys,
        l1::L1View,
        rules::Promises,
    };

    const LIMIT: Duration = Duration::from_secs(60);

    struct Signing(BatchMaker);

    impl OfferSigner for Signing {
        fn sign(&self, digest: B256) -> Result<CompactSignature, Cause> {
            Ok(self.0.sign(digest))
        }
    }

    /// A member that serves, and an offer that it signs if the sequencer sends it.
    struct Served {
        member: Arc<Member>,
        endpoint: Endpoint,
        committee: Arc<Committee>,
        keyset: Keyset,
        sequencer: BatchMaker,
        stranger: BatchMaker,
        l1: L1View,
        offer: SignedOffer,
        stop: oneshot::Sender<()>,
        serving: JoinHandle<io::Result<()>>,
        _folder: tempfile::TempDir,
    }

    impl Served {
        async fn start(limits: HttpLimits, before: impl FnOnce(Router) -> Router) -> Self {
            let (folder, genesis) = (tempfile::tempdir().expect("a folder"), Chain::test_genesis());
            let key = EcdsaSecretKey::from_bytes(&[1; 32]).expect("a key");
            let account = key.address();
            let seated = joule_committee::Member { account, signer: account, bls: None };
            let keyset = Keyset::new(Scheme::Ecdsa, vec![seated], 1).expect("a keyset");
            let keys = MemberKeys::new(account, Some(key), None).expect("keys");
            let (mut sequencer, stranger) = (BatchMaker::new(genesis, 1), BatchMaker::new(genesis, 2));
            let requests = [Chain::deposit(&joule_protocol::Address([3; 20]), 9)];
            let version = sequencer.checkpoint().protocol_version;
            let l1 = quiet_l1(sequencer.sequencer(), version, keyset.hash(), &requests);
            let (mut requests, mut none) = (VecDeque::from(requests), VecDeque::new());
            let batch = sequencer.seal(&mut requests, &mut none, 1, GENESIS_SECONDS + 60).expect("a batch");
            let offer = sequencer.offer(batch, &l1, keyset.hash(), l1.time_s + l1.remaining_min_s).expect("an offer");
            let database = Database::open(folder.path(), &genesis).expect("opens");
            let promises = Promises { expiry_ahead_max_s: u64::MAX / 2 };
            let member = Member::open(database, keys, l1.l1_chain_id, l1.rollup, promises).expect("opens");
            member.update(l1.clone()).await.expect("follows");

            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
            let endpoint = Endpoint { account, url };
            let committee = Arc::new(Committee::new(vec![endpoint.clone()]).expect("a client"));
            let (stop, stopped) = oneshot::channel();
            let router = before(router(member.clone()));
            let serving = tokio::spawn(http::serve(listener, router, limits, async move { drop(stopped.await) }));
            Self { member, endpoint, committee, keyset, sequencer, stranger, l1, offer, stop, serving, _folder: folder }
        }

        async fn stop(self) {
            self.stop.send(()).expect("it runs");
            self.serving.await.expect("ends").expect("served");
        }

        fn pass(&self, by: &BatchMaker, body: &[u8]) -> UploadPass {
            let nonce = self.member.upload_nonce().expect("room");
            let (l1_chain_id, rollup, account) = (self.l1.l1_chain_id, self.l1.rollup, self.endpoint.account);
            let body = keccak256(body);
            let claim = UploadClaim { l1_chain_id, rollup, account, nonce, body };
            UploadPass { nonce, body, signature: by.sign(claim.digest()) }
        }

        /// Sends the head of an offer's request, and as much of a body of `length` bytes as is given.
        async fn sends(&self, headers: &[(&str, &str)], length: usize, bytes: &[u8]) -> TcpStream {
            let at = self.endpoint.url.socket_addrs(|| None).expect("an address");
            let mut stream = TcpStream::connect(at[0]).await.expect("connects");
            let mut head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n", route::OFFERS);
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await.expect("sends");
            // Whoever is refused may have been hung up on.
            let _ = stream.write_all(bytes).await;
            stream
        }

        async fn announces(&self, pass: &UploadPass, length: usize, bytes: &[u8]) -> TcpStream {
            self.sends(&[(route::UPLOAD_HEADER, &pass.to_header())], length, bytes).await
        }

        async fn is_signed_for_the_sequencer(&self) {
            let signer = Arc::new(Signing(self.sequencer.clone()));
            let share = self.committee.hand(&self.endpoint, &self.offer, signer, LIMIT).await.expect("signs");
            assert_eq!(share.statement, *self.offer.offer().statement());
        }
    }

    /// The status that a request was answered with.
    async fn status(stream: &mut TcpStream) -> u16 {
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        std::str::from_utf8(&head[9..]).expect("a status").parse().expect("a status")
    }

    const MANY: HttpLimits =
        HttpLimits { connections_max: 256, per_host_max: 256, head_within: LIMIT, stall_max: LIMIT };

    #[tokio::test]
    async fn whoever_is_not_the_sequencer_is_refused_before_a_byte_is_read() {
        let served = Served::start(MANY, |router| router).await;
        let (body, length) = (served.offer.encode(), OFFER_BYTES_MAX);
        let mut held = Vec::new();
        for _ in 0..20 {
            // Without a pass; with one of their own; and of bytes of their own.
            held.push((400, served.sends(&[], length, &[]).await));
            held.push((403, served.announces(&served.pass(&served.stranger, &body), length, &[]).await));
            held.push((403, served.announces(&served.pass(&served.stranger, b"x"), length, b"x").await));
        }
        for (expected, stream) in &mut held {
            assert_eq!(status(stream).await, *expected);
            // Whether it is still read or not, nothing hangs on it.
            let _ = stream.write_all(b"d").await;
        }
        served.is_signed_for_the_sequencer().await;
        // Their offers were not the matter: the true one is no better from their hands.
        let signer = Arc::new(Signing(served.stranger.clone()));
        let refused = served.committee.hand(&served.endpoint, &served.offer, signer, LIMIT).await;
        let is_refusal = |refusal: &Refusal| refusal.code == RefusalCode::NotSequencer;
        assert!(matches!(&refused, Err(RequestError::Refused(refusal)) if is_refusal(refusal)), "{refused:?}");
        drop(held);
        served.stop().await;
    }

    #[tokio::test]
    async fn while_the_operator_is_late_strangers_have_room_of_their_own() {
        let served = Served::start(MANY, |router| router).await;
        served.member.update(L1View { is_late: true, ..served.l1.clone() }).await.expect("follows");
        let pass = served.pass(&served.stranger, b"withheld");
        let mut held = Vec::new();
        for _ in 0..crate::uploads::UploadLimits::default().strangers_max {
            held.push(served.announces(&pass, OFFER_BYTES_MAX, b"drip").await);
        }
        // Until all of them are in: one that is let in is told at once that it has sent something else.
        loop {
            match status(&mut served.announces(&pass, 0, &[]).await).await {
                503 => break,
                other => assert_eq!(other, 400),
            }
        }
        for stream in &mut held {
            stream.write_all(b"drip").await.expect("it is waited for");
        }
        served.is_signed_for_the_sequencer().await;
        drop(held);
        // When they have gone, another's offer is taken.
        let signer = Arc::new(Signing(served.stranger.clone()));
        loop {
            match served.committee.hand(&served.endpoint, &served.offer, signer.clone(), LIMIT).await {
                Ok(share) => break assert_eq!(share.statement, *served.offer.offer().statement()),
                Err(error) => assert!(error.is_busy(), "{error}"),
            }
        }
        served.stop().await;
    }

    #[tokio::test]
    async fn a_pass_is_good_once_and_for_its_own_body() {
        let served = Served::start(MANY, |router| router).await;
        let body = served.offer.encode();
        // For another body, of the same length, shorter or longer: nothing is signed.
        let mut other = body.clone();
        other[99] ^= 1;
        let longer = [&body[..], &[0]].concat();
        for bytes in [&other[..], &body[..body.len() - 1], &longer, &[]] {
            let pass = served.pass(&served.sequencer, &body);
            assert_eq!(status(&mut served.announces(&pass, bytes.len(), bytes).await).await, 400);
        }
        let huge = served.pass(&served.sequencer, &body);
        let mut stream = served.announces(&huge, OFFER_BYTES_MAX + 1, &[]).await;
        let mut left = OFFER_BYTES_MAX + 1;
        while left > 0 && stream.write_all(&vec![0; left.min(1 << 20)]).await.is_ok() {
            left -= left.min(1 << 20);
        }
        assert_eq!(status(&mut stream).await, 400);
        assert_eq!(served.member.last_number().expect("reads"), 0, "nothing came of it");

        // Seen by somebody on the way, and shown again with nothing behind it.
        let pass = served.pass(&served.sequencer, &body);
        assert_eq!(status(&mut served.announces(&pass, body.len(), &body).await).await, 200);
        let mut held = Vec::new();
        for _ in 0..40 {
            held.push(served.announces(&pass, body.len(), &[]).await);
            let now = UploadPass { nonce: served.member.upload_nonce().expect("room"), ..pass };
            assert_eq!(status(&mut served.announces(&now, body.len(), &[]).await).await, 403);
        }
        for stream in &mut held {
            assert_eq!(status(stream).await, 503);
        }
        served.is_signed_for_the_sequencer().await;
        drop(held);
        served.stop().await;
    }

    #[tokio::test]
    async fn malformed_passes_are_refused() {
        let served = Served::start(MANY, |router| router).await;
        let good = served.pass(&served.sequencer, &served.offer.encode()).to_header();
        let malformed =
            [String::new(), "x".to_owned(), good.replacen('1', "2", 1), format!("0x{good}"), good.repeat(9)];
        for header in malformed.iter().map(String::as_str).chain([&good[2..], "\u{e9}"]) {
            let mut stream = served.sends(&[(route::UPLOAD_HEADER, header)], OFFER_BYTES_MAX, &[]).await;
            assert_eq!(status(&mut stream).await, 400, "{header}");
        }
        let twice = [(route::UPLOAD_HEADER, good.as_str()), (route::UPLOAD_HEADER, good.as_str())];
        assert_eq!(status(&mut served.sends(&twice, OFFER_BYTES_MAX, &[]).await).await, 400);
        served.is_signed_for_the_sequencer().await;
        served.stop().await;
    }

    #[tokio::test]
    async fn the_sequencer_gets_through_where_all_connections_are_taken_and_stays() {
        let served = Served::start(HttpLimits { connections_max: 4, ..MANY }, |router| router).await;
        let at = served.endpoint.url.socket_addrs(|| None).expect("an address")[0];
        let mut idle = Vec::new();
        for _ in 0..9 {
            idle.push(TcpStream::connect(at).await.expect("connects"));
        }
        served.is_signed_for_the_sequencer().await;

        // In the middle of its bytes others come, more than there is room for.
        let body = served.offer.encode();
        let pass = served.pass(&served.sequencer, &body);
        let (first, second) = body.split_at(100);
        let mut upload = served.announces(&pass, body.len(), first).await;
        while served.member.upload_nonce().expect("room") == pass.nonce {
            tokio::task::yield_now().await;
        }
        for _ in 0..9 {
            // Each is answered, so that it was surely let in.
            assert_eq!(status(&mut served.sends(&[], 0, &[]).await).await, 400);
            idle.push(TcpStream::connect(at).await.expect("connects"));
        }
        upload.write_all(second).await.expect("it is waited for");
        assert_eq!(status(&mut upload).await, 200);
        drop((idle, upload));
        served.stop().await;
    }

    /// Asks a member that refuses twenty times before it signs, of an asker that lets two attempts fail.
    async fn gathered(code: RefusalCode) -> Outcome {
        let refused = Arc::new(AtomicUsize::new(0));
        let layer = axum::middleware::from_fn(move |request: Request, next: Next| {
            let is_refused = refused.fetch_add(1, Ordering::Relaxed) < 20;
            async move {
                if is_refused {
                    return Refused(Refusal { code, message: "not now".to_owned() }).into_response();
                }
                next.run(request).await
            }
        });
        let served = Served::start(MANY, |router| router.layer(layer)).await;
        let timing = GatherTiming {
            deadline: LIMIT,
            attempt: LIMIT,
            pause: Duration::from_millis(1),
            attempts: 2,
            linger: Duration::ZERO,
        };
        let signer = Arc::new(Signing(served.sequencer.clone()));
        let outcome = served.committee.gather(&served.keyset, &served.offer, signer, timing, Arc::new(())).await;
        served.stop().await;
        outcome.expect("asks")
    }

    #[tokio::test]
    async fn a_member_without_room_is_waited_for_and_one_that_fails_is_not() {
        let outcome = gathered(RefusalCode::Busy).await;
        assert!(matches!(outcome, Outcome::Certified(_)), "{outcome:?}");
        let lost = Outcome::FellBack(FallBack::QuorumLost { able: 0, quorum: 1 });
        assert_eq!(gathered(RefusalCode::Internal).await, lost);
    }
}
