//! What a process takes of the machine, as the kernel tells it.

use std::fs;
use std::time::Duration;

/// What it has computed so far, with all its threads that are alive.
pub fn cpu_time(pid: i32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let nanos = threads.flatten().filter_map(|thread| {
        // Time on the CPU comes first. Ticks, as in `stat`, would be too coarse.
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// The memory that it has now, in bytes.
pub fn rss_bytes(pid: i32) -> usize {
    status_bytes(pid, "VmRSS:")
}

/// The most memory that it has ever had, in bytes.
pub fn peak_rss_bytes(pid: i32) -> usize {
    status_bytes(pid, "VmHWM:")
}

/// How many descriptors it has open.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

fn status_bytes(pid: i32, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("kB") << 10
}
