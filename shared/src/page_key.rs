//! The place of an item in a list that is paged newest first.

use std::fmt::{self, Display};
use std::str::FromStr;

/// When an item was stored, and its id. The later item comes first, and of items of the same millisecond the one with the
/// greater id. Written `<ms>.<id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey<Id> {
    /// In milliseconds since 1970.
    pub at_ms: i64,
    /// Which item.
    pub id: Id,
}

impl<Id: Display> Display for PageKey<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at_ms, self.id)
    }
}

/// The text is not a page key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be <ms>.<id>")]
pub struct MalformedPageKey;

impl<Id: FromStr> FromStr for PageKey<Id> {
    type Err = MalformedPageKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at_ms, id) = text.split_once('.').ok_or(MalformedPageKey)?;
        Ok(Self { at_ms: at_ms.parse().map_err(|_| MalformedPageKey)?, id: id.parse().map_err(|_| MalformedPageKey)? })
    }
}
