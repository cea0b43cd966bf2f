//! What became of every span: told by the ids at both ends, not by the extension.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use cruddur_tests::otlp::spans_of;
use cruddur_tests::{Answer, Honeycomb, Load, Sandbox, What};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::Value;

/// The end of a row. Spans that are the extension's own are in none of the sets but `all_…`.
#[derive(Debug)]
pub(super) struct Outcome {
    title: String,
    /// Ids that the extension has taken.
    sent: HashSet<String>,
    /// How often the destination has stored each id, the extension's own spans included.
    all_stored: HashMap<String, usize>,
    /// Ids in the files of the spool, likewise.
    all_spooled: HashSet<String>,
    /// How long the extension kept Next to itself after the function's own Next, for each
    /// invocation that ended well.
    pub(super) holds: Vec<Duration>,
    /// The extension's last word about its spans.
    sums: Option<Sums>,
    pub(super) story: String,
}

/// From the summary in the extension's log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    received: usize,
    delivered: usize,
    held: usize,
    spooled: usize,
    pub(super) rejected: usize,
    pub(super) killed: usize,
    /// For all reasons together.
    dropped: usize,
}

impl Outcome {
    /// Of a destination that the extension calls `name`, with the ids that it has stored.
    pub(super) fn of(
        title: &str,
        load: &Load,
        (name, stored): (&str, Vec<String>),
        sandbox: &Sandbox,
    ) -> Outcome {
        let mut all_stored = HashMap::new();
        for id in stored {
            *all_stored.entry(id).or_default() += 1;
        }
        Outcome {
            title: title.to_owned(),
            sent: load.sent(),
            all_stored,
            all_spooled: spooled(&sandbox.directory().join("spool"), name),
            holds: holds(sandbox),
            sums: Sums::last_of(&sandbox.extension_log_lines(), name),
            story: sandbox.story(),
        }
    }

    pub(super) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Sent spans that Honeycomb has.
    pub(super) fn delivered(&self) -> usize {
        self.sent.iter().filter(|id| self.all_stored.contains_key(*id)).count()
    }

    /// Sent spans that Honeycomb has more than once.
    pub(super) fn duplicated(&self) -> usize {
        self.sent
            .iter()
            .filter(|id| self.all_stored.get(*id).is_some_and(|count| *count > 1))
            .count()
    }

    /// Sent spans that only the spool has.
    pub(super) fn spooled(&self) -> usize {
        let only =
            |id: &&String| !self.all_stored.contains_key(*id) && self.all_spooled.contains(*id);
        self.sent.iter().filter(only).count()
    }

    /// Sent spans that nobody has.
    pub(super) fn lost(&self) -> usize {
        self.sent() - self.delivered() - self.spooled()
    }

    /// Of all invocations that ended well.
    pub(super) fn longest_hold(&self) -> Duration {
        self.holds.iter().max().copied().unwrap_or_default()
    }

    /// The extension's own account.
    pub(super) fn sums(&self) -> Sums {
        self.sums.unwrap_or_else(|| panic!("the extension told no sums\n{}", self.story))
    }

    /// All that was sent is at Honeycomb, once.
    pub(super) fn assert_delivered_once(&self) {
        assert_eq!((self.delivered(), self.duplicated()), (self.sent(), 0), "{}", self.story);
    }

    /// All that was sent is at Honeycomb, some of it perhaps more than once.
    pub(super) fn assert_delivered(&self) {
        assert_eq!(self.delivered(), self.sent(), "{}", self.story);
    }

    /// All that was sent is in the spool.
    pub(super) fn assert_spooled(&self) {
        assert_eq!(self.spooled(), self.sent(), "{}", self.story);
    }

    /// Whatever happened, the extension's account agrees with the ids.
    pub(super) fn assert_the_sums_are_right(&self) {
        let (sums, story) = (self.sums(), &self.story);
        let ends = sums.delivered + sums.held + sums.spooled + sums.dropped;
        assert_eq!(sums.received, ends, "{sums:?}\n{story}");
        assert_eq!(sums.held, 0, "{sums:?}\n{story}");
        assert_eq!(sums.spooled, self.all_spooled.len(), "{sums:?}\n{story}");
        assert!(sums.received >= self.sent(), "{sums:?}\n{story}");
        assert!(sums.delivered <= self.all_stored.len(), "{sums:?}\n{story}");
        assert!(sums.dropped >= self.lost(), "{} lost, {sums:?}\n{story}", self.lost());
        if sums.dropped == 0 {
            let stored = self.all_stored.keys().collect::<HashSet<_>>();
            let somewhere = self.all_spooled.iter().collect::<HashSet<_>>().union(&stored).count();
            assert_eq!(sums.received, somewhere, "{sums:?}\n{story}");
        }
    }

    /// A line for `make faults`, in the file that it names.
    pub(super) fn print(&self) {
        let longest = self.longest_hold();
        let row = format!(
            "{:<48}{:>8}{:>11}{:>12}{:>9}{:>9}{:>11} ms\n",
            self.title,
            self.sent(),
            self.delivered(),
            self.duplicated(),
            self.spooled(),
            self.lost(),
            longest.as_millis(),
        );
        if let Some(path) = std::env::var_os("CRUDDUR_FAULT_TABLE") {
            let table = std::fs::File::options().create(true).append(true).open(path);
            table.expect("the table's file").write_all(row.as_bytes()).expect("a row");
        }
    }
}

/// Ids of all spans that a Honeycomb has stored: it decoded them, and meant to say 200.
pub(super) fn stored(honeycomb: &Honeycomb) -> Vec<String> {
    let mut ids = Vec::new();
    for request in honeycomb.requests().iter().filter(|request| request.status == Some(200)) {
        let body = request.decoded().expect("a body that was taken");
        let spans = spans_of(&body).expect("a request that was taken");
        // Which ones a partial success refuses is up to Honeycomb: here the first ones.
        let refused = match &request.answer {
            Answer::Canned { body, .. } => rejected_spans(body),
            _ => 0,
        };
        ids.extend(spans.into_iter().skip(refused).map(|span| span.span_id));
    }
    ids
}

fn rejected_spans(body: &[u8]) -> usize {
    let reply = ExportTraceServiceResponse::decode(body).expect("a reply to an export");
    let rejected = reply.partial_success.map_or(0, |partial| partial.rejected_spans);
    usize::try_from(rejected).expect("a count")
}

/// Ids of all spans in the records of a spool that this destination lacks. Reads the format that the
/// extension's `pipeline/spool/record.rs` and `pipeline/sums.rs` describe.
pub(super) fn spooled(directory: &Path, destination: &str) -> HashSet<String> {
    const TRACES: u8 = 0;
    const ZSTD: u8 = 4;
    let sums = std::fs::read(directory.join("sums")).unwrap_or_default();
    let mut rows = sums.get(40..).unwrap_or_default().chunks(136);
    let queue = format!("{destination}.traces\0");
    let row = rows.find(|row| row.starts_with(queue.as_bytes()));
    let watermark = row.map_or(0, |row| long_number(row, 32));
    let mut ids = HashSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("a listing").path();
        if path.extension().is_none_or(|extension| extension != "segment") {
            continue;
        }
        let file = std::fs::read(&path).expect("a segment");
        let names = &file[12..12 + number(&file, 8)];
        let names = std::str::from_utf8(names).expect("names of destinations");
        let place = names.split(',').position(|name| name == destination).expect("its place");
        let mut rest = &file[12 + names.len()..];
        while rest.len() >= 44 {
            let (header, bytes) = (&rest[..44], number(rest, 12));
            let body = &rest[44..44 + bytes];
            let is_lacked = number(header, 24) & (1 << place) != 0;
            if header[20] == TRACES && is_lacked && long_number(header, 28) >= watermark {
                let is_zstd = header[21] & ZSTD != 0;
                let plain = is_zstd.then(|| zstd::decode_all(body).expect("whole frames"));
                let spans = spans_of(plain.as_deref().unwrap_or(body)).expect("a request");
                ids.extend(spans.into_iter().map(|span| span.span_id));
            }
            rest = &rest[44 + bytes..];
        }
    }
    ids
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

fn long_number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn holds(sandbox: &Sandbox) -> Vec<Duration> {
    let journal = sandbox.journal();
    let ended = journal.entries().iter().filter_map(|entry| match &entry.what {
        What::InvokeEnded { request_id, status: "success" } => Some(request_id),
        _ => None,
    });
    ended
        .map(|id| {
            let hold = journal.hold_of_next(id).expect("a Next");
            hold.saturating_sub(journal.runtime_overhead(id).expect("a Next of the runtime"))
        })
        .collect()
}

impl Sums {
    /// Of the last line that tells any.
    fn last_of(lines: &[String], destination: &str) -> Option<Sums> {
        let line = lines.iter().rfind(|line| line.contains("Summary: "))?;
        let (_, json) = line.split_once("Summary: ")?;
        let summary: Value = serde_json::from_str(json).expect("a summary in JSON");
        let spans = &summary["destinations"][destination]["traces"];
        let count = |sum: &Value| sum.as_u64().unwrap_or(0) as usize;
        let dropped = spans["dropped"].as_object();
        Some(Sums {
            received: count(&spans["received"]),
            delivered: count(&spans["delivered"]),
            held: count(&spans["held"]),
            spooled: count(&spans["spooled"]),
            rejected: count(&spans["dropped"]["rejected"]),
            killed: count(&spans["dropped"]["killed"]),
            dropped: dropped.into_iter().flat_map(|reasons| reasons.values()).map(count).sum(),
        })
    }
}
