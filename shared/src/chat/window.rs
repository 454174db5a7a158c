//! Which messages a page of a history consists of. A page is put together from messages that the caller knows and those
//! that a store has read, the same way on every store.

use crate::chat::message::Message;
use crate::chat::messages::Range;
use crate::inbox::bounds::{Bounds, first_within};

/// Larger than every `seq`, and small enough that sums do not overflow.
const NEVER: i64 = 1 << 53;

/// A range and a number of messages, as far as that is known without the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Only messages before this `seq`.
    pub before: i64,
    /// Only messages after this `seq`.
    pub after: i64,
    /// How many at most.
    pub items: i64,
    /// Whether they are the first of these, instead of the last.
    pub is_forward: bool,
}

/// A window's messages in a chat: from `first` to `last`, which is before `first` if there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first `seq`.
    pub first: i64,
    /// The last `seq`.
    pub last: i64,
    /// Whether the member sees none further on in the direction of the range.
    pub is_end: bool,
}

impl Window {
    /// The window of a page.
    pub fn new(range: Range, bounds: Bounds) -> Self {
        let items = i64::try_from(bounds.items).unwrap_or(NEVER).min(NEVER);
        let (before, after) = match range {
            Range::Last => (NEVER, 0),
            Range::Before(seq) => (seq.clamp(1, NEVER), 0),
            Range::After(seq) => (NEVER, seq.clamp(0, NEVER)),
        };
        Self { before, after, items, is_forward: matches!(range, Range::After(_)) }
    }

    /// Its place in a chat of which the member sees what is after `cleared_seq`. Since `seq` has no gaps, that follows from
    /// numbers alone.
    pub fn place(&self, cleared_seq: i64, last_seq: i64) -> Place {
        let (first, last) = (self.after.max(cleared_seq) + 1, (self.before - 1).min(last_seq));
        if self.is_forward {
            let end = last.min(first + self.items - 1);
            Place { first, last: end, is_end: end >= last }
        } else {
            let begin = first.max(last - self.items + 1);
            Place { first: begin, last, is_end: begin <= first }
        }
    }

    /// Puts a page together from the known messages, of which some may be outside of it, and those that were read, in any
    /// order. What was read ends early only where it exceeds the bounds. Returns also whether the page is complete.
    pub fn page(&self, place: Place, bounds: Bounds, known: &[Message], read: Vec<Message>) -> (Vec<Message>, bool) {
        let is_inside = |message: &&Message| (place.first..=place.last).contains(&message.seq);
        let mut messages = read;
        messages.extend(known.iter().filter(is_inside).cloned());
        // Bytes bound a page from the end that was asked for.
        messages.sort_by_key(|message| if self.is_forward { message.seq } else { -message.seq });
        let (mut messages, more) = first_within(bounds, messages);
        if !self.is_forward {
            messages.reverse();
        }
        (messages, place.is_end && !more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(range: Range, items: usize, cleared_seq: i64, last_seq: i64) -> (i64, i64, bool) {
        let place = Window::new(range, Bounds::items(items)).place(cleared_seq, last_seq);
        (place.first, place.last, place.is_end)
    }

    #[test]
    fn a_window_ends_where_the_member_sees_no_more() {
        assert_eq!(place(Range::Last, 50, 0, 120), (71, 120, false));
        assert_eq!(place(Range::Last, 50, 80, 120), (81, 120, true));
        assert_eq!(place(Range::Last, 50, 0, 50), (1, 50, true));
        assert_eq!(place(Range::Before(71), 50, 0, 120), (21, 70, false));
        assert_eq!(place(Range::Before(21), 50, 0, 120), (1, 20, true));
        assert_eq!(place(Range::Before(999), 2, 0, 120), (119, 120, false));
        assert_eq!(place(Range::After(100), 50, 0, 120), (101, 120, true));
        assert_eq!(place(Range::After(10), 50, 80, 120), (81, 120, true));
        assert_eq!(place(Range::After(10), 5, 80, 120), (81, 85, false));
    }

    #[test]
    fn an_empty_window_is_the_end_whatever_was_asked_for() {
        for range in [Range::Before(i64::MIN), Range::Before(1), Range::After(120), Range::After(i64::MAX)] {
            let (first, last, is_end) = place(range, usize::MAX, 0, 120);
            assert!(first > last && is_end, "{range:?}");
        }
        let (first, last, is_end) = place(Range::Last, 50, 0, 0);
        assert!(first > last && is_end);
    }
}
