//! Opens the spool and the sums' file with the first command, so that init does not pay for it.
//!
//! One process owns the directory: it locks the sums' file before it touches anything else. A second
//! process on the directory (an overlapping reset, a second local run) keeps its telemetry in memory,
//! logs that once, and takes the directory over with the first flush after the first process is gone.

use std::{fs, io, path::PathBuf, time::SystemTime};

use tracing::warn;

use crate::delivery::DestinationSpec;
use crate::pipeline::core::state::Core;
use crate::pipeline::settings::PipelineSettings;
use crate::pipeline::spool::Spool;
use crate::pipeline::sums::SumsFile;

#[derive(Debug)]
pub(super) enum PipelineDisk {
    Unopened(SpoolSettings),
    /// Another process owns the directory.
    Taken(SpoolSettings),
    Open {
        sums: SumsFile,
        /// Whether a failed write was logged.
        reported: bool,
    },
    None,
}

#[derive(Clone, Debug)]
pub(super) struct SpoolSettings {
    directory: PathBuf,
    max_bytes: u64,
}

impl PipelineDisk {
    /// `None` if no destination is durable, or the spool is off.
    pub(super) fn new(specs: &[DestinationSpec], settings: &PipelineSettings) -> Self {
        if !specs.iter().any(|spec| spec.durable) || settings.spool_bytes == 0 {
            return Self::None;
        }
        let (directory, max_bytes) = (settings.spool_directory.clone(), settings.spool_bytes);
        Self::Unopened(SpoolSettings { directory, max_bytes })
    }

    pub(super) fn open(&mut self, core: &mut Core) {
        let Self::Unopened(settings) = self else { return };
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        core.number_from(u64::try_from(epoch.as_nanos()).unwrap_or_default());
        *self = settings.clone().open(core);
        if let Self::Taken(settings) = self {
            let directory = settings.directory.display();
            warn!("Another process has {directory}, telemetry stays in memory until it ends");
        }
    }

    /// Opens the directory if the process that owned it is gone.
    pub(super) fn take_over(&mut self, core: &mut Core) {
        if let Self::Taken(settings) = self {
            *self = settings.clone().open(core);
        }
    }

    /// Writes changed sums, and removes what is no longer needed. The next call retries a failed write.
    pub(super) fn write_sums(&mut self, core: &mut Core) {
        let Self::Open { sums, reported } = self else { return };
        match sums.write(&core.sums()) {
            Ok(()) => core.remove_finished(),
            Err(error) => {
                core.forget_out_of_order();
                if !std::mem::replace(reported, true) {
                    warn!("The sums cannot be written, a kill would not be noticed: {error}");
                }
            }
        }
    }
}

impl SpoolSettings {
    fn open(self, core: &mut Core) -> PipelineDisk {
        let Self { directory, max_bytes } = &self;
        let opened = fs::create_dir_all(directory).and_then(|()| {
            let sums = SumsFile::open(&directory.join("sums"))?;
            Ok((sums, Spool::open(directory, *max_bytes, &core.names())?))
        });
        match opened {
            Ok(((file, sums), (spool, recovered))) => {
                let lost = core.use_spool(spool, recovered, sums);
                if lost > 0 {
                    warn!("{lost} items of telemetry were lost with the last process");
                }
                PipelineDisk::Open { sums: file, reported: false }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => PipelineDisk::Taken(self),
            Err(error) => {
                let directory = directory.display();
                warn!("{directory} cannot be the spool, telemetry stays in memory: {error}");
                PipelineDisk::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, otlp::payload::SignalKind, pipeline::Trigger};

    fn specs() -> Vec<DestinationSpec> {
        vec![DestinationSpec {
            name: "durable",
            kinds: vec![SignalKind::Traces],
            durable: true,
            max_items: u64::MAX,
            keeps_duplicates: true,
        }]
    }

    fn process(directory: &tempfile::TempDir) -> (PipelineDisk, Core) {
        let path = directory.path().join("spool").display().to_string();
        let (config, _) =
            Config::from_vars(|name| (name == "CRUDDUR_SPOOL_DIR").then(|| path.clone()));
        (
            PipelineDisk::new(&specs(), &config.pipeline_settings()),
            Core::new(specs(), 1_000, Trigger::Flush, 1),
        )
    }

    #[test]
    fn of_two_processes_one_has_the_spool_and_the_other_touches_nothing_until_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (mut disk, mut core) = process(&directory);
        disk.open(&mut core);
        let unfinished = directory.path().join("spool/0.others.unfinished");
        fs::write(&unfinished, b"being written").unwrap();

        let (mut other, mut others_core) = process(&directory);
        other.open(&mut others_core);
        assert!(unfinished.exists());
        assert!(
            matches!(disk, PipelineDisk::Open { .. })
                && !matches!(other, PipelineDisk::Open { .. })
        );

        drop(disk);
        other.take_over(&mut others_core);
        assert!(matches!(other, PipelineDisk::Open { .. }));
        assert!(!unfinished.exists());
    }
}
