//! What is attacked, and how it is seen to go on.

use std::net::SocketAddr;

use cruddur_tests::usage::{descriptors, peak_rss_bytes};
use cruddur_tests::{Burst, EXTENSION, Exit, Honeycomb, Load, Party, Rollbar, Sandbox};

/// The extension's limit for a body, and for all that it holds.
pub(super) const BUFFER_BYTES: usize = 4 << 20;

/// The extension's limit for each receiver.
const MAX_CONNECTIONS: usize = 256;

/// What the process may grow to, whatever comes. Its debug build at rest takes about 15 MiB, a body may
/// be there twice, compressed and not, and Lambda's listener takes 16 MiB however small the buffer is.
const MAX_RSS_BYTES: usize = 80 << 20;

/// An extension under attack: the load and its destinations are as good as ever.
pub(super) struct Target {
    pub(super) honeycomb: Honeycomb,
    pub(super) rollbar: Rollbar,
    load: Load,
    sandbox: Sandbox,
    pub(super) otlp: SocketAddr,
    pub(super) otlp_grpc: SocketAddr,
    pub(super) telemetry: SocketAddr,
}

impl Target {
    pub(super) async fn start() -> Target {
        let (honeycomb, load) = (Honeycomb::start().await, Load::default());
        let rollbar = Rollbar::start().await;
        let builder = Sandbox::builder("load")
            .function(load.function())
            .honeycomb(&honeycomb)
            .rollbar(&rollbar)
            .env("CRUDDUR_BUFFER_BYTES", &BUFFER_BYTES.to_string())
            .memory(1_769) // large requests go on after the hold
            .freezing(false);
        let (otlp, otlp_grpc) = (builder.otlp_address(), builder.otlp_grpc_address());
        let sandbox = builder.start().await;
        let pid = sandbox.pid(Party::Extension(EXTENSION.to_owned())).await.expect("a process");
        let telemetry = telemetry_listener(pid);
        Target { honeycomb, rollbar, load, sandbox, otlp, otlp_grpc, telemetry }
    }

    /// Both receivers.
    pub(super) fn both(&self) -> [SocketAddr; 2] {
        [self.otlp, self.telemetry]
    }

    pub(super) fn traces(&self) -> String {
        format!("http://{}/v1/traces", self.otlp)
    }

    /// Good requests are answered, delivered and end their invocation; the process is the same one.
    pub(super) async fn assert_goes_on(&self, what: &str) {
        let reply = self.sandbox.invoke(Burst::SMALL.event()).await;
        self.sandbox.ended(&reply.request_id).await;
        self.honeycomb.server_span(&reply.request_id).await;
        assert_eq!(self.load.not_taken(), 0, "{what}");
        let pid = self.sandbox.pid(Party::Extension(EXTENSION.to_owned())).await;
        let peak = peak_rss_bytes(pid.unwrap_or_else(|| panic!("{what}: the extension is gone")));
        assert!(peak <= MAX_RSS_BYTES, "{what}: {} MiB", peak >> 20);
    }

    /// Both receivers together hold what they may, and the process little else.
    pub(super) async fn assert_descriptors_are_bounded(&self) {
        let pid = self.sandbox.pid(Party::Extension(EXTENSION.to_owned())).await;
        let open = descriptors(pid.expect("a process"));
        assert!(open < 2 * MAX_CONNECTIONS + 50, "{open} descriptors");
        assert!(open > MAX_CONNECTIONS, "{open} descriptors are no attack");
    }

    pub(super) async fn end(self) {
        let ended = self.sandbox.shutdown().await;
        assert_eq!(ended.extension, Some(Exit::Code(0)));
    }
}

/// The port on all addresses that only a subscriber to the Telemetry API listens on.
pub(crate) fn telemetry_listener(pid: i32) -> SocketAddr {
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the extension's descriptors")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(link.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the sockets of this machine");
    // local address, …, state (0A is LISTEN), …, inode
    let port = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.strip_prefix("00000000:")?;
        let is_it = fields.get(3) == Some(&"0A") && inodes.iter().any(|inode| inode == fields[9]);
        is_it.then(|| u16::from_str_radix(port, 16).expect("a port in hex"))
    });
    SocketAddr::from(([127, 0, 0, 1], port.expect("a listener for platform events")))
}
