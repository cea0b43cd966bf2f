//! Pages of lists, and the positions at which they begin.

use jiff::Timestamp;
use uuid::Uuid;

/// Which part of a list to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Most entries of the page.
    pub limit: usize,
    /// Where the page before ended: [`PageOf::next`]; `None` is the start.
    pub after: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct PageOf<T> {
    /// The entries, at most [`PageRequest::limit`].
    pub entries: Vec<T>,
    /// The position where the next page begins; `None` at the end. The next page may be empty.
    pub next: Option<String>,
}

/// The position of something in a list that is sorted by time, `<time>#<uuid>`.
pub fn position(created_at: Timestamp, uuid: Uuid) -> String {
    format!("{}#{uuid}", sortable(created_at))
}

/// The time and the id in a position; `None` for another kind of text.
pub fn parse_position(position: &str) -> Option<(Timestamp, Uuid)> {
    let (time, uuid) = position.split_once('#')?;
    Some((time.parse().ok()?, uuid.parse().ok()?))
}

/// Whether a text is a position exactly as [`position`] writes it.
pub fn is_position(text: &str) -> bool {
    parse_position(text).is_some_and(|(time, uuid)| position(time, uuid) == text)
}

/// A time of fixed width, so that times sort as text.
pub fn sortable(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
