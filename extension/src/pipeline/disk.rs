//! The spool and the sums, opened with the first command: not in a cold start.

use std::{io, path::PathBuf};

use tracing::warn;

use super::{Core, DestinationSpec};
use crate::{
    config::Config,
    ledger::{Ledger, LedgerFile},
    spool::Spool,
};

/// See the module's documentation.
#[derive(Debug)]
pub(super) enum Disk {
    Unopened { directory: PathBuf, max_bytes: u64 },
    Open { sums: LedgerFile, written: Ledger },
    None,
}

impl Disk {
    /// `None` if no destination is worth a spool, or none is wanted.
    pub(super) fn new(specs: &[DestinationSpec], config: &Config) -> Self {
        if !specs.iter().any(|spec| spec.durable) || config.spool_bytes == 0 {
            return Self::None;
        }
        let (directory, max_bytes) = (config.spool_directory.clone(), config.spool_bytes);
        Self::Unopened { directory, max_bytes }
    }

    pub(super) fn open(&mut self, core: &mut Core) {
        let Self::Unopened { directory, max_bytes } = self else { return };
        let opened = Spool::open(directory, *max_bytes).and_then(|spool| {
            let routes = core.ledger().routes();
            Ok((spool, LedgerFile::open(&directory.join("sums"), routes)?))
        });
        *self = match opened {
            Ok((spool, (sums, ledger))) => {
                let ledger = ledger.unwrap_or_else(|| Ledger::new(core.ledger().routes()));
                let lost = core.use_spool(spool, ledger);
                if lost > 0 {
                    warn!("{lost} items of telemetry were lost with the last process");
                }
                Self::Open { sums, written: Ledger::new(0) }
            }
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::WouldBlock => "another process has it".to_owned(),
                    _ => error.to_string(),
                };
                let directory = directory.display();
                warn!("{directory} cannot be the spool, telemetry stays in memory: {reason}");
                Self::None
            }
        };
    }

    pub(super) fn write_sums(&mut self, ledger: &Ledger) {
        let Self::Open { sums, written } = self else { return };
        if written == ledger {
            return;
        }
        if let Err(error) = sums.write(ledger) {
            warn!("The sums cannot be written, a kill would not be noticed: {error}");
            *self = Self::None;
            return;
        }
        written.clone_from(ledger);
    }
}
