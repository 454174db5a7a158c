//! Cursors: positions in the history of an inbox.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Identifies one life of an inbox's history. Offsets of different epochs cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A position in one user's inbox, `<epoch>.<offset>` on the wire: 16 lower-case hexadecimal digits and a decimal
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The life of the inbox that the offset belongs to.
    pub epoch: Epoch,
    /// How many changes the inbox has had: 0 before the first.
    pub offset: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.offset)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor must have the form <epoch>.<offset>, as returned by the API")]
pub struct MalformedCursor;

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, offset) = text.split_once('.').ok_or(MalformedCursor)?;
        let cursor = Self {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| MalformedCursor)?),
            offset: offset.parse().map_err(|_| MalformedCursor)?,
        };
        // Every cursor has one spelling; the parsers also accept `+7`, `007`, capitals and a minus.
        (cursor.offset >= 0 && cursor.to_string() == text).then_some(cursor).ok_or(MalformedCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_a_round_trip() {
        let cursor = Cursor { epoch: Epoch(0x00ab_cdef_0123_4567), offset: 42 };
        assert_eq!(cursor.to_string(), "00abcdef01234567.42");
        assert_eq!("00abcdef01234567.42".parse(), Ok(cursor));
    }

    #[test]
    fn a_malformed_cursor_is_refused() {
        for text in [
            "",
            ".",
            "42",
            "00abcdef01234567",
            "00abcdef01234567.",
            ".42",
            "00ABCDEF01234567.42",
            "00abcdef01234567.-1",
            "00abcdef01234567.+1",
            "00abcdef01234567.042",
            "00abcdef01234567.1e3",
            "00abcdef01234567.9223372036854775808",
            "abcdef01234567.42",
            " 00abcdef01234567.42",
            "NaN.NaN",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(MalformedCursor), "{text:?}");
        }
    }
}
