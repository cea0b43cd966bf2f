//! The destinations that leave items out.

use std::ops::BitOrAssign;

/// The destinations that do not get a payload, since a filter leaves all its items out there. A bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilteredAt(u8);

impl FilteredAt {
    pub const NOWHERE: Self = Self(0);
    pub const HONEYCOMB: Self = Self(1);
    pub const OTLP: Self = Self(2);
    pub const CLOUDWATCH: Self = Self(4);
    pub const EVERYWHERE: Self = Self(u8::MAX);

    /// The destinations that have separate filters.
    const NAMES: [(&'static str, Self); 3] =
        [("honeycomb", Self::HONEYCOMB), ("otlp", Self::OTLP), ("cloudwatch", Self::CLOUDWATCH)];

    /// Whether the destination of this name leaves the items out.
    pub fn includes(self, destination: &str) -> bool {
        let own = Self::NAMES.iter().find(|(name, _)| *name == destination);
        self == Self::EVERYWHERE || own.is_some_and(|(_, own)| self.0 & own.0 != 0)
    }

    pub fn is_nowhere(self) -> bool {
        self == Self::NOWHERE
    }
}

impl BitOrAssign for FilteredAt {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
