//! The X-Ray headers of recent invocations, as INVOKE brings them.
//!
//! The X-Ray exporter needs the header of an invocation as long as its spans may arrive. Without INVOKE
//! events the list stays empty.
//!
//! Spans may wait in the spool for another process, and most do not name their invocation. So a file
//! beside the spool holds one line for each invocation, and a second file the lines before.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use trace_context::{TraceId, XrayHeader};
use tracing::debug;

use crate::lambda::extensions_api::Invoke;

/// More invocations than can wait in the spool for the end of an outage, at about 100 bytes each.
const REMEMBERED: usize = 1024;

/// The files of the last invocations and of those before, [`REMEMBERED`] each.
const FILE: &str = "trace-headers";
const EARLIER: &str = "trace-headers.earlier";

/// Shared by the lifecycle, which fills it, and the X-Ray exporter.
#[derive(Clone, Debug, Default)]
pub struct XrayContexts(Arc<Mutex<KnownContexts>>);

#[derive(Debug, Default)]
struct KnownContexts {
    /// Oldest first.
    invocations: VecDeque<InvocationContext>,
    disk: Option<ContextFile>,
}

#[derive(Debug, PartialEq, Eq)]
struct InvocationContext {
    request_id: String,
    began: SystemTime,
    header: Option<XrayHeader>,
}

#[derive(Debug)]
struct ContextFile {
    directory: PathBuf,
    /// Opened at the first write.
    file: Option<File>,
    /// Number of lines in [`FILE`]; `None` until it is read.
    lines: Option<usize>,
}

impl XrayContexts {
    /// Keeps headers in the spool's directory, and reads those of an earlier process. Reading happens at
    /// the first use, so that a cold start does not pay for it.
    pub fn kept_in(directory: &Path) -> Self {
        let disk = ContextFile { directory: directory.to_owned(), file: None, lines: None };
        Self(Arc::new(Mutex::new(KnownContexts { disk: Some(disk), ..KnownContexts::default() })))
    }

    pub fn on_invoke(&self, invoke: &Invoke, now: SystemTime) {
        let header = invoke.xray_header().as_deref().and_then(XrayHeader::parse);
        let traced =
            InvocationContext { request_id: invoke.request_id.clone(), began: now, header };
        let mut known = self.lock();
        if let Some(disk) = &mut known.disk
            && let Err(error) = disk.add(&traced)
        {
            debug!("X-Ray's header of an invocation is not kept on disk: {error}");
            known.disk = None;
        }
        if known.invocations.len() >= REMEMBERED {
            known.invocations.pop_front();
        }
        known.invocations.push_back(traced);
    }

    pub fn of_request(&self, request_id: &str) -> Option<XrayHeader> {
        self.last(|traced| traced.request_id == request_id)
    }

    /// The header of the last invocation in this X-Ray trace.
    pub fn of_root(&self, root: TraceId) -> Option<XrayHeader> {
        self.last(|traced| traced.header.is_some_and(|header| header.root == root))
    }

    /// The header of the last invocation that began at `time` or before: Lambda runs one after the other.
    pub fn at(&self, time: SystemTime) -> Option<XrayHeader> {
        self.last(|traced| traced.began <= time)
    }

    fn last(&self, is_it: impl Fn(&InvocationContext) -> bool) -> Option<XrayHeader> {
        self.lock().invocations.iter().rev().find(|traced| is_it(traced))?.header
    }

    fn lock(&self) -> MutexGuard<'_, KnownContexts> {
        // The lock is held for a few statements and never across an await.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let KnownContexts { invocations, disk: Some(disk) } = &mut *known
            && disk.lines.is_none()
        {
            *invocations = disk.read();
        }
        known
    }
}

impl InvocationContext {
    /// Unix milliseconds, request id and header, after a line end: a kill may have left a part of the
    /// line before.
    fn line(&self) -> String {
        let since = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = format!("\n{} {}", since.as_millis(), self.request_id);
        if let Some(header) = &self.header {
            let _ = write!(line, " {header}"); // a text takes everything
        }
        line
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let millis = Duration::from_millis(parts.next()?.parse().ok()?);
        Some(Self {
            began: UNIX_EPOCH.checked_add(millis)?,
            request_id: parts.next()?.to_owned(),
            header: parts.next().and_then(XrayHeader::parse),
        })
    }
}

impl ContextFile {
    fn read(&mut self) -> VecDeque<InvocationContext> {
        let read = |name| {
            let text = fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            text.lines().filter_map(InvocationContext::parse).collect::<Vec<_>>()
        };
        let (earlier, last) = (read(EARLIER), read(FILE));
        self.lines = Some(last.len());
        let mut found: VecDeque<_> = earlier.into_iter().chain(last).collect();
        found.drain(..found.len().saturating_sub(REMEMBERED));
        found
    }

    fn add(&mut self, traced: &InvocationContext) -> io::Result<()> {
        let path = self.directory.join(FILE);
        let mut lines = self.lines.unwrap_or_default();
        if lines >= REMEMBERED {
            fs::rename(&path, self.directory.join(EARLIER))?;
            (self.file, lines) = (None, 0);
        }
        self.lines = Some(lines + 1);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                fs::create_dir_all(&self.directory)?;
                none.insert(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        file.write_all(traced.line().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADER: &str =
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    fn begin(headers: &XrayContexts, number: u64, header: Option<&str>) {
        let event = json!({ "requestId": format!("r{number}"), "tracing": { "value": header } });
        let invoke: Invoke = serde_json::from_value(event).unwrap();
        headers.on_invoke(&invoke, UNIX_EPOCH + Duration::from_secs(number));
    }

    #[test]
    fn the_next_process_knows_what_this_one_knew() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("spool");
        let first = XrayContexts::kept_in(&directory);
        begin(&first, 1, Some(HEADER));
        begin(&first, 2, Some("Root=1-5759e988-bd862e3fe1be46a994272794;Sampled=0"));
        begin(&first, 3, None);

        let next = XrayContexts::kept_in(&directory);

        assert_eq!(next.of_request("r1"), XrayHeader::parse(HEADER));
        assert_eq!(next.of_request("r2").unwrap().sampled, Some(false));
        assert_eq!(next.of_request("r3"), None);
        assert_eq!(next.at(UNIX_EPOCH + Duration::from_secs(1)), XrayHeader::parse(HEADER));
        assert_eq!(next.lock().invocations, first.lock().invocations);
    }

    #[test]
    fn a_line_that_a_kill_cut_off_costs_no_other() {
        let directory = tempfile::tempdir().unwrap();
        begin(&XrayContexts::kept_in(directory.path()), 1, Some(HEADER));
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\n2 r2 Root=1-57")).unwrap();
        begin(&XrayContexts::kept_in(directory.path()), 3, Some(HEADER));

        let next = XrayContexts::kept_in(directory.path());

        assert_eq!(next.of_request("r1"), XrayHeader::parse(HEADER));
        assert_eq!(next.of_request("r2"), None);
        assert_eq!(next.of_request("r3"), XrayHeader::parse(HEADER));
    }

    #[test]
    fn memory_and_disk_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        for process in 0..3 {
            let headers = XrayContexts::kept_in(directory.path());
            for number in 0..1_000 {
                begin(&headers, process * 1_000 + number, Some(HEADER));
            }
            assert!(headers.lock().invocations.len() <= REMEMBERED);
        }

        let next = XrayContexts::kept_in(directory.path());

        assert_eq!(next.lock().invocations.len(), REMEMBERED);
        assert!(next.of_request("r2999").is_some() && next.of_request("r1976").is_some());
        let files = fs::read_dir(directory.path()).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 2 * 150 * REMEMBERED as u64, "{bytes}");
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("no-directory");
        fs::write(&file, "").unwrap();
        let headers = XrayContexts::kept_in(&file);

        begin(&headers, 1, Some(HEADER));

        assert!(headers.of_request("r1").is_some());
    }
}
