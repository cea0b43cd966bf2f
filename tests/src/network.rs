//! The network between the extension and a destination, with the faults of networks on demand.
//!
//! What a destination itself does wrong is scripted there ([`crate::Answer`]).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::record::Record;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection is reset when it has carried so many bytes to the destination.
    ResetAfter(usize),
    /// The destination's answer is thrown away, and the connection reset.
    LoseAnswer,
    /// The destination's answer comes byte by byte, with this pause before each.
    Drip(Duration),
}

/// Load balancers drop an idle connection after a minute; a test has less time.
const LONG_FREEZE: Duration = Duration::from_secs(1);

/// What becomes of bytes while the sandbox is frozen: Lambda stops its network, too. Answers always wait
/// for the thaw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Freeze {
    /// A request that was written before the freeze arrives.
    #[default]
    RequestArrives,
    /// It waits for the thaw.
    RequestWaits,
    /// The connection is reset at the thaw after a long freeze, as by a load balancer that has dropped it.
    Reset,
    /// The connection carries nothing after a long freeze, and nobody is told.
    Silent,
}

/// See the module's text. Dropping it closes the port and all connections.
pub struct Network {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    destination: SocketAddr,
    fault: watch::Sender<Fault>,
    freeze: watch::Sender<Freeze>,
    is_frozen: watch::Sender<bool>,
    /// Counts the calls of [`Network::cut`].
    cuts: watch::Sender<usize>,
    struck: Record<Instant>,
}

impl Network {
    /// Listens on a free port and carries everything to this `http://host:port`.
    pub async fn start(destination: &str) -> Network {
        let destination = destination.trim_start_matches("http://").parse().expect("host:port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            destination,
            fault: watch::Sender::new(Fault::None),
            freeze: watch::Sender::default(),
            is_frozen: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            struck: Record::default(),
        });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Network { address, shared, task }
    }

    /// Its base address, to be given to the extension.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, on every connection.
    pub fn always(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// What a freeze of the sandbox does, from now on.
    pub fn on_freeze(&self, freeze: Freeze) {
        self.shared.freeze.send_replace(freeze);
    }

    /// For the sandbox, which freezes and thaws the network with its processes.
    pub(crate) fn switch(&self) -> watch::Sender<bool> {
        self.shared.is_frozen.clone()
    }

    /// Closes every connection at once, as a peer does that has no patience with sleepers.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections a fault has struck, cuts included.
    pub fn struck(&self) -> usize {
        self.shared.struck.all().len()
    }

    /// Waits until that has happened so often; panics if it does not.
    pub async fn strikes(&self, count: usize) {
        let enough = |all: &[_]| (all.len() >= count).then_some(());
        self.shared.struck.find(enough).await.expect("a connection that the fault strikes");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new(); // ends with this task
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(shared.destination).await {
                carry(client, server, &shared).await;
            }
        });
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut cuts = shared.cuts.subscribe();
    let mut is_frozen = shared.is_frozen.subscribe();
    let (mut there, mut back) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut carried, mut frozen_at) = (0, Instant::now());
    loop {
        let done = tokio::select! {
            read = client.read(&mut there) => {
                let Ok(bytes @ 1..) = read else { return };
                let waits = *shared.freeze.borrow() != Freeze::RequestArrives;
                if waits && has_frozen_for_long(&mut is_frozen).await && is_struck(&mut client, shared).await {
                    break;
                }
                carried += bytes;
                match *shared.fault.borrow() {
                    Fault::ResetAfter(limit) if carried > limit => break,
                    _ => {}
                }
                server.write_all(&there[..bytes]).await
            }
            read = server.read(&mut back) => {
                let Ok(bytes @ 1..) = read else { return };
                let was_long = tokio::select! {
                    was_long = has_frozen_for_long(&mut is_frozen) => was_long,
                    _ = cuts.changed() => break,
                };
                if was_long && is_struck(&mut client, shared).await {
                    break;
                }
                let fault = *shared.fault.borrow();
                match fault {
                    Fault::LoseAnswer => break,
                    Fault::Drip(pause) => {
                        shared.struck.push(Instant::now());
                        drip(&mut client, &back[..bytes], pause).await
                    }
                    _ => client.write_all(&back[..bytes]).await,
                }
            }
            _ = is_frozen.changed() => {
                if *is_frozen.borrow_and_update() {
                    frozen_at = Instant::now();
                } else if frozen_at.elapsed() > LONG_FREEZE && is_struck(&mut client, shared).await {
                    break;
                }
                Ok(())
            }
            _ = cuts.changed() => break,
        };
        if done.is_err() {
            return;
        }
    }
    // Without lingering, closing a socket sends RST. Noted after that: who waits for it finds it done.
    let _ = client.set_zero_linger();
    drop(client);
    shared.struck.push(Instant::now());
}

/// Waits for the end of a freeze, if there is one. True if it was long.
async fn has_frozen_for_long(is_frozen: &mut watch::Receiver<bool>) -> bool {
    let began = Instant::now();
    let _ = is_frozen.wait_for(|frozen| !frozen).await; // without a sender the network is gone
    began.elapsed() > LONG_FREEZE
}

/// Whether the connection is reset at the thaw. One that falls silent does not return until the other end
/// closes it.
async fn is_struck(client: &mut TcpStream, shared: &Shared) -> bool {
    let freeze = *shared.freeze.borrow();
    if freeze == Freeze::Silent {
        shared.struck.push(Instant::now());
        while client.read(&mut [0; 4_096]).await.is_ok_and(|bytes| bytes > 0) {} // arrives nowhere
    }
    matches!(freeze, Freeze::Reset | Freeze::Silent)
}

async fn drip(client: &mut TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
    for byte in bytes {
        sleep(pause).await;
        client.write_all(&[*byte]).await?;
    }
    Ok(())
}
