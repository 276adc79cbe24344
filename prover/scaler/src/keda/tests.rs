use std::net::SocketAddr;

use hyper::Uri;
use joule_prover_network::TaskCounts;
use tokio::task::JoinHandle;
use tonic::{Code, client::Grpc as Client};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn snapshot(queued: usize, leased: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.tasks[TaskKind::Segment as usize] = TaskCounts { queued, leased, verifying: 1, ..TaskCounts::default() };
    snapshot.tasks[TaskKind::Merge as usize].queued = 7;
    snapshot
}

struct Serving {
    address: SocketAddr,
    snapshots: watch::Sender<Option<Snapshot>>,
    stop: CancellationToken,
    running: JoinHandle<io::Result<()>>,
}

async fn serving() -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (snapshots, latest) = watch::channel(Some(snapshot(2, 3)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(serve(listener, latest, stop.clone()));
    Serving { address, snapshots, stop, running }
}

type Sender = http2::SendRequest<Body>;

mod http2 {
    pub(super) use hyper::client::conn::http2::{SendRequest, handshake};
}

async fn connect(address: SocketAddr) -> Sender {
    let connection = TcpStream::connect(address).await.unwrap();
    let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(connection)).await.unwrap();
    tokio::spawn(driver);
    sender
}

/// Asks as KEDA does, with tonic's client over one HTTP/2 connection.
async fn ask<Q, A>(sender: &Sender, method: &str, question: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let (mut client, path) = client(sender, method);
    client.ready().await.map_err(|error| Status::internal(error.to_string()))?;
    let codec = ProstCodec::<Q, A>::default();
    let answer = timeout(PATIENCE, client.unary(Request::new(question), path, codec)).await;
    answer.expect("an answer in time").map(Response::into_inner)
}

#[expect(clippy::type_complexity, reason = "the client's service is a closure")]
fn client(
    sender: &Sender,
    method: &str,
) -> (
    Client<
        impl tower::Service<
            hyper::Request<Body>,
            Response = hyper::Response<Incoming>,
            Error = hyper::Error,
            Future = impl Future<Output = Result<hyper::Response<Incoming>, hyper::Error>> + use<>,
        > + use<>,
    >,
    tonic::codegen::http::uri::PathAndQuery,
) {
    let sender = sender.clone();
    let service = tower::service_fn(move |request| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let path = format!("/{SERVICE}/{method}").parse().unwrap();
    (Client::with_origin(service, Uri::from_static("http://localhost")), path)
}

fn asks<const N: usize>(metadata: [(&str, &str); N]) -> ScaledObjectRef {
    let metadata = metadata.into_iter().chain([("scalerAddress", "coordinator:9100")]);
    ScaledObjectRef {
        name: "segments".into(),
        namespace: "joule".into(),
        scaler_metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    }
}

async fn metric(sender: &Sender, object: &ScaledObjectRef) -> Result<(i64, i64), Status> {
    let spec: GetMetricSpecResponse = ask(sender, "GetMetricSpec", object.clone()).await?;
    let [spec] = &spec.metric_specs[..] else { panic!("one metric: {spec:?}") };
    assert_eq!(spec.target_size as f64, spec.target_size_float);
    let question = GetMetricsRequest { scaled_object_ref: Some(object.clone()), metric_name: spec.metric_name.clone() };
    let metrics: GetMetricsResponse = ask(sender, "GetMetrics", question).await?;
    let [value] = &metrics.metric_values[..] else { panic!("one value: {metrics:?}") };
    assert_eq!(value.metric_name, spec.metric_name);
    assert_eq!(value.metric_value as f64, value.metric_value_float);
    Ok((value.metric_value, spec.target_size))
}

#[tokio::test]
async fn each_kind_has_its_number() {
    let serving = serving().await;
    let sender = connect(serving.address).await;
    let open = asks([("taskKind", "segment")]);
    assert_eq!(metric(&sender, &open).await.unwrap(), (6, 1), "queued, leased, and being verified");
    let queued = asks([("taskKind", "segment"), ("count", "queued"), ("tasksPerReplica", "4")]);
    assert_eq!(metric(&sender, &queued).await.unwrap(), (2, 4));
    assert_eq!(metric(&sender, &asks([("taskKind", "merge")])).await.unwrap(), (7, 1));
    assert_eq!(metric(&sender, &asks([("taskKind", "wrap")])).await.unwrap(), (0, 1));
    for (kind, is_active) in [("segment", true), ("wrap", false)] {
        let answer: IsActiveResponse = ask(&sender, "IsActive", asks([("taskKind", kind)])).await.unwrap();
        assert_eq!(answer.result, is_active);
    }
    serving.stop.cancel();
    timeout(PATIENCE, serving.running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn wrong_questions_are_told_what_is_wrong() {
    let serving = serving().await;
    let sender = connect(serving.address).await;
    let long = "x".repeat(5_000);
    for (object, words) in [
        (asks([]), "no taskKind"),
        (asks([("taskKind", "Segment")]), "segment, merge or wrap"),
        (asks([("taskKind", &long)]), "segment, merge or wrap"),
        (asks([("taskKind", "wrap"), ("count", "all")]), "open or queued"),
        (asks([("taskKind", "wrap"), ("tasksPerReplica", "0")]), "from 1 to 1000"),
        (asks([("taskKind", "wrap"), ("tasksPerReplica", "-1")]), "from 1 to 1000"),
        (asks([("taskKind", "wrap"), ("tasksPerReplica", "1e3")]), "from 1 to 1000"),
    ] {
        for method in ["IsActive", "GetMetricSpec", "StreamIsActive"] {
            let refused = ask::<_, IsActiveResponse>(&sender, method, object.clone()).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
            assert!(refused.message().contains(words) && refused.message().len() < 300, "{refused:?}");
        }
    }
    let unknown = |name: &str, object| GetMetricsRequest { scaled_object_ref: object, metric_name: name.to_owned() };
    let wrap = Some(asks([("taskKind", "wrap")]));
    for name in ["", "joule-segment-tasks-open", &long] {
        let refused = ask::<_, GetMetricsResponse>(&sender, "GetMetrics", unknown(name, wrap.clone())).await;
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    let refused = ask::<_, GetMetricsResponse>(&sender, "GetMetrics", unknown("a", None)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    // KEDA takes this for "has no such stream".
    let refused = ask::<_, GetMetricSpecResponse>(&sender, "StreamMetricSpec", asks([])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn messages_are_bounded() {
    let serving = serving().await;
    let sender = connect(serving.address).await;
    let large = asks([("taskKind", "wrap"), ("more", &"x".repeat(MESSAGE_BYTES_MAX))]);
    let refused = ask::<_, IsActiveResponse>(&sender, "IsActive", large).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    // Bytes that are no message: a length that leads behind the end.
    #[derive(Clone, Debug)]
    struct Garbage(&'static [u8]);
    impl tonic::codec::Codec for Garbage {
        type Encode = ();
        type Decode = IsActiveResponse;
        type Encoder = Self;
        type Decoder = <ProstCodec<IsActiveResponse, IsActiveResponse> as tonic::codec::Codec>::Decoder;
        fn encoder(&mut self) -> Self {
            self.clone()
        }
        fn decoder(&mut self) -> Self::Decoder {
            ProstCodec::<IsActiveResponse, IsActiveResponse>::default().decoder()
        }
    }
    impl tonic::codec::Encoder for Garbage {
        type Item = ();
        type Error = Status;
        fn encode(&mut self, (): (), out: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
            prost::bytes::BufMut::put_slice(out, self.0);
            Ok(())
        }
    }
    for garbage in
        [&b"\x0a\x7f"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x1a\x02\x0a\x05", b"\x0a\x02\xff\xfe"]
    {
        let (mut client, path) = client(&sender, "IsActive");
        client.ready().await.unwrap();
        let refused = client.unary(Request::new(()), path, Garbage(garbage)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal, "{refused:?}");
    }
    // The connection is as good as before.
    assert_eq!(metric(&sender, &asks([("taskKind", "merge")])).await.unwrap().0, 7);
}

async fn watch(sender: &Sender, kind: &str) -> Result<tonic::Streaming<IsActiveResponse>, Status> {
    let (mut client, path) = client(sender, "StreamIsActive");
    client.ready().await.map_err(|error| Status::internal(error.to_string()))?;
    let codec = ProstCodec::<ScaledObjectRef, IsActiveResponse>::default();
    let question = Request::new(asks([("taskKind", kind)]));
    client.server_streaming(question, path, codec).await.map(Response::into_inner)
}

#[tokio::test]
async fn changes_are_streamed_and_nothing_else() {
    let serving = serving().await;
    let sender = connect(serving.address).await;
    let mut answers = watch(&sender, "segment").await.unwrap();
    let mut next = async || timeout(PATIENCE, answers.message()).await.expect("in time");
    assert_eq!(next().await.unwrap(), Some(IsActiveResponse { result: true }));
    // Other numbers and the same answer: not said again. Then the answer changes, twice.
    serving.snapshots.send_replace(Some(snapshot(9, 9)));
    tokio::task::yield_now().await;
    serving.snapshots.send_replace(Some(Snapshot::default()));
    assert_eq!(next().await.unwrap(), Some(IsActiveResponse { result: false }));
    serving.snapshots.send_replace(Some(snapshot(1, 0)));
    assert_eq!(next().await.unwrap(), Some(IsActiveResponse { result: true }));
    // The coordinator ends: an error, and not "no work", which would end every prover.
    drop(serving.snapshots);
    assert_eq!(next().await.unwrap_err().code(), Code::Unavailable);
    let refused = ask::<_, IsActiveResponse>(&sender, "IsActive", asks([("taskKind", "wrap")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn streams_are_bounded_and_given_back() {
    let serving = serving().await;
    let mut streams = Vec::new();
    let mut senders = Vec::new();
    // One connection may not hold all of them.
    let in_one = STREAMS_MAX as usize - 1;
    while streams.len() < WATCHERS_MAX {
        if streams.len() % in_one == 0 {
            senders.push(connect(serving.address).await);
        }
        let mut answers = watch(senders.last().unwrap(), "segment").await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(IsActiveResponse { result: true }));
        streams.push(answers);
    }
    let sender = connect(serving.address).await;
    let refused = watch(&sender, "segment").await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    // Questions are answered all the same.
    assert_eq!(metric(&sender, &asks([("taskKind", "merge")])).await.unwrap().0, 7);
    // One that ends makes room for another, as soon as the server has heard of it.
    streams.pop();
    let again = async {
        loop {
            match watch(&sender, "segment").await {
                Ok(answers) => return answers,
                Err(refused) => assert_eq!(refused.code(), Code::ResourceExhausted),
            }
        }
    };
    timeout(PATIENCE, again).await.expect("room");
    // The server ends although watchers are there.
    serving.stop.cancel();
    timeout(PATIENCE, serving.running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_http2_is_closed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let serving = serving().await;
    let mut connection = TcpStream::connect(serving.address).await.unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Either end is fine, and neither hangs.
    let _ = timeout(PATIENCE, connection.read_to_end(&mut answer)).await.expect("closed");
    let sender = connect(serving.address).await;
    assert_eq!(metric(&sender, &asks([("taskKind", "merge")])).await.unwrap().0, 7);
}

#[tokio::test]
async fn before_the_first_numbers_nothing_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (snapshots, latest) = watch::channel(None);
    let stop = CancellationToken::new();
    let running = tokio::spawn(serve(listener, latest, stop.clone()));
    let sender = connect(address).await;
    let refused = ask::<_, IsActiveResponse>(&sender, "IsActive", asks([("taskKind", "wrap")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let mut answers = watch(&sender, "segment").await.unwrap();
    snapshots.send_replace(Some(snapshot(1, 0)));
    assert_eq!(timeout(PATIENCE, answers.message()).await.unwrap().unwrap(), Some(IsActiveResponse { result: true }));
    stop.cancel();
    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}
