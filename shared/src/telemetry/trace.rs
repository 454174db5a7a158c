//! The trace of a caller, by which the log of a call, and of what the drain does for it later, is found:
//! <https://www.w3.org/TR/trace-context/#traceparent-header>.

use std::fmt;

/// The target of every span that may be exported.
pub const TARGET: &str = "carillon";

/// A span of a trace, as its children name it: the value of the header `traceparent`. Its text is what stores keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span: not all bytes are 0.
    pub span: [u8; 8],
    /// Whether the caller records its part of the trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// The span of this text; `None` if it is malformed, which is to be ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let (fields, rest) = text.as_bytes().split_at_checked(55)?;
        let [version, trace, span, flags] = [0..2, 3..35, 36..52, 53..55].map(|range| &fields[range]);
        let has_form = [2, 35, 52].iter().all(|dash| fields[*dash] == b'-');
        // Version 0 has four fields; later ones may have more.
        let is_version = match version {
            b"00" => rest.is_empty(),
            b"ff" => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        number(version)?;
        let (trace, span, flags) = (number(trace)?, number(span)?, number(flags)?);
        if !has_form || !is_version || trace == 0 || span == 0 {
            return None;
        }
        let span = u64::try_from(span).ok()?.to_be_bytes();
        Some(Self { trace: TraceId(trace.to_be_bytes()), span, is_sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, is_sampled } = self;
        write!(f, "00-{trace}-{:016x}-{:02x}", u64::from_be_bytes(*span), u8::from(*is_sampled))
    }
}

/// The id of a trace: 16 bytes, not all of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceId(pub(super) [u8; 16]);

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

/// The number of at most 32 hexadecimal digits, which must be in lower case.
fn number(digits: &[u8]) -> Option<u128> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = digits.iter().all(is_digit).then_some(digits)?;
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read() {
        for (header, text) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", None),
            ("00-0000000000000000000000000000000a-000000000000000b-01", None),
            // Only the flag that says whether it is sampled is passed on.
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", Some("01")),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("01")),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-comes-later", Some("00")),
        ] {
            let flags = text.map(|flags| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"));
            let expected = flags.unwrap_or_else(|| header.to_owned());
            assert_eq!(TraceParent::parse(header).map(|parent| parent.to_string()), Some(expected), "{header}");
        }
        let parent = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(parent.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn a_malformed_parent_is_none() {
        for header in [
            "",
            "00",
            "0af7651916cd43dd8448eb211c80319c",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "0G-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\u{e9}",
        ] {
            assert_eq!(TraceParent::parse(header), None, "{header}");
        }
    }
}
