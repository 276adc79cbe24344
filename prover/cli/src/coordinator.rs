//! `joule-prover coordinator`: a batch, proved by whoever joins.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use joule_machine::kernel_image;
use joule_prover_engine::{
    ArtefactStore, BatchProof, CircuitVerifier, ResultHeader, SegmentInput, TaskKind as EngineKind, batch_context,
};
use joule_prover_network::{
    Admission, ByEngine, CoordinatorHandle, Happening, Identity, Multiaddr, NetworkProver, Prices, Rules, ServeOptions,
    Terms, What, plan, serve,
};
use joule_tables::shape::Shape;
use serde::Serialize;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{broadcast::error::RecvError, mpsc},
};

use crate::{
    options::{Profile, ProofsOption},
    prove::{BatchOption, ProofFile, write},
    services::{Services, ServicesOption},
    settlement::{Settlement, hex},
};

/// Notices that wait to be read.
const NOTICES_MAX: usize = 256;

/// What to have proved.
#[derive(clap::Args)]
#[command(
    after_help = "Results, the log and the coordinator's key are kept in the folder: started again with it, nothing that was accepted is proven twice.

Examples:
  joule-prover coordinator --payments 64 --out batch --listen /ip4/127.0.0.1/tcp/9100
  joule-prover coordinator --batch batch/batch.input --out batch --json
  joule-prover coordinator --payments 64 --out batch --allow provers.txt    # who is not listed is told so, and its peer id"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    batch: BatchOption,
    /// Where results go.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Where provers come in.
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/9100")]
    listen: Vec<Multiaddr>,
    /// Provers that may join, and nobody else: a file with a peer id, an address that ends in one, or a prover's name on each line. Read at the start [default:
    /// everybody may join].
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// What a segment of the smallest shape pays on L2, in the base token's smallest unit; each larger shape pays twice as much.
    #[arg(long, default_value_t = 0, value_name = "AMOUNT")]
    price_segment: u128,
    /// What a merge pays.
    #[arg(long, default_value_t = 0, value_name = "AMOUNT")]
    price_merge: u128,
    /// What a wrap pays.
    #[arg(long, default_value_t = 0, value_name = "AMOUNT")]
    price_wrap: u128,
    /// Minutes within which the batch should be proven; later it is late, and no less wanted.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    within: u64,
    #[command(flatten)]
    services: ServicesOption,
    /// Go on answering after the batch is proven, until SIGTERM.
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    proofs: ProofsOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What became of a task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskReport {
    pub(crate) kind: &'static str,
    pub(crate) prover: String,
    pub(crate) payout: String,
    pub(crate) outcome: &'static str,
    /// From the lease to the verdict.
    pub(crate) seconds: f64,
    /// Decimal, because JSON's numbers are too small.
    pub(crate) price: String,
}

#[derive(Serialize)]
struct Report {
    segments: usize,
    profile: Profile,
    program: String,
    from: String,
    to: String,
    public_input: String,
    proof_file: PathBuf,
    result_file: PathBuf,
    seconds: f64,
    tasks: Vec<TaskReport>,
    /// Accepted results of each prover.
    provers: BTreeMap<String, usize>,
    /// What each payee is owed, decimal.
    owed: BTreeMap<String, String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    let (inputs, settlement) = arguments.batch.inputs(&arguments.out)?;
    let admission = arguments.allow.as_deref().map(Admission::of_file).transpose()?.unwrap_or_default();
    let verifier = arguments.proofs.load_for_this_version()?;
    let prices = Prices { segment: arguments.price_segment, merge: arguments.price_merge, wrap: arguments.price_wrap };
    let within = Duration::from_secs(60 * arguments.within);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let coordinator = Coordinator::start(&arguments.out, &arguments.listen, admission, verifier).await?;
        for address in coordinator.handle().addresses() {
            eprintln!("to help: joule-prover join --coordinator {address} --payout 0x…");
        }
        let services = Services::start(coordinator.handle(), &arguments.services).await?;
        let (proved, seconds) = coordinator.prove(&inputs, &arguments.out, prices, within).await?;
        let (result_file, proof_file) = files(arguments, &coordinator.verifier, &proved, settlement)?;
        let tasks = coordinator.tasks();
        let mut provers = BTreeMap::new();
        for task in tasks.iter().filter(|task| task.outcome == "accepted") {
            *provers.entry(task.prover.clone()).or_default() += 1;
        }
        let owed = coordinator.handle().owed().await?;
        let report = Report {
            segments: inputs.len(),
            profile: arguments.proofs.profile(),
            program: hex(&proved.statement.program.to_hash().0),
            from: hex(&proved.statement.from.0),
            to: hex(&proved.statement.to.0),
            public_input: hex(&proved.statement.public_input().0),
            proof_file,
            result_file,
            seconds,
            tasks,
            provers,
            owed: owed.into_iter().map(|(payee, amount)| (hex(&payee.0), amount.to_string())).collect(),
        };
        print(&report, arguments.json)?;
        if arguments.stay {
            stopped().await?;
        }
        coordinator.stop().await?;
        services.stop().await
    })
}

/// Waits for SIGTERM or Ctrl-C.
async fn stopped() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    println!("{} segments, {:.0} s", report.segments, report.seconds);
    for (prover, accepted) in &report.provers {
        println!("prover        {} did {accepted}", &prover[..12]);
    }
    for (payee, amount) in &report.owed {
        println!("owed          {payee} {amount}");
    }
    println!("public input  {}", report.public_input);
    println!("proof         {}", report.proof_file.display());
    println!("to verify     joule-prover verify {}", report.result_file.display());
    Ok(())
}

fn files(
    arguments: &Arguments,
    verifier: &CircuitVerifier,
    proved: &BatchProof,
    settlement: Option<Settlement>,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    let header = ResultHeader { kind: EngineKind::Wrap, profile: verifier.profile(), circuits: verifier.circuits() };
    let payload = [proved.statement.encode().as_slice(), proved.proof.words.as_flattened()].concat();
    let result_file = arguments.out.join("wrap.result");
    write(&result_file, &header.encode(&payload))?;
    let key = verifier.wrap_key().context("a verifier of wraps")?;
    let file = ProofFile::new(arguments.proofs.profile(), key.header.circuit.clone(), proved, settlement);
    let proof_file = arguments.out.join("proof.json");
    write(&proof_file, format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes())?;
    Ok((result_file, proof_file))
}

/// A coordinator that runs.
pub(crate) struct Coordinator {
    prover: NetworkProver,
    verifier: CircuitVerifier,
    running: tokio::task::JoinHandle<Result<(), joule_prover_network::ServeError>>,
    tasks: Arc<Mutex<Vec<TaskReport>>>,
}

impl Coordinator {
    pub(crate) async fn start(
        folder: &Path,
        listen: &[Multiaddr],
        admission: Admission,
        verifier: CircuitVerifier,
    ) -> anyhow::Result<Self> {
        let identity = Identity::of_file(&folder.join("coordinator.key"))?;
        let options = ServeOptions {
            identity,
            listen: listen.to_vec(),
            folder: folder.join("coordinator"),
            rules: Rules::default(),
            admission,
        };
        let (notices, received) = mpsc::channel(NOTICES_MAX);
        let (handle, running) = serve(options, Arc::new(ByEngine(verifier.clone())), notices).await?;
        let tasks = Arc::<Mutex<Vec<TaskReport>>>::default();
        let (mut happenings, told) = (handle.watch(), tasks.clone());
        tokio::spawn(async move {
            loop {
                match happenings.recv().await {
                    Ok(happening) => tell(&told, &happening),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        let prover = NetworkProver::new(handle, verifier.clone(), received)?;
        Ok(Self { prover, verifier, running, tasks })
    }

    pub(crate) fn handle(&self) -> &CoordinatorHandle {
        self.prover.coordinator()
    }

    pub(crate) fn tasks(&self) -> Vec<TaskReport> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a batch proved; its results go to `out`.
    pub(crate) async fn prove(
        &self,
        inputs: &[SegmentInput],
        out: &Path,
        prices: Prices,
        within: Duration,
    ) -> anyhow::Result<(BatchProof, f64)> {
        let start = Instant::now();
        let segments = plan(kernel_image(), self.verifier.program(), &Shape::ALL, inputs)?;
        let store = ArtefactStore::open(out, batch_context(&self.verifier.program(), self.verifier.profile(), inputs))?;
        // What was offered before is offered again as it was, so this deadline holds from the first start on.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let terms = Terms { deadline_ms: (now + within).as_millis() as u64, prices };
        let proved = self.prover.prove_batch(segments, &store, &terms).await?;
        Ok((proved, start.elapsed().as_secs_f64()))
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.handle().stop().await;
        Ok(self.running.await??)
    }
}

/// A line for a person, and a record.
fn tell(tasks: &Mutex<Vec<TaskReport>>, happening: &Happening) {
    let (kind, seconds) = (happening.kind, happening.milliseconds as f64 / 1e3);
    let outcome = match happening.what {
        What::Leased => {
            eprintln!("{kind}: {:?} has taken it", happening.prover);
            return;
        }
        What::Returned => "given back",
        What::Failed => "failed",
        What::Lapsed => "lapsed",
        What::Refused => "refused",
        What::Accepted => "accepted",
    };
    eprintln!("{kind}: {:?}, {outcome} after {seconds:.1} s", happening.prover);
    tasks.lock().unwrap_or_else(PoisonError::into_inner).push(TaskReport {
        kind: kind.as_str(),
        prover: happening.prover.to_string(),
        payout: hex(&happening.payout.0),
        outcome,
        seconds,
        price: happening.price.to_string(),
    });
}
