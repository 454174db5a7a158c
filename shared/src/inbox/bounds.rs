//! How much of an inbox one answer contains, so that it never becomes larger than its transport permits.

use std::io::{self, Write};

use serde::Serialize;

use crate::inbox::notification::Notification;

/// How much an answer contains at most. The first item is included even if it is larger, so that a client that pages always
/// makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Notifications, and ids of those that were deleted.
    pub items: usize,
    /// Bytes of them as JSON, commas included.
    pub bytes: usize,
}

/// The most bytes of an answer over HTTP.
const MAX_ANSWER_BYTES: usize = 1_024 * 1_024;
/// More bytes than a list or sync has besides its items.
const ENVELOPE_BYTES: usize = 1_024;

impl Bounds {
    /// At most so many items, in an answer over HTTP.
    pub const fn of_answer(items: usize) -> Self {
        Self::within(items, MAX_ANSWER_BYTES)
    }

    /// At most so many items, in a list or sync of so many bytes.
    pub const fn within(items: usize, bytes: usize) -> Self {
        Self { items, bytes: bytes - ENVELOPE_BYTES }
    }

    /// At most so many items, of any size.
    pub const fn items(items: usize) -> Self {
        Self { items, bytes: usize::MAX }
    }
}

impl Default for Bounds {
    /// Everything.
    fn default() -> Self {
        Self::items(usize::MAX)
    }
}

/// Reads items until the bounds are reached, and no further. Returns also whether there are more.
pub fn within<T: Item, E>(bounds: Bounds, items: impl Iterator<Item = Result<T, E>>) -> Result<(Vec<T>, bool), E> {
    let (mut admitted, mut budget) = (Vec::new(), Budget { left: bounds, is_empty: true });
    for item in items {
        let item = item?;
        if !budget.admits(&item) {
            return Ok((admitted, true));
        }
        admitted.push(item);
    }
    Ok((admitted, false))
}

/// Takes items until the bounds are reached. Returns also whether there are more.
pub fn first_within<T: Item>(bounds: Bounds, items: Vec<T>) -> (Vec<T>, bool) {
    let mut budget = Budget { left: bounds, is_empty: true };
    let count = items.len();
    let admitted: Vec<T> = items.into_iter().take_while(|item| budget.admits(item)).collect();
    let more = admitted.len() < count;
    (admitted, more)
}

/// What is left of some bounds while items are added.
struct Budget {
    left: Bounds,
    is_empty: bool,
}

impl Budget {
    /// Whether there is room for one more item, which then takes it.
    fn admits(&mut self, item: &impl Item) -> bool {
        let bytes = item.json_bytes();
        if self.left.items == 0 || bytes > self.left.bytes && !self.is_empty {
            return false;
        }
        self.left = Bounds { items: self.left.items - 1, bytes: self.left.bytes.saturating_sub(bytes) };
        self.is_empty = false;
        true
    }
}

/// Part of an answer.
pub trait Item {
    /// Its bytes as JSON, with a comma.
    fn json_bytes(&self) -> usize;
}

impl Item for Notification {
    fn json_bytes(&self) -> usize {
        json_bytes(self) + 1
    }
}

/// The length of a value as JSON, without writing it anywhere.
pub fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).expect("strings, numbers and maps with string keys are JSON");
    counter.0
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(usize);

    impl Item for Bytes {
        fn json_bytes(&self) -> usize {
            self.0
        }
    }

    fn admitted(bounds: Bounds, sizes: &[usize]) -> usize {
        let mut budget = Budget { left: bounds, is_empty: true };
        sizes.iter().take_while(|size| budget.admits(&Bytes(**size))).count()
    }

    #[test]
    fn an_answer_ends_with_the_last_item_that_fits() {
        assert_eq!(admitted(Bounds::items(2), &[9, 9, 9]), 2);
        assert_eq!(admitted(Bounds { items: 9, bytes: 20 }, &[9, 11, 1]), 2);
        assert_eq!(admitted(Bounds { items: 9, bytes: 19 }, &[9, 11, 1]), 1);
    }

    #[test]
    fn the_first_item_is_in_it_whatever_its_size() {
        assert_eq!(admitted(Bounds { items: 9, bytes: 10 }, &[50, 1]), 1);
        assert_eq!(admitted(Bounds::items(0), &[1]), 0);
    }

    #[test]
    fn json_is_counted_as_it_is_written() {
        for text in ["", "plain", "\"quoted\"\n", "\u{2028}é🔔"] {
            assert_eq!(json_bytes(&text), serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
