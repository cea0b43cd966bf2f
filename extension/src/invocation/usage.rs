//! The resources that the sandbox uses, from `/proc`.
//!
//! | figure | source | of |
//! |---|---|---|
//! | CPU time, user and system | `/proc/PID/stat` | the processes that run, since the last sample |
//! | bytes received and sent | `/proc/net/dev`, all interfaces but `lo` | since the last sample |
//! | `/tmp` used | `statvfs` | now |
//! | descriptors, threads | `/proc/PID/fd`, `/proc/PID/stat` | now |
//!
//! A figure that the platform does not give is left out. A sample costs 0.05 ms of CPU time with one
//! process, and 0.01 ms more with each other one (`measure_sample`, debug build). It is taken after the reply.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Most processes of a sandbox. With more, these are not the processes of a sandbox, and sampling them would
/// take longer than 0.1 ms.
const MAX_PROCESSES: usize = 16;

/// The kernel's clock ticks in `/proc/PID/stat`, in milliseconds: `USER_HZ` is 100 on x86-64 and arm64.
const TICK_MS: u64 = 10;

/// What the sandbox used during one invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxUsage {
    cpu_user_ms: Option<u64>,
    cpu_system_ms: Option<u64>,
    received_bytes: Option<u64>,
    sent_bytes: Option<u64>,
    tmp_used_bytes: Option<u64>,
    descriptors: Option<u64>,
    threads: Option<u64>,
}

impl SandboxUsage {
    /// The known figures with the keys of their attributes.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let figures = [
            ("aws.lambda.cpu_user_ms", self.cpu_user_ms),
            ("aws.lambda.cpu_system_ms", self.cpu_system_ms),
            ("aws.lambda.received_bytes", self.received_bytes),
            ("aws.lambda.sent_bytes", self.sent_bytes),
            ("aws.lambda.tmp_used_bytes", self.tmp_used_bytes),
            ("aws.lambda.open_descriptors", self.descriptors),
            ("aws.lambda.threads", self.threads),
        ];
        figures.into_iter().filter_map(|(key, figure)| Some((key, figure?)))
    }
}

/// Takes a sample after each invocation.
#[derive(Debug)]
pub struct UsageMeter {
    proc: PathBuf,
    tmp: PathBuf,
    /// `None` before the first sample.
    last: Option<Counters>,
}

/// Counters that only grow.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    processes: Option<ProcessSums>,
    received_and_sent: Option<(u64, u64)>,
}

/// Sums over the processes.
#[derive(Clone, Copy, Debug, Default)]
struct ProcessSums {
    user_ticks: u64,
    system_ticks: u64,
    threads: u64,
    /// `None` if the descriptors of a process cannot be read.
    descriptors: Option<u64>,
}

impl Default for UsageMeter {
    fn default() -> Self {
        Self { proc: "/proc".into(), tmp: "/tmp".into(), last: None }
    }
}

impl UsageMeter {
    /// The first sample has no CPU time and no bytes, since those of init are in the counters.
    pub fn sample(&mut self) -> SandboxUsage {
        let now = Counters {
            processes: self.processes(),
            received_and_sent: received_and_sent(&self.proc),
        };
        let last = self.last.replace(now).unwrap_or_default();
        let cpu = last.processes.zip(now.processes);
        let bytes = last.received_and_sent.zip(now.received_and_sent);
        // A process that ended takes its time with it.
        let since = |last: u64, now: u64| now.saturating_sub(last);
        let cpu_ms = |ticks: fn(&ProcessSums) -> u64| {
            cpu.map(|(last, now)| since(ticks(&last), ticks(&now)) * TICK_MS)
        };
        SandboxUsage {
            cpu_user_ms: cpu_ms(|sums| sums.user_ticks),
            cpu_system_ms: cpu_ms(|sums| sums.system_ticks),
            received_bytes: bytes.map(|(last, now)| since(last.0, now.0)),
            sent_bytes: bytes.map(|(last, now)| since(last.1, now.1)),
            tmp_used_bytes: used_bytes(&self.tmp),
            descriptors: now.processes.and_then(|sums| sums.descriptors),
            threads: now.processes.map(|sums| sums.threads),
        }
    }

    /// `None` if there are more processes than a sandbox has, or none can be read.
    fn processes(&self) -> Option<ProcessSums> {
        let entries = fs::read_dir(&self.proc).ok()?.flatten();
        let is_process =
            |name: &std::ffi::OsString| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let names = entries.map(|entry| entry.file_name()).filter(is_process);
        let names: Vec<_> = names.take(MAX_PROCESSES + 1).collect();
        if names.is_empty() || names.len() > MAX_PROCESSES {
            return None;
        }
        let mut sums = ProcessSums { descriptors: Some(0), ..ProcessSums::default() };
        for directory in names.iter().map(|name| self.proc.join(name)) {
            // A process may end meanwhile.
            let Ok(stat) = fs::read_to_string(directory.join("stat")) else { continue };
            sums.add_stat(&stat)?;
            let open = fs::read_dir(directory.join("fd")).map(|it| it.count() as u64).ok();
            sums.descriptors = sums.descriptors.zip(open).map(|(sum, open)| sum + open);
        }
        Some(sums)
    }
}

impl ProcessSums {
    /// Adds the fields 14 (utime), 15 (stime) and 20 (`num_threads`).
    /// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
    fn add_stat(&mut self, stat: &str) -> Option<()> {
        // The name of the process, field 2, may hold blanks and brackets.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace(); // from field 3 on
        let mut skip = |count: usize| fields.nth(count)?.parse::<u64>().ok();
        self.user_ticks += skip(14 - 3)?;
        self.system_ticks += skip(0)?;
        self.threads += skip(20 - 16)?;
        Some(())
    }
}

/// <https://man7.org/linux/man-pages/man5/proc_pid_net.5.html>
fn received_and_sent(proc: &Path) -> Option<(u64, u64)> {
    let table = fs::read_to_string(proc.join("net/dev")).ok()?;
    let mut sums = None;
    for (name, figures) in table.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let mut figures = figures.split_ascii_whitespace();
        let received: u64 = figures.next()?.parse().ok()?;
        let sent: u64 = figures.nth(7)?.parse().ok()?;
        let (all_received, all_sent) = sums.unwrap_or((0, 0));
        sums = Some((all_received + received, all_sent + sent));
    }
    sums
}

fn used_bytes(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(proc: &Path, id: u32, ticks: (u64, u64), descriptors: u32) {
        let directory = proc.join(id.to_string());
        fs::create_dir_all(directory.join("fd")).unwrap();
        let (user, system) = ticks;
        let stat = format!("{id} (a ) b) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 3 0 7 8");
        fs::write(directory.join("stat"), stat).unwrap();
        (0..descriptors).for_each(|fd| fs::write(directory.join(format!("fd/{fd}")), "").unwrap());
    }

    fn network(proc: &Path, received: u64, sent: u64) {
        fs::create_dir_all(proc.join("net")).unwrap();
        let row = |name: &str, bytes: (u64, u64)| {
            format!("{name}: {} 1 0 0 0 0 0 0 {} 1 0 0 0 0 0 0\n", bytes.0, bytes.1)
        };
        let head = "Inter-|   Receive\n face |bytes    packets\n";
        let rows = row("    lo", (7, 7)) + &row("  eth0", (received, sent));
        fs::write(proc.join("net/dev"), head.to_owned() + &rows).unwrap();
    }

    fn meter(proc: &Path) -> UsageMeter {
        UsageMeter { proc: proc.to_owned(), tmp: proc.join("absent"), last: None }
    }

    #[test]
    fn an_invocations_usage_is_the_growth_of_the_counters_and_the_state_at_its_end() {
        let proc = tempfile::tempdir().unwrap();
        let mut meter = meter(proc.path());
        process(proc.path(), 1, (100, 50), 4);
        network(proc.path(), 1_000, 2_000);
        let first = meter.sample();

        process(proc.path(), 1, (103, 51), 5);
        process(proc.path(), 12, (2, 0), 1);
        network(proc.path(), 1_500, 2_100);
        let second = meter.sample();

        let (descriptors, threads) = (Some(4), Some(3));
        assert_eq!(first, SandboxUsage { descriptors, threads, ..SandboxUsage::default() });
        let expected = SandboxUsage {
            cpu_user_ms: Some(50),
            cpu_system_ms: Some(10),
            received_bytes: Some(500),
            sent_bytes: Some(100),
            tmp_used_bytes: None,
            descriptors: Some(6),
            threads: Some(6),
        };
        assert_eq!(second, expected);
    }

    #[test]
    fn a_figure_that_cannot_be_read_is_left_out() {
        let proc = tempfile::tempdir().unwrap();
        let mut meter = meter(proc.path());
        assert_eq!(meter.sample(), SandboxUsage::default(), "nothing is there");

        fs::create_dir_all(proc.path().join("7")).unwrap();
        fs::write(proc.path().join("7/stat"), "7 (x) S nonsense").unwrap();
        fs::create_dir_all(proc.path().join("net")).unwrap();
        fs::write(proc.path().join("net/dev"), "eth0: x y\n").unwrap();
        assert_eq!(meter.sample(), SandboxUsage::default(), "nothing is readable");

        for id in 100..100 + MAX_PROCESSES as u32 + 1 {
            process(proc.path(), id, (1, 1), 1);
        }
        assert_eq!(meter.sample(), SandboxUsage::default(), "a machine, no sandbox");
    }

    #[test]
    #[ignore = "a measurement; run it with --release"]
    fn measure_sample() {
        let mut meter = UsageMeter::default();
        let began = crate::test_clock::cpu_time();
        for _ in 0..1_000 {
            meter.sample();
        }
        let took = (crate::test_clock::cpu_time() - began) / 1_000;
        eprintln!("{took:?} a sample: {:?}", meter.sample());
    }
}
