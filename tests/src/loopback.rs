//! Addresses of this machine that a test has to itself.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of 127.0.0.0/8 that nobody else in this process has, and hardly anybody in another.
///
/// Linux answers on all of them, so each sandbox can use the port that an extension really has,
/// and a port of an own address where nobody was told to listen stays free.
pub(crate) fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    // 15 bits of the process, 8 of the count; never 127.0.*.
    let [_, high, middle, low] = (((process & 0x7fff) << 8) | (count & 0xff)).to_be_bytes();
    Ipv4Addr::new(127, high + 1, middle, low)
}
