//! The parts that run beside the event loop: receivers, processor, pipeline and timers.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::{error, warn};

use crate::config::{Config, Initialization};
use crate::exporter::honeycomb;
use crate::exporter::xray::config::XrayConfig;
use crate::flush::policy;
use crate::flush::policy::FlushKind;
use crate::flush::state::FlushState;
use crate::invocation::end::EndEvidence;
use crate::invocation::registry::Registry;
use crate::invocation::usage::UsageMeter;
use crate::lambda::extensions_api::error::ApiError;
use crate::lambda::extensions_api::{ExtensionsApi, Invoke, Shutdown};
use crate::lifecycle::otlp_port::OtlpPort;
use crate::otlp::payload::{Payload, SignalKind};
use crate::pipeline::{Pipeline, PipelineHandle, Trigger};
use crate::processor::Processor;
use crate::processor::failures::{FailureReporter, SPANS_FOLLOW};
use crate::processor::log_lines::LineEnricher;
use crate::processor::platform_spans::PlatformSpans;
use crate::receiver::body::BodyBudget;
use crate::receiver::otlp::grpc;
use crate::receiver::otlp::intake::OtlpReceiver;
use crate::receiver::posts::Posts;
use crate::receiver::server;
use crate::receiver::telemetry::TelemetryReceiver;
use crate::scrub::Scrubber;

/// How long SHUTDOWN waits for each of the last events: the end of a failed init, the end of an
/// unfinished invocation, and a report. Lambda delivers it within the 25 ms of the subscription, or
/// never.
const FINAL_EVENT_WAIT: Duration = Duration::from_millis(100);

/// The least limit for a POST of Lambda, however small the buffer is, since a rejected POST would be lost:
/// twice the subscribed bytes, and a line of some megabytes.
const MIN_TELEMETRY_BYTES: usize = 8 << 20;

/// The port for platform events with SnapStart: below the kernel's range for outgoing connections, so that no
/// connection of a copy takes it, and the next one after those of OTLP.
const SNAPSHOT_TELEMETRY_PORT: u16 = 4319;

pub(super) struct Extension {
    pub(super) pipeline: PipelineHandle,
    pub(super) has_exporters: bool,
    /// Whether a destination takes the function's lines.
    pub(super) wants_lines: bool,
    /// Whether lines are received: for a destination, or for failures in them.
    pub(super) reads_lines: bool,
    pub(super) invocations: Processor,
    pub(super) posts: Posts,
    /// Whether the flush state has the news of an earlier process's crash.
    pub(super) knows_crash: bool,
    pub(super) usage: UsageMeter,
    pub(super) stop: watch::Sender<bool>,
    pub(super) receivers: Vec<JoinHandle<()>>,
}

/// The bound addresses of the OTLP receivers.
pub(super) struct OtlpAddresses {
    http: SocketAddr,
    grpc: Option<SocketAddr>,
    /// `None` without the local page.
    page: Option<String>,
}

impl fmt::Display for OtlpAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OTLP is received at http://{}", self.http)?;
        self.grpc.map_or(Ok(()), |grpc| write!(f, " and, over gRPC, at http://{grpc}"))?;
        self.page.as_ref().map_or(Ok(()), |page| write!(f, ", and shown at {page}"))
    }
}

impl Extension {
    /// `account_id` is that of the function, if Lambda has named it.
    pub(super) fn start(config: &Config, account_id: Option<&str>, trigger: Trigger) -> Self {
        let registry = Registry::with_sampling(config.sampling().cloned());
        let exporters = config.exporters(Some(&registry));
        if exporters.is_empty() {
            warn!(
                "No exporter runs: neither is HONEYCOMB_API_KEY set, nor does CRUDDUR_EXPORTERS name one"
            );
        }
        let has_exporters = !exporters.is_empty();
        let wants_lines = exporters.iter().any(|it| it.spec().kinds.contains(&SignalKind::Lines));
        let new_reporter = |settings| FailureReporter::new(settings, registry.clone());
        let failures = config.failure_settings().map(new_reporter);
        let reads_lines = wants_lines || failures.is_some();
        let name = config.function_name.clone();
        let resource = config.resource_with(account_id);
        let platform = PlatformSpans::new(name, resource, registry.clone());
        let lines =
            reads_lines.then(|| LineEnricher::new(config.line_settings(), registry.clone()));
        let invocations = Processor::new(registry, platform, lines, failures);
        let (pipeline, handle) = Pipeline::new(exporters, &config.pipeline_settings(), trigger);
        let pipeline = pipeline
            .with_pending_failures(invocations.failure_counts())
            .with_sampling(honeycomb::KIND.name, invocations.registry());
        drop(supervised("pipeline", pipeline.run()));
        let has_core = config.hold_settings().has_core;
        Self {
            posts: Posts::new(handle.clone(), invocations.clone(), has_core),
            pipeline: handle,
            has_exporters,
            wants_lines,
            reads_lines,
            invocations,
            knows_crash: false,
            usage: UsageMeter::default(),
            stop: watch::Sender::new(false),
            receivers: Vec::new(),
        }
    }

    /// Fails if the address for OTLP/HTTP cannot be listened on; OTLP/gRPC is received nevertheless.
    pub(super) async fn receive_otlp(&mut self, config: &Config) -> std::io::Result<OtlpAddresses> {
        let receiver = Arc::new(OtlpReceiver {
            pipeline: self.pipeline.clone(),
            invocations: self.invocations.clone(),
            resource_defaults: config.resource_defaults(),
            max_body_bytes: config.buffer_bytes,
            room: BodyBudget::new(config.buffer_bytes.saturating_mul(2)),
            scrubber: Scrubber::configured(config.scrub.as_deref()),
            adds_xray_header: config.exporters.get::<XrayConfig>().is_some(),
        });
        let grpc = match config.otlp_grpc_listen {
            Some(address) => self.receive_otlp_over_grpc(address, &receiver).await,
            None => None,
        };
        let address = config.otlp_listen;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let advice = format!(
                "{address} cannot be listened on ({error}); CRUDDUR_OTLP_LISTEN names another"
            );
            std::io::Error::new(error.kind(), advice)
        })?;
        let http = listener.local_addr()?;
        let port = OtlpPort::new(receiver, config, self.stop.subscribe());
        let page = port.page_address(http);
        let serve = port.serve(listener, self.stop.subscribe());
        self.receivers.push(supervised("OTLP receiver", serve));
        Ok(OtlpAddresses { http, grpc, page })
    }

    /// `localhost` is 127.0.0.1 to one SDK and ::1 to another, so the former address includes the latter
    /// where it exists. Returns the bound address.
    async fn receive_otlp_over_grpc(
        &mut self,
        address: SocketAddr,
        receiver: &Arc<OtlpReceiver>,
    ) -> Option<SocketAddr> {
        let mut listeners = Vec::new();
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => warn!(
                "OTLP/gRPC is not received: {address} cannot be listened on ({error}); \
                 CRUDDUR_OTLP_GRPC_LISTEN names another address or is \"off\""
            ),
        }
        let bound = listeners.first().and_then(|it| it.local_addr().ok());
        if address.ip() == Ipv4Addr::LOCALHOST && !listeners.is_empty() {
            listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await.ok());
        }
        for listener in listeners {
            let receiver = Arc::clone(receiver);
            let handle = move |request| {
                let receiver = Arc::clone(&receiver);
                async move { grpc::handle(&receiver, request).await }
            };
            let serve = server::serve_http2(listener, self.stop.subscribe(), handle);
            self.receivers.push(supervised("OTLP/gRPC receiver", serve));
        }
        bound
    }

    /// Binds the listener before the subscription, since Lambda posts at once.
    pub(super) async fn receive_telemetry(
        &mut self,
        lambda: &ExtensionsApi,
        config: &Config,
    ) -> Result<(), ApiError> {
        let max_body_bytes = config.buffer_bytes.max(MIN_TELEMETRY_BYTES);
        const CALL: &str = "the Telemetry API listener";
        let unreachable =
            |source: std::io::Error| ApiError::Unreachable { call: CALL, source: source.into() };
        // Lambda posts to `sandbox.localdomain`, which may not be the loopback address.
        let port = match config.initialization {
            Initialization::SnapStart => SNAPSHOT_TELEMETRY_PORT,
            Initialization::OnDemand | Initialization::ManagedInstance => 0,
        };
        let listener = match TcpListener::bind(("0.0.0.0", port)).await {
            Err(error) if port != 0 => {
                warn!("Port {port} is in use ({error}); platform events come to another port");
                TcpListener::bind(("0.0.0.0", 0)).await
            }
            bound => bound,
        };
        let listener = listener.map_err(unreachable)?;
        let port = listener.local_addr().map_err(unreachable)?.port();
        let (pipeline, posts) = (self.pipeline.clone(), self.posts.clone());
        let receiver = TelemetryReceiver::new(pipeline, posts, max_body_bytes);
        let serve = receiver.serve(listener, self.stop.subscribe());
        self.receivers.push(supervised("telemetry receiver", serve));
        let types: &[_] = if self.reads_lines { &["platform", "function"] } else { &["platform"] };
        lambda.subscribe_telemetry(port, types).await
    }

    /// Flushes in the background, where no event shows the end of an invocation.
    pub(super) fn flush_every(&self, period: Duration) {
        let (pipeline, mut stop) = (self.pipeline.clone(), self.stop.subscribe());
        let posts = self.posts.clone();
        let flushes = async move {
            while timeout(period, stop.wait_for(|stopped| *stopped)).await.is_err() {
                posts.read().await;
                pipeline.flush(FlushKind::Background).await;
            }
        };
        drop(supervised("timer", flushes));
    }

    /// Reports gathered failures by a timer: without INVOKE events nothing else releases them.
    pub(super) fn spawn_failure_timer(&self) {
        if !self.invocations.wants_failures() {
            return;
        }
        let (pipeline, invocations) = (self.pipeline.clone(), self.invocations.clone());
        let mut stop = self.stop.subscribe();
        let reports = async move {
            while timeout(SPANS_FOLLOW, stop.wait_for(|stopped| *stopped)).await.is_err() {
                for failure in invocations.overdue_failures() {
                    let _ = pipeline.receive(failure).await; // as `Extension::enqueue` does
                }
            }
        };
        drop(supervised("timer", reports));
    }

    /// Handles the first INVOKE after a snapshot: from here on this process differs from its copies.
    pub(super) async fn begin_anew(&mut self) {
        // The generator's own seed is made of the hash keys, which the copies share.
        fastrand::seed(uuid::Uuid::new_v4().as_u64_pair().0);
        self.invocations.begin_anew();
        self.pipeline.begin().await;
    }

    /// Waits for the invocation's end and flushes its telemetry.
    pub(super) async fn handle_invoke(&mut self, invoke: &Invoke, flushing: &mut FlushState) {
        if self.pipeline.has_stopped() || !self.has_exporters {
            return; // reported when it did, or at the start
        }
        let now = Instant::now();
        let deadline = policy::deadline(invoke.deadline_ms, SystemTime::now(), now);
        // A waiting failure may be reported with INVOKE, and shows the lines before it.
        if self.posts.has_core() || self.invocations.has_evidence() {
            self.posts.read().await;
        }
        let (attempt, earlier) = self.invocations.on_invoke(invoke);
        self.enqueue(earlier).await;
        let registry = self.invocations.registry().clone();
        let outlook = self.pipeline.outlook().await;
        if outlook.follows_crash && !std::mem::replace(&mut self.knows_crash, true) {
            flushing.follow_crash();
        }
        if flushing.skips_end(&registry, outlook.usual) {
            return self.pipeline.held(Duration::ZERO).await;
        }
        let send = async || {
            self.posts.read().await;
            self.pipeline.flush(FlushKind::Background).await;
        };
        let ended = flushing.wait_for_end(&registry, attempt, deadline, send).await;
        let read_from = Instant::now();
        self.posts.read().await;
        let reading = read_from.elapsed();
        let known = registry.get(attempt);
        let has_failures = self.invocations.has_failures(attempt);
        let has_failed = has_failures || known.as_ref().is_some_and(|it| it.has_failed);
        let is_certain = known.is_some_and(|it| it.has_evidence(EndEvidence::is_certain));
        let wants_done = !is_certain || self.wants_lines || has_failures;
        let outlook = self.pipeline.outlook().await;
        // The invocation's lines arrive with `platform.runtimeDone`.
        let expected = outlook.usual.filter(|_| self.wants_lines);
        let answer_time = outlook.pending.max(expected);
        let kind = flushing.decide(deadline, (answer_time, wants_done, has_failed));
        if let FlushKind::Wait(until) = kind {
            if wants_done {
                flushing.wait_for_lines(&registry, attempt, until).await;
                self.posts.read().await;
            }
            let failures = self.invocations.conclude(attempt);
            self.enqueue(failures).await;
            registry.conclude(attempt);
        }
        self.pipeline.flush(kind).await;
        if kind == FlushKind::Begin {
            begin_requests().await;
        }
        registry.set_usage(attempt, self.usage.sample());
        let hold = ended.elapsed();
        flushing.spend(hold, reading);
        registry.set_hold(attempt, hold);
        self.pipeline.held(hold).await;
    }

    /// Awaits the last platform events, which arrive with the end of the sandbox, and enqueues their lines
    /// and failures.
    pub(super) async fn collect_final_events(&self, shutdown: &Shutdown) {
        let registry = self.invocations.registry();
        self.posts.read().await;
        if shutdown.is_failure() {
            let _ = timeout(FINAL_EVENT_WAIT, registry.wait_for_init()).await;
        }
        if let Some(unexplained) = registry.unexplained(shutdown) {
            let end = registry.wait_for(unexplained.id, EndEvidence::is_likely);
            let _ = timeout_at(Instant::now() + FINAL_EVENT_WAIT, end).await;
        }
        if let Some(unreported) = self.invocations.unreported() {
            let report = registry.wait_for(unreported, |it| it == EndEvidence::Report);
            let _ = timeout_at(Instant::now() + FINAL_EVENT_WAIT, report).await;
        }
        self.posts.read().await;
        self.enqueue(self.invocations.last_lines(shutdown)).await;
        self.enqueue(self.invocations.shut_down(shutdown)).await;
    }

    /// Enqueues payloads of our own. An error means that the pipeline has stopped, which [`supervised`]
    /// logs.
    pub(super) async fn enqueue(&self, signals: Vec<Payload>) {
        for signal in signals {
            let _ = self.pipeline.receive(signal).await;
        }
    }

    /// Stops the receivers, then drains and logs the stats. Returns the pipeline, which may be a second
    /// one.
    pub(super) async fn shut_down(mut self, config: &Config, until: Instant) -> PipelineHandle {
        self.stop.send_replace(true);
        for receiver in self.receivers.drain(..) {
            let _ = timeout_at(until, receiver).await;
        }
        if self.pipeline.has_stopped() {
            // A second pipeline counts the items of the first as lost, and sends its spool.
            let exporters = config.exporters(Some(self.invocations.registry()));
            let (pipeline, handle) =
                Pipeline::new(exporters, &config.pipeline_settings(), Trigger::Flush);
            let pipeline =
                pipeline.with_sampling(honeycomb::KIND.name, self.invocations.registry());
            drop(supervised("second pipeline", pipeline.run()));
            self.posts = Posts::new(handle.clone(), self.invocations.clone(), false);
            self.pipeline = handle;
        }
        self.posts.read().await;
        self.enqueue(self.invocations.last_failures()).await;
        self.pipeline.flush(FlushKind::Drain(until)).await;
        match self.pipeline.summary().await {
            Ok(summary) => summary.log_at_end(),
            Err(error) => error!("The stats of this process are unknown: {error}"),
        }
        self.pipeline
    }
}

/// Lets the workers and their connections run until their requests are written, as far as sockets take them
/// at once. Each turn runs every task that is ready; a request passes through four of them.
async fn begin_requests() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Starts a task and logs its panic.
fn supervised(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let task = tokio::spawn(task);
    tokio::spawn(async move {
        if let Err(error) = task.await {
            error!("The {name} has ended, so telemetry may be lost: {error}");
        }
    })
}
