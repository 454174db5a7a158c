//! Random acts in two chats. What a member sees is compared with a model that marks each message for each member, and so
//! counts what the stores compute from marks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::chat::chats::{Change, Page};
use shared::ids::ChatId;
use shared::inbox::bounds::Bounds;

use crate::model::{for_all, on_each};
use crate::record::{Record, at, user, users};

mod what_is_unread_equals_a_count_of_messages {
    super::on_each!(counts_are_those_of_the_model: sqlite postgres);
}

/// Alice owns both chats and stays.
const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const CHATS: usize = 2;

/// What a user does in a chat. Without effect where the user is not a member.
#[derive(Debug, Clone)]
struct Act {
    chat: usize,
    name: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Say,
    /// Says again what is the last message of this user.
    Repeat,
    Read(i64),
    Hide,
    Restore,
    /// Is added by alice.
    Join,
    Leave,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let kind = prop_oneof![
        6 => Just(Kind::Say),
        1 => Just(Kind::Repeat),
        4 => (-1..25_i64).prop_map(Kind::Read),
        2 => Just(Kind::Hide),
        2 => Just(Kind::Restore),
        1 => Just(Kind::Join),
        1 => Just(Kind::Leave),
    ];
    let act = (0..CHATS, 0..NAMES.len(), kind).prop_map(|(chat, name, kind)| Act { chat, name, kind });
    prop::collection::vec(act, 1..60)
}

/// A chat in the model.
#[derive(Debug, Default)]
struct Chat {
    /// The text of each message, and who said it.
    messages: Vec<(String, usize)>,
    members: BTreeMap<usize, Member>,
    /// When it was created or last written in, after the beginning.
    active_ms: i64,
}

/// A member in the model.
#[derive(Debug, Default)]
struct Member {
    /// Of each message, whether it is visible and whether it is unread.
    marks: Vec<(bool, bool)>,
    is_hidden: bool,
}

impl Member {
    fn mark(&mut self, mut change: impl FnMut(usize, &mut (bool, bool))) {
        self.marks.iter_mut().enumerate().for_each(|(n, marks)| change(n, marks));
    }
}

impl Chat {
    fn say(&mut self, name: usize, text: String, now_ms: i64) {
        self.messages.push((text, name));
        self.active_ms = now_ms;
        for (member, state) in &mut self.members {
            state.marks.push((true, true));
            state.is_hidden = false;
            if *member == name {
                state.mark(|_, marks| marks.1 = false);
            }
        }
    }

    fn join(&mut self, name: usize) {
        let marks = vec![(true, false); self.messages.len()];
        self.members.entry(name).or_insert(Member { marks, is_hidden: false });
    }
}

fn counts_are_those_of_the_model<K>(open: impl AsyncFn() -> (Record, K)) {
    for_all(acts(), async |acts: Vec<Act>| {
        let (record, _guard) = open().await;
        let mut ids = Vec::new();
        let mut chats: Vec<Chat> = Vec::new();
        for n in 0..CHATS {
            let client_id = n.to_string();
            record.create_group(&client_id, NAMES[0], &[NAMES[1]], at(0)).await;
            ids.push(ChatId::of_group(&user(NAMES[0]), &client_id));
            chats.push(Chat::default());
            chats[n].join(0);
            chats[n].join(1);
        }
        for (now_ms, act) in (1..).zip(&acts) {
            perform(&record, ids[act.chat], &mut chats[act.chat], act, now_ms).await;
            for (n, name) in NAMES.iter().enumerate() {
                compare(&record, &ids, &chats, (n, name)).await.map_err(|why| format!("after {act:?}: {why}"))?;
            }
        }
        Ok(())
    });
}

async fn perform(record: &Record, id: ChatId, chat: &mut Chat, act: &Act, now_ms: i64) {
    let name = NAMES[act.name];
    if matches!(act.kind, Kind::Join) {
        let add = Change::Add(users(&[name]));
        record.change_chat(id, NAMES[0], add).await.unwrap();
        chat.join(act.name);
        return;
    }
    let said = chat.messages.iter().rfind(|(_, sender)| *sender == act.name).map(|(text, _)| text.clone());
    let Some(member) = chat.members.get_mut(&act.name) else { return };
    match act.kind {
        Kind::Say => {
            let text = format!("{now_ms}");
            record.say(id, name, &text, at(now_ms)).await;
            chat.say(act.name, text, now_ms);
        }
        Kind::Repeat => {
            if let Some(text) = said {
                record.write(id, name, &text, &text, at(now_ms)).await;
            }
        }
        Kind::Read(seq) => {
            record.read_through(id, name, seq).await;
            member.mark(|n, marks| marks.1 &= i64::try_from(n).unwrap() >= seq);
        }
        Kind::Hide => {
            record.hide(id, name, true).await;
            member.mark(|_, marks| *marks = (false, false));
            member.is_hidden = true;
        }
        Kind::Restore => {
            record.hide(id, name, false).await;
            member.mark(|_, marks| marks.0 = true);
            member.is_hidden = false;
        }
        Kind::Leave if act.name > 0 => {
            record.change_chat(id, name, Change::Leave).await.unwrap();
            chat.members.remove(&act.name);
        }
        Kind::Leave | Kind::Join => {}
    }
}

/// Compares all that a user sees of the chats.
async fn compare(record: &Record, ids: &[ChatId], chats: &[Chat], (n, name): (usize, &str)) -> Result<(), String> {
    let mut visible = Vec::new();
    for (id, chat) in ids.iter().zip(chats) {
        let found = record.chats().find(*id, &user(name)).await.unwrap();
        let Some(member) = chat.members.get(&n) else {
            same("a stranger's chat", found.is_some(), false)?;
            continue;
        };
        let found = found.ok_or(format!("{name} is a member"))?;
        let unread = i64::try_from(member.marks.iter().filter(|marks| marks.1).count()).unwrap();
        let seen = chat.messages.iter().zip(&member.marks).filter(|(_, marks)| marks.0);
        let seen: Vec<String> = seen.map(|((text, _), _)| text.clone()).collect();
        same("unread", found.unread, unread)?;
        same("hidden", found.hidden, member.is_hidden)?;
        same("last seq", found.chat.last_seq, i64::try_from(chat.messages.len()).unwrap())?;
        same("last message", found.last_message.map(|message| message.body), seen.last().cloned())?;
        same("history", record.texts(*id, name).await, seen)?;
        visible.push((member.is_hidden, (chat.active_ms, *id), unread));
    }
    visible.sort_unstable_by_key(|(_, place, _)| std::cmp::Reverse(*place));
    let of = |hidden| visible.iter().filter(move |chat| chat.0 == hidden);
    let summaries = record.chats().summaries(&user(name), 99).await.unwrap();
    let summaries: Vec<_> = summaries.into_iter().map(|summary| (summary.chat_id, summary.unread)).collect();
    same("summaries", summaries, of(false).map(|(_, (_, id), unread)| (*id, *unread)).collect())?;
    for hidden in [false, true] {
        let page = Page { after: None, bounds: Bounds::default(), hidden };
        let listed = record.chats().list(&user(name), &page).await.unwrap().0;
        let listed: Vec<_> = listed.into_iter().map(|own| (own.chat.id, own.unread)).collect();
        same("list", listed, of(hidden).map(|(_, (_, id), unread)| (*id, *unread)).collect())?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?} instead of {expected:?}")) }
}
