//! A recorded conversation: what senders were answered, what the record holds, and what devices show in the end. From these
//! it counts what was lost, doubled and put into the wrong order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use serde_json::Value;

/// How many findings of each kind are described.
const MAX_DESCRIBED: usize = 3;

/// A call or frame that was answered with a message. A repeat is one too.
#[derive(Debug, Clone)]
pub struct Said {
    /// The chat's id.
    pub chat: String,
    /// The user who wrote it.
    pub sender: String,
    /// The sender's id for it.
    pub client_id: String,
    /// The `seq` of the answer; 0 if it was accepted fast and had none.
    pub seq: i64,
    /// The message id of the answer.
    pub id: String,
    /// When the sender first asked for it.
    pub asked_at: Instant,
    /// When this answer arrived.
    pub answered_at: Instant,
}

impl Said {
    /// What a `Message` in an answer says of itself, for a sender who asked at this time and has the answer now.
    pub fn read(message: &Value, asked_at: Instant) -> Self {
        let text = |member: &str| message[member].as_str().unwrap_or_default().to_owned();
        Self {
            chat: text("chatId"),
            sender: text("senderId"),
            client_id: text("clientId"),
            seq: message["seq"].as_i64().unwrap_or_default(),
            id: text("id"),
            asked_at,
            answered_at: Instant::now(),
        }
    }
}

/// A message of the record.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The chat's id.
    pub chat: String,
    /// Its place in the chat.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The user who wrote it.
    pub sender: String,
    /// The sender's id for it.
    pub client_id: String,
}

/// The messages of one chat on a device, in the order in which they were shown. Like a client, it shows messages by their
/// `seq`, drops those that it has, and holds back those beyond a gap.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The `seq` and id of each.
    pub messages: Vec<(i64, String)>,
    held_back: BTreeMap<i64, String>,
}

impl Shown {
    /// The `seq` up to which everything is shown.
    pub fn last_seq(&self) -> i64 {
        self.messages.last().map_or(0, |(seq, _)| *seq)
    }

    /// Takes a `Message` from a frame, unless it has no place yet, or from an answer to a call for what is after [`last_seq`](Self::last_seq).
    pub fn accept(&mut self, message: &Value) {
        let Some(seq) = message["seq"].as_i64() else { return };
        self.held_back.insert(seq, message["id"].as_str().unwrap_or_default().to_owned());
        self.held_back.retain(|seq, _| *seq > self.messages.last().map_or(0, |(last, _)| *last));
        while let Some(id) = self.held_back.remove(&(self.last_seq() + 1)) {
            self.messages.push((self.last_seq() + 1, id));
        }
    }

    /// Whether messages are held back because others in front of them are missing.
    pub fn has_gap(&self) -> bool {
        !self.held_back.is_empty()
    }
}

/// A device at the end.
#[derive(Debug, Clone)]
pub struct Screen {
    /// Whose it is.
    pub user: String,
    /// What it shows, by the chat's id.
    pub chats: BTreeMap<String, Shown>,
}

/// A member's count of unread messages, and the same count made over the messages of the record.
#[derive(Debug, Clone)]
pub struct Unread {
    /// The member.
    pub user: String,
    /// The chat's id.
    pub chat: String,
    /// As the API answers.
    pub answered: i64,
    /// The messages after the member's marks.
    pub counted: i64,
}

/// All of it. Its members have been in their chats from the first message on.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// The members of each chat, by its id.
    pub members: BTreeMap<String, Vec<String>>,
    /// What senders were answered.
    pub said: Vec<Said>,
    /// What the record holds, in any order.
    pub record: Vec<Stored>,
    /// What devices show.
    pub screens: Vec<Screen>,
    /// What is unread.
    pub unread: Vec<Unread>,
}

/// What is wrong with a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many messages were answered with success.
    pub accepted: usize,
    /// Accepted messages that are missing from the record or from a device of a member.
    pub lost: usize,
    /// Messages that are stored or shown twice, or under two ids.
    pub twice: usize,
    /// Messages whose place contradicts the order in which they were said, or in which others show them.
    pub disordered: usize,
    /// Places without a message, in the record or on a device.
    pub gaps: usize,
    /// Counts of unread messages that differ from a count over the record.
    pub miscounted: usize,
    /// Descriptions of the first of each kind.
    pub described: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        (self.lost, self.twice, self.disordered, self.gaps, self.miscounted) == (0, 0, 0, 0, 0)
    }

    fn add(&mut self, kind: fn(&mut Self) -> &mut usize, how: impl FnOnce() -> String) {
        let count = kind(self);
        *count += 1;
        if *count <= MAX_DESCRIBED {
            self.described.push(how());
        }
    }
}

/// The `seq` and id that an answer gave a message.
type Place<'a> = (i64, &'a str);

impl Conversation {
    /// Compares the answers, the record and the devices with each other.
    pub fn findings(&self) -> Findings {
        let mut found = Findings::default();
        let chats = self.check_record(&mut found);
        self.check_answers(&chats, &mut found);
        for screen in &self.screens {
            self.check_screen(screen, &chats, &mut found);
        }
        for Unread { user, chat, answered, counted } in &self.unread {
            if answered != counted {
                found.add(
                    |found| &mut found.miscounted,
                    || format!("{answered} unread for {user} in {chat}, while {counted} are"),
                );
            }
        }
        found
    }

    /// Each chat has a message for each `seq` from 1 on, and no message twice. Returns the messages by chat and `seq`.
    fn check_record(&self, found: &mut Findings) -> BTreeMap<&str, BTreeMap<i64, &Stored>> {
        let mut chats: BTreeMap<&str, BTreeMap<i64, &Stored>> = BTreeMap::new();
        let mut known: HashSet<(&str, &str, &str)> = HashSet::new();
        let mut ids: HashSet<&str> = HashSet::new();
        for stored in &self.record {
            let Stored { chat, seq, id, sender, client_id } = stored;
            let is_new = ids.insert(id) & known.insert((chat, sender, client_id));
            if chats.entry(chat).or_default().insert(*seq, stored).is_some() || !is_new {
                found.add(|found| &mut found.twice, || format!("{sender}'s {client_id} is stored twice in {chat}"));
            }
        }
        for (chat, messages) in &chats {
            let mut last = 0;
            for seq in messages.keys() {
                if *seq != last + 1 {
                    found.add(|found| &mut found.gaps, || format!("in {chat}, {seq} follows {last}"));
                }
                last = *seq;
            }
        }
        chats
    }

    /// Each accepted message is where its answers say, and before every message that was asked for after such an answer.
    fn check_answers(&self, chats: &BTreeMap<&str, BTreeMap<i64, &Stored>>, found: &mut Findings) {
        let mut places: HashMap<(&str, &str, &str), BTreeSet<Place<'_>>> = HashMap::new();
        for Said { chat, sender, client_id, seq, id, .. } in &self.said {
            places.entry((chat, sender, client_id)).or_default().insert((*seq, id));
        }
        found.accepted = places.len();
        for ((chat, sender, client_id), places) in &places {
            if places.len() > 1 {
                found.add(|found| &mut found.twice, || format!("{sender}'s {client_id} was answered as {places:?}"));
            }
            let is_stored = |(seq, id): &Place<'_>| {
                let stored = chats.get(chat).and_then(|messages| messages.get(seq));
                stored.is_some_and(|stored| {
                    stored.id == *id && stored.sender == *sender && stored.client_id == *client_id
                })
            };
            if !places.iter().all(is_stored) {
                found.add(|found| &mut found.lost, || format!("{sender}'s {client_id} is not in the record of {chat}"));
            }
        }
        let mut by_chat: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
        for said in &self.said {
            by_chat.entry(&said.chat).or_default().push(said);
        }
        for asked in by_chat.values_mut() {
            let mut answered = asked.clone();
            answered.sort_by_key(|said| said.answered_at);
            asked.sort_by_key(|said| said.asked_at);
            let (mut answered, mut last) = (answered.into_iter().peekable(), None::<&Said>);
            for said in asked {
                while let Some(earlier) = answered.next_if(|earlier| earlier.answered_at < said.asked_at) {
                    last = last.into_iter().chain([earlier]).max_by_key(|said| said.seq);
                }
                if let Some(last) = last.filter(|last| last.seq >= said.seq) {
                    found.add(
                        |found| &mut found.disordered,
                        || format!("{} was said after {} and is before it", said.client_id, last.client_id),
                    );
                }
            }
        }
    }

    /// A device shows all messages of its user's chats, each once and in the order of `seq`, and no others.
    fn check_screen(&self, screen: &Screen, chats: &BTreeMap<&str, BTreeMap<i64, &Stored>>, found: &mut Findings) {
        let user = &screen.user;
        for (chat, shown) in &screen.chats {
            let (mut last, mut ids) = (0, HashSet::new());
            for (seq, id) in &shown.messages {
                if !ids.insert(id) {
                    found.add(|found| &mut found.twice, || format!("{id} is shown twice to {user} in {chat}"));
                } else if *seq <= last {
                    found.add(|found| &mut found.disordered, || format!("{user} sees {seq} of {chat} after {last}"));
                } else if *seq > last + 1 {
                    found.add(|found| &mut found.gaps, || format!("{user} sees {seq} of {chat} right after {last}"));
                }
                last = last.max(*seq);
                let stored = chats.get(chat.as_str()).and_then(|messages| messages.get(seq));
                if stored.is_none_or(|stored| stored.id != *id) {
                    let how = || format!("{user} sees {id} as {seq} of {chat}, where the record has another");
                    found.add(|found| &mut found.disordered, how);
                }
            }
        }
        for (chat, _) in self.members.iter().filter(|(_, members)| members.contains(user)) {
            let shown = screen.chats.get(chat).map(|shown| shown.messages.as_slice()).unwrap_or_default();
            let shown: HashSet<&str> = shown.iter().map(|(_, id)| id.as_str()).collect();
            for stored in chats.get(chat.as_str()).into_iter().flat_map(BTreeMap::values) {
                if !shown.contains(stored.id.as_str()) {
                    let how = || format!("{}'s {} is not shown to {user}", stored.sender, stored.client_id);
                    found.add(|found| &mut found.lost, how);
                }
            }
        }
    }
}
