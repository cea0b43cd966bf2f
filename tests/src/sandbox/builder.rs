//! How a test describes the environment that it wants.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::machine::{self, Notes};
use super::process::Program;
use super::{Phase, Sandbox, routes};
use crate::binaries::binaries;
use crate::honeycomb::Honeycomb;
use crate::loopback;
use crate::network::Network;
use crate::proxy::Proxy;
use crate::rollbar::Rollbar;
use crate::store::Store;

/// The extension's executable, and so the name it registers with.
pub const EXTENSION: &str = "cruddur-telemetry";

/// Times that Lambda would set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) init: Duration,
    pub(crate) invocation: Duration,
    pub(crate) shutdown: Duration,
    pub(crate) runtime_shutdown: Duration,
}

/// What the machine needs to know.
pub(crate) struct Setup {
    pub(crate) function_name: String,
    pub(crate) function: Program,
    pub(crate) extensions: BTreeMap<String, Program>,
    /// The variables of the function's configuration: its extensions see them, too.
    pub(crate) customer: BTreeMap<String, String>,
    pub(crate) memory_mb: u64,
    pub(crate) limits: Limits,
    pub(crate) freezing: bool,
    pub(crate) networks: Vec<watch::Sender<bool>>,
    pub(crate) invoke_events: bool,
    /// Of a managed instance: how many invocations it runs at once.
    pub(crate) concurrency: Option<usize>,
    /// `on-demand`, `snap-start` or `lambda-managed-instances`.
    pub(crate) initialization_type: &'static str,
    pub(crate) tenant_id: Option<String>,
    /// Whether registering with the feature `accountId` succeeds.
    pub(crate) gives_account_id: bool,
}

/// Describes a sandbox; [`Builder::start`] makes it.
pub struct Builder {
    function_name: String,
    function: Option<Program>,
    extensions: BTreeMap<String, Option<Program>>,
    customer: BTreeMap<String, String>,
    limits: Limits,
    freezing: bool,
    networks: Vec<watch::Sender<bool>>,
    invoke_events: bool,
    concurrency: Option<usize>,
    initialization_type: &'static str,
    tenant_id: Option<String>,
    gives_account_id: bool,
    memory_mb: u64,
    demo_store: bool,
    /// Variables that hold a path in the sandbox's directory.
    paths: Vec<(String, String)>,
    otlp: SocketAddr,
}

impl Builder {
    pub(super) fn new(function_name: &str) -> Builder {
        let otlp = SocketAddr::from((loopback::own_address(), 4318));
        let customer = [
            ("CRUDDUR_OTLP_LISTEN".to_owned(), otlp.to_string()),
            ("CRUDDUR_OTLP_GRPC_LISTEN".to_owned(), grpc_address(otlp).to_string()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{otlp}")),
            // On a busy machine a slow answer must not use up the time for holds.
            ("CRUDDUR_HOLD_BANK_MS".to_owned(), "10000".to_owned()),
        ];
        Builder {
            function_name: function_name.to_owned(),
            function: None,
            extensions: BTreeMap::from([(EXTENSION.to_owned(), None)]),
            customer: BTreeMap::from(customer),
            // Init and shutdown as in Lambda; the runtime's slice of the latter as its emulator has it.
            limits: Limits {
                init: Duration::from_secs(10),
                invocation: Duration::from_secs(10),
                shutdown: Duration::from_secs(2),
                runtime_shutdown: Duration::from_millis(600),
            },
            freezing: true,
            networks: Vec::new(),
            invoke_events: true,
            concurrency: None,
            initialization_type: "on-demand",
            tenant_id: None,
            gives_account_id: true,
            memory_mb: 512,
            demo_store: false,
            // Each sandbox has a /tmp of its own.
            paths: vec![("CRUDDUR_SPOOL_DIR".to_owned(), "spool".to_owned())],
            otlp,
        }
    }

    /// Points the extension at this destination, with the right key.
    pub fn honeycomb(self, honeycomb: &Honeycomb) -> Builder {
        self.env("HONEYCOMB_API_KEY", honeycomb.key())
            .env("HONEYCOMB_API_ENDPOINT", &honeycomb.url())
    }

    /// Reports failures there, too.
    pub fn rollbar(self, rollbar: &Rollbar) -> Builder {
        self.env("ROLLBAR_ACCESS_TOKEN", rollbar.token()).env("ROLLBAR_ENDPOINT", &rollbar.url())
    }

    /// All four exporters. `aws` stands for X-Ray, which gets segments, and CloudWatch Logs.
    pub fn four_exporters(self, honeycomb: &Honeycomb, rollbar: &Rollbar, aws: &Proxy) -> Builder {
        self.honeycomb(honeycomb)
            .rollbar(rollbar)
            .env("CRUDDUR_EXPORTERS", "honeycomb,xray,cloudwatch,rollbar")
            .env("CRUDDUR_LOG_GROUP", "cruddur")
            .env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &aws.url())
            .env("AWS_ENDPOINT_URL_XRAY", &aws.url())
            .env("CRUDDUR_XRAY_TRANSPORT", "segments")
    }

    /// A variable of the function's configuration, for function and extension, as in Lambda.
    pub fn env(mut self, name: &str, value: &str) -> Builder {
        self.customer.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable that holds a path in the sandbox's own directory, which survives resets as `/tmp`
    /// does: `env_in_directory("CRUDDUR_SPOOL_DIR", "spool")`.
    pub fn env_in_directory(mut self, name: &str, file: &str) -> Builder {
        self.paths.push((name.to_owned(), file.to_owned()));
        self
    }

    /// The function alone: nobody listens at its OTLP address.
    pub fn without_extension(mut self) -> Builder {
        self.extensions.clear();
        self
    }

    /// Has the function post its spans elsewhere than to the extension's address.
    pub fn otlp_endpoint(self, url: &str) -> Builder {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    }

    /// Gives the function a new SQLite file with the demo data.
    pub fn demo_store(mut self) -> Builder {
        self.demo_store = true;
        self
    }

    /// Gives the function this store.
    pub fn store(mut self, store: &Store) -> Builder {
        for (name, value) in store.variables() {
            self.customer.insert(name.to_owned(), value);
        }
        self
    }

    /// Another program than the function's own.
    pub fn function(mut self, program: Program) -> Builder {
        self.function = Some(program);
        self
    }

    /// Another extension beside those it has, or another program in the place of one.
    pub fn extension(mut self, name: &str, program: Program) -> Builder {
        self.extensions.insert(name.to_owned(), Some(program));
        self
    }

    /// Whether processes are stopped (SIGSTOP) between invocations, as in Lambda; on by default.
    pub fn freezing(mut self, freezing: bool) -> Builder {
        self.freezing = freezing;
        self
    }

    /// The function's memory in megabytes; with 1,769 it has a whole core.
    pub fn memory(mut self, megabytes: u64) -> Builder {
        self.memory_mb = megabytes;
        self
    }

    /// This network is frozen with the processes.
    pub fn network(mut self, network: &Network) -> Builder {
        self.networks.push(network.switch());
        self
    }

    /// Refuses extensions that want INVOKE events, never freezes, and runs so many invocations at once:
    /// Lambda Managed Instances.
    pub fn managed_instances(self, concurrency: usize) -> Builder {
        let mut managed = self.without_invoke_events();
        managed.concurrency = Some(concurrency);
        managed.initialization_type = "lambda-managed-instances";
        managed
    }

    /// Refuses extensions that want INVOKE events, and never freezes.
    pub fn without_invoke_events(mut self) -> Builder {
        (self.freezing, self.invoke_events) = (false, false);
        self
    }

    /// Init makes a snapshot, and the first invocation restores it. Only one environment does so.
    pub fn snap_start(mut self) -> Builder {
        self.initialization_type = "snap-start";
        self
    }

    /// The environment belongs to this tenant.
    pub fn tenant(mut self, tenant_id: &str) -> Builder {
        self.tenant_id = Some(tenant_id.to_owned());
        self
    }

    /// Refuses to register an extension that asks for the account id.
    pub fn without_account_id(mut self) -> Builder {
        self.gives_account_id = false;
        self
    }

    /// How long an invocation may take; 10 s by default.
    pub fn function_timeout(mut self, limit: Duration) -> Builder {
        self.limits.invocation = limit;
        self
    }

    /// How long init may take; 10 s by default, as in Lambda.
    pub fn init_timeout(mut self, limit: Duration) -> Builder {
        self.limits.init = limit;
        self
    }

    /// How long shutdown may take, and how much of it is the runtime's; 2 s and 0.6 s by default.
    pub fn shutdown_limit(mut self, limit: Duration, runtime: Duration) -> Builder {
        self.limits.shutdown = limit;
        self.limits.runtime_shutdown = runtime;
        self
    }

    /// Where the extension will listen for OTLP: an address of this sandbox alone.
    pub fn otlp_address(&self) -> SocketAddr {
        self.otlp
    }

    /// The same for OTLP/gRPC.
    pub fn otlp_grpc_address(&self) -> SocketAddr {
        grpc_address(self.otlp)
    }

    /// Starts everything and waits for the end of init; panics with all logs if that fails.
    pub async fn start(self) -> Sandbox {
        let sandbox = self.launch().await;
        let phase = sandbox.phase_after(|phase| phase != Phase::Init).await;
        assert_eq!(phase, Phase::Ready, "init failed\n{}", sandbox.story());
        sandbox
    }

    /// Starts everything and waits for nothing: for tests of init itself.
    pub async fn launch(mut self) -> Sandbox {
        let directory = tempfile::Builder::new().prefix("cruddur-sandbox-").tempdir();
        let directory = directory.expect("a temporary directory");
        self.fill_directory(&directory);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let api = listener.local_addr().expect("a bound address");
        let (messages, inbox) = mpsc::unbounded_channel();
        let routes = routes::router(messages.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let notes = Notes::default();
        let otlp = self.otlp;
        let setup = self.setup();
        let started = machine::start(setup, api, notes.clone(), (messages.clone(), inbox));
        Sandbox {
            messages,
            phase: started.phase,
            notes,
            directory,
            api,
            otlp,
            tasks: [server.abort_handle(), started.task],
        }
    }

    fn fill_directory(&mut self, directory: &TempDir) {
        let path = directory.path();
        self.customer.insert("TMPDIR".to_owned(), path.display().to_string());
        for (name, file) in std::mem::take(&mut self.paths) {
            self.customer.insert(name, path.join(file).display().to_string());
        }
        if self.demo_store {
            let database = path.join("cruddur.sqlite");
            let variable = ("CRUDDUR_SQLITE", database.display().to_string());
            binaries().seed(std::slice::from_ref(&variable));
            self.customer.insert(variable.0.to_owned(), variable.1);
        }
    }

    fn setup(self) -> Setup {
        let binary = |name: &str| Program::Binary(binaries().path(name));
        let extensions = self.extensions.into_iter().map(|(name, program)| {
            let program = program.unwrap_or_else(|| binary(&name));
            (name, program)
        });
        Setup {
            function: self.function.unwrap_or_else(|| binary(&self.function_name)),
            extensions: extensions.collect(),
            function_name: self.function_name,
            customer: self.customer,
            memory_mb: self.memory_mb,
            limits: self.limits,
            freezing: self.freezing,
            networks: self.networks,
            invoke_events: self.invoke_events,
            concurrency: self.concurrency,
            initialization_type: self.initialization_type,
            tenant_id: self.tenant_id,
            gives_account_id: self.gives_account_id,
        }
    }
}

/// The address for OTLP/gRPC of the sandbox with this one for OTLP/HTTP.
pub(super) fn grpc_address(otlp: SocketAddr) -> SocketAddr {
    SocketAddr::new(otlp.ip(), 4317)
}
