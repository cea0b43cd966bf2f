//! Keeps where the events of raw posts belong, from their arrival until they are read.
//!
//! So the delay does not change the attempt of a line. The posts of an earlier process are attributed by the
//! request ids in them.

use std::{collections::BTreeMap, iter::Peekable, time::SystemTime, vec::IntoIter};

use memchr::memmem;

use crate::invocation::attempt::{AttemptId, LineOwner};
use crate::invocation::registry::Registry;
use crate::lambda::telemetry_event::{PlatformEvent, PlatformRecord, RawEvent};
use crate::otlp::post_codec::RawPost;

/// Most posts whose attributions are kept, of some 100 bytes each. The oldest ones are dropped first.
const MAX_POSTS: usize = 4_096;

/// By the number of the post.
#[derive(Debug, Default)]
pub(super) struct Attributions {
    by_post: BTreeMap<u64, Attribution>,
    last: u64,
}

/// Where the events of a post belong.
#[derive(Debug)]
pub(super) struct Attribution {
    /// When the post arrived.
    pub(super) owner: LineOwner,
    /// Oldest first.
    pub(super) platform: Vec<PlatformPlace>,
}

/// Where a platform event and the lines after it belong.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlatformPlace {
    /// Of the event in its post.
    pub(super) index: usize,
    pub(super) attempt: Option<AttemptId>,
    pub(super) owner: LineOwner,
}

impl Attributions {
    /// Takes the attribution of a post. `None` if an earlier process received the post.
    pub(super) fn take(&mut self, post: &RawPost<'_>) -> Option<Attribution> {
        self.by_post.remove(&post.number)
    }

    /// Returns the number of the post.
    pub(super) fn keep(&mut self, attribution: Attribution, arrived: SystemTime) -> u64 {
        let nanos = arrived.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        self.last = u64::try_from(nanos).unwrap_or_default().max(self.last + 1);
        self.by_post.insert(self.last, attribution);
        if self.by_post.len() > MAX_POSTS {
            self.by_post.pop_first();
        }
        self.last
    }
}

/// Where the events of a post belong, one after the other.
pub(super) enum Places<'a> {
    Kept {
        owner: LineOwner,
        platform: Peekable<IntoIter<PlatformPlace>>,
    },
    /// Of a post of an earlier process, whose attempts are not in the registry.
    Earlier {
        owner: LineOwner,
        registry: &'a Registry,
        arrived: SystemTime,
    },
}

impl<'a> Places<'a> {
    /// `attribution` is `None` for a post of an earlier process.
    pub(super) fn of(
        post: &RawPost<'_>,
        attribution: Option<Attribution>,
        registry: &'a Registry,
    ) -> Self {
        match attribution {
            Some(Attribution { owner, platform }) => {
                Self::Kept { owner, platform: platform.into_iter().peekable() }
            }
            None => Self::of_earlier(post, registry),
        }
    }

    fn of_earlier(post: &RawPost<'_>, registry: &'a Registry) -> Self {
        let arrived = post.arrived();
        let named = Some(post.request_id).filter(|id| !id.is_empty());
        let owner = named.and_then(|id| registry.of_evidence(id, Some(arrived), arrived)).into();
        Self::Earlier { owner, registry, arrived }
    }

    /// The attempt that the next event is about.
    pub(super) fn next(
        &mut self,
        index: usize,
        event: Option<&PlatformEvent>,
    ) -> Option<AttemptId> {
        match self {
            Self::Kept { owner, platform } => {
                let place = platform.next_if(|place| place.index == index)?;
                *owner = place.owner;
                place.attempt
            }
            Self::Earlier { owner, registry, arrived } => {
                let event = event?;
                let request_id = request_id(&event.record)?;
                let attempt = registry.of_evidence(request_id, Some(event.time), *arrived);
                if matches!(event.record, PlatformRecord::Start(_)) {
                    *owner = attempt.into();
                }
                attempt
            }
        }
    }

    pub(super) fn owner(&self) -> LineOwner {
        match self {
            Self::Kept { owner, .. } | Self::Earlier { owner, .. } => *owner,
        }
    }
}

fn request_id(record: &PlatformRecord) -> Option<&str> {
    match record {
        PlatformRecord::Start(start) => Some(&start.request_id),
        PlatformRecord::RuntimeDone(done) => Some(&done.request_id),
        PlatformRecord::Report(report) => Some(&report.request_id),
        PlatformRecord::Begin(_)
        | PlatformRecord::Init(_)
        | PlatformRecord::Restore(_)
        | PlatformRecord::Other => None,
    }
}

/// Finds the events of a post that are not lines of the function. Those are searched, not parsed.
pub(super) struct EventFinder {
    platform: memmem::Finder<'static>,
    extension: memmem::Finder<'static>,
}

impl EventFinder {
    pub(super) fn new() -> Self {
        Self {
            platform: memmem::Finder::new("\"platform."),
            extension: memmem::Finder::new("\"extension\""),
        }
    }

    /// Reads the event if it is one of the platform.
    pub(super) fn platform_event<'a>(
        &self,
        json: &'a str,
        arrived: SystemTime,
    ) -> Option<RawEvent<'a>> {
        self.platform.find(json.as_bytes())?;
        RawEvent::read(json, arrived).filter(|raw| raw.kind.starts_with("platform."))
    }

    /// Whether the event makes no line, since it is the output of an extension, perhaps of this one.
    pub(super) fn is_of_extension(&self, json: &str, arrived: SystemTime) -> bool {
        self.extension.find(json.as_bytes()).is_some()
            && RawEvent::read(json, arrived).is_some_and(|raw| raw.kind == "extension")
    }
}
