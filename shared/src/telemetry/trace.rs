//! The trace of a caller, by which the log of a send, and of what the drain does for it later, is found:
//! <https://www.w3.org/TR/trace-context/#traceparent-header>.

use std::fmt;

/// The id of a trace: 16 bytes, not all of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The trace in the header `traceparent`; `None` if it is malformed, which is to be ignored.
    pub fn of_parent(header: &str) -> Option<Self> {
        let (fields, rest) = header.as_bytes().split_at_checked(55)?;
        let [version, trace, parent, flags] = [0..2, 3..35, 36..52, 53..55].map(|range| &fields[range]);
        let has_form = [2, 35, 52].iter().all(|dash| fields[*dash] == b'-')
            && [version, trace, parent, flags].iter().all(|field| field.iter().all(is_digit));
        // Version 0 has four fields; later ones may have more.
        let is_version = match version {
            b"00" => rest.is_empty(),
            b"ff" => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        if !has_form || !is_version || parent.iter().all(|digit| *digit == b'0') {
            return None;
        }
        Self::parse(std::str::from_utf8(trace).ok()?)
    }

    /// The trace of this text: 32 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.as_bytes().iter().all(is_digit) {
            return None;
        }
        let id = u128::from_str_radix(text, 16).ok().filter(|id| *id != 0)?;
        Some(Self(id.to_be_bytes()))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl serde::Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether it is a hexadecimal digit in lower case.
fn is_digit(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn the_trace_of_a_parent_is_read() {
        for header in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later",
        ] {
            assert_eq!(TraceId::of_parent(header).map(|trace| trace.to_string()).as_deref(), Some(TRACE), "{header}");
        }
        assert_eq!(TraceId::parse(TRACE).map(|trace| trace.to_string()).as_deref(), Some(TRACE));
    }

    #[test]
    fn a_malformed_parent_is_none() {
        for header in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\u{e9}",
        ] {
            assert_eq!(TraceId::of_parent(header), None, "{header}");
        }
    }
}
