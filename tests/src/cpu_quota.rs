//! The CPU that Lambda gives to a sandbox: a share of a core by its memory, in periods of 20 ms.
//!
//! By the kernel's cgroups, version 2 or 1. Making one needs their files to be writable.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Length of a period, in microseconds.
const PERIOD_US: u64 = 20_000;

/// A function with so much memory has one core.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MEMORY_OF_A_CORE_MB: u64 = 1_769;

/// A group of processes that share a quota. Dropping it moves them back.
pub struct CpuQuota {
    group: PathBuf,
}

impl CpuQuota {
    /// The share of a function with so much memory. Fails where groups cannot be made.
    pub fn of_memory(memory_mb: u64) -> io::Result<CpuQuota> {
        let quota_us = PERIOD_US * memory_mb / MEMORY_OF_A_CORE_MB;
        let name = format!("cruddur-{}", uuid::Uuid::new_v4().simple());
        let root = Path::new("/sys/fs/cgroup");
        if has_cpu_controller(root) {
            let group = CpuQuota::make(root.join(name))?;
            fs::write(group.group.join("cpu.max"), format!("{quota_us} {PERIOD_US}"))?;
            return Ok(group);
        }
        let group = CpuQuota::make(root.join("cpu").join(name))?;
        fs::write(group.group.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
        fs::write(group.group.join("cpu.cfs_quota_us"), quota_us.to_string())?;
        Ok(group)
    }

    fn make(group: PathBuf) -> io::Result<CpuQuota> {
        fs::create_dir(&group)?;
        Ok(CpuQuota { group })
    }

    /// Moves a process with all its threads into the group.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        fs::write(self.group.join("cgroup.procs"), pid.to_string())
    }
}

/// Whether version 2 is mounted here and hands the CPU controller to its groups.
fn has_cpu_controller(root: &Path) -> bool {
    let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
    controllers.split_whitespace().any(|controller| controller == "cpu")
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        let members = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            let _ = fs::write(self.group.with_file_name("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.group);
    }
}
