//! The promise of the moment to keep the last messages of chats, so that a history need not read what was said lately from
//! the record.

use async_trait::async_trait;

use crate::chat::message::Message;
use crate::chat::messages::Range;
use crate::clock::At;
use crate::ids::ChatId;
use crate::inbox::bounds::Item;

/// The largest message that is kept, in bytes of JSON. Larger ones are read from the record: a stranger must not be able to
/// fill the moment.
pub const MAX_KEPT_BYTES: usize = 4_096;

/// The last messages of chats. It decides nothing: who may read what, and where a chat ends, is known to the record alone
/// ([`Messages::history`](crate::chat::messages::Messages::history)), and whatever is missing here is read there.
///
/// A store may lose any message at any time. No operation fails or takes longer than the moment's timeout.
///
/// Messages do not change, but for erasing their sender, which forgets the chat after its commit. What a slower reader keeps
/// afterwards is refused by the record, which is told how many of the known messages are erased.
#[async_trait]
pub trait MessageCache: Send + Sync {
    /// Keeps messages of a chat that the record has committed, in any order; repeating it is harmless. Of all that is kept of
    /// the chat, the last ones by `seq` stay. One that is larger than [`MAX_KEPT_BYTES`] is left out.
    ///
    /// A message whose `seq` was kept for another message is of another life of the record, such as a restored one, and all
    /// that was kept of the chat is forgotten.
    async fn keep(&self, chat: ChatId, messages: &[&Message], room: Room, at: At);

    /// The longest gapless run, in the order of `seq`, among the kept messages of a range that has this many `seq`s at most.
    /// Empty if there is none, or if the moment is unavailable.
    async fn run(&self, chat: ChatId, range: Range, limit: usize, at: At) -> Vec<Message>;

    /// Forgets what is kept of a chat.
    async fn forget(&self, chat: ChatId);
}

/// How much is kept of each chat, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// How many messages: the last ones. 0 if none are kept.
    pub messages: usize,
    /// How long after a message was last added, in milliseconds.
    pub ttl_ms: i64,
}

/// Whether a message is small enough to be kept.
pub fn is_kept(message: &Message) -> bool {
    message.json_bytes() <= MAX_KEPT_BYTES
}

/// The longest gapless run of messages in the order of `seq`; of several, the last.
pub fn longest_run(messages: Vec<Message>) -> Vec<Message> {
    let (mut longest, mut begin) = (0..0, 0);
    for end in 1..=messages.len() {
        if end - begin >= longest.len() {
            longest = begin..end;
        }
        if messages.get(end).is_some_and(|next| next.seq != messages[end - 1].seq + 1) {
            begin = end;
        }
    }
    messages.into_iter().take(longest.end).skip(longest.start).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::clock::Time;
    use crate::ids::{MessageId, UserId};

    fn message(seq: i64) -> Message {
        let (chat, sender) = (ChatId::random(), UserId::new("alice").unwrap());
        Message {
            id: MessageId::of(chat, &sender, &seq.to_string()),
            chat,
            seq,
            sender: Some(sender),
            client_id: Some(seq.to_string()),
            body: "hi".into(),
            data: RawValue::from_string("{}".into()).unwrap(),
            created_at: Time(0),
            is_erased: false,
        }
    }

    fn run(seqs: &[i64]) -> Vec<i64> {
        longest_run(seqs.iter().copied().map(message).collect()).iter().map(|message| message.seq).collect()
    }

    #[test]
    fn the_longest_run_has_no_gap_and_no_seq_twice() {
        assert_eq!(run(&[]), [0; 0]);
        assert_eq!(run(&[7]), [7]);
        assert_eq!(run(&[1, 2, 3]), [1, 2, 3]);
        assert_eq!(run(&[1, 2, 3, 5, 6]), [1, 2, 3]);
        assert_eq!(run(&[1, 2, 4, 5]), [4, 5]);
        assert_eq!(run(&[1, 3, 5]), [5]);
        assert_eq!(run(&[1, 2, 2, 3, 4]), [2, 3, 4]);
    }
}
