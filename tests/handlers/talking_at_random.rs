//! Any order of acts in chats, while pushes fail, sockets come and go, the drain runs and the moment is emptied or replaced by
//! an older one. After each act, every member sees what a plain model of the chats says, which counts what is unread message
//! by message. In the end every device was pushed every message, under one `seq`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use harness::{TestApp, body, event, invoke, postgres_server, redis_server, socket_event};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::moment::MomentStore;
use shared::moment::memory::MemoryMoment;
use shared::moment::redis::RedisMoment;
use shared::record::postgres::PostgresRecord;
use shared::sockets::push::Outcome;

use crate::at_random::{Check, for_all, same};

/// Alice owns the chats and stays.
const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];
const CHATS: usize = 2;

#[derive(Debug, Clone)]
enum Act {
    /// What a user does in a chat, over its socket if it has one and `by_socket`. Without effect if it is not a member.
    Talk {
        chat: usize,
        name: usize,
        by_socket: bool,
        what: What,
    },
    /// A user opens a socket, or closes it.
    Open(usize),
    Close(usize),
    /// So many pushes to a user fail.
    Fail(usize, usize),
    Drain,
    /// Seconds pass.
    Pass(u64),
    /// Redis is emptied.
    Empty,
    /// Another Redis takes over, which knows only what it knew when it was last in use.
    Replace,
}

#[derive(Debug, Clone)]
enum What {
    Say,
    /// The same, accepted fast where that is possible.
    SayFast,
    /// Says again what the user said so many messages ago.
    Repeat(usize),
    Read(i64),
    Hide,
    Restore,
    /// Is added by alice.
    Join,
    Leave,
    /// Is removed by alice.
    IsRemoved,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let what = prop_oneof![
        6 => Just(What::Say),
        6 => Just(What::SayFast),
        3 => (0..3_usize).prop_map(What::Repeat),
        4 => (0..25_i64).prop_map(What::Read),
        2 => Just(What::Hide),
        2 => Just(What::Restore),
        2 => Just(What::Join),
        1 => Just(What::Leave),
        1 => Just(What::IsRemoved),
    ];
    let talk = (0..CHATS, 0..NAMES.len(), any::<bool>(), what).prop_map(|(chat, name, by_socket, what)| Act::Talk {
        chat,
        name,
        by_socket,
        what,
    });
    let act = prop_oneof![
        20 => talk,
        2 => (0..NAMES.len()).prop_map(Act::Open),
        1 => (0..NAMES.len()).prop_map(Act::Close),
        2 => (0..NAMES.len(), 1..4_usize).prop_map(|(name, times)| Act::Fail(name, times)),
        2 => Just(Act::Drain),
        2 => (1..20_u64).prop_map(Act::Pass),
        1 => Just(Act::Empty),
        1 => Just(Act::Replace),
    ];
    prop::collection::vec(act, 10..70)
}

/// A chat in the model.
#[derive(Debug, Default)]
struct Chat {
    id: String,
    said: Vec<Said>,
    members: BTreeMap<usize, Member>,
}

#[derive(Debug, Clone)]
struct Said {
    id: String,
    sender: usize,
    client_id: String,
}

/// A member in the model.
#[derive(Debug, Default)]
struct Member {
    /// Of each message, whether it is visible and whether it is unread.
    marks: Vec<(bool, bool)>,
    is_hidden: bool,
}

impl Chat {
    fn join(&mut self, name: usize) {
        let marks = vec![(true, false); self.said.len()];
        self.members.entry(name).or_insert(Member { marks, is_hidden: false });
    }

    fn say(&mut self, said: Said) {
        for (member, state) in &mut self.members {
            state.marks.push((true, true));
            state.is_hidden = false;
            if *member == said.sender {
                state.marks.iter_mut().for_each(|marks| marks.1 = false);
            }
        }
        self.said.push(said);
    }
}

/// The functions, and the model of what they must have done.
struct Room {
    test: TestApp,
    moments: Vec<Arc<dyn MomentStore>>,
    new_moment: fn() -> Arc<dyn MomentStore>,
    chats: Vec<Chat>,
    /// The open socket of each user.
    open: BTreeMap<usize, String>,
    /// How many of the next pushes to a connection fail.
    failing: BTreeMap<String, usize>,
    /// The messages, by chat and `seq`, that each open connection is to be pushed and has not been.
    awaited: BTreeMap<String, BTreeSet<(usize, usize)>>,
    acts: usize,
}

impl Room {
    async fn new(mut test: TestApp, new_moment: fn() -> Arc<dyn MomentStore>) -> Self {
        let moments = vec![new_moment(), new_moment()];
        test.uses_moment(Arc::clone(&moments[0]));
        test.accepts_fast().await;
        let mut room = Self {
            test,
            moments,
            new_moment,
            chats: Vec::new(),
            open: BTreeMap::new(),
            failing: BTreeMap::new(),
            awaited: BTreeMap::new(),
            acts: 0,
        };
        for n in 0..CHATS {
            let made = json!({"kind": "group", "participantIds": [NAMES[1]], "clientId": n.to_string()});
            let made = room.calls(0, "POST", "/api/chats", made).await;
            let mut chat = Chat { id: made.1["id"].as_str().unwrap().to_owned(), ..Chat::default() };
            chat.join(0);
            chat.join(1);
            room.chats.push(chat);
        }
        room
    }

    /// Calls the function `chats`; returns status and body.
    async fn calls(&self, name: usize, method: &str, path: &str, sent: Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut call = event("chat");
        call["headers"]["authorization"] = self.test.bearer(NAMES[name], "").into();
        call["requestContext"]["http"]["method"] = method.into();
        let id = path.split('/').nth(3).filter(|id| *id != "unread").unwrap_or_default();
        let route = if id.is_empty() { path.to_owned() } else { path.replace(id, "{id}") };
        let route = format!("ANY {route}");
        call["routeKey"] = route.as_str().into();
        call["requestContext"]["routeKey"] = route.into();
        call["requestContext"]["http"]["path"] = path.into();
        call["pathParameters"] = json!({"id": id});
        call["rawPath"] = path.into();
        call["rawQueryString"] = query.into();
        call["body"] = if sent.is_null() { Value::Null } else { sent.to_string().into() };
        let answer = invoke(&self.test.app, chats::handle, call).await;
        (answer.status().as_u16(), body(&answer))
    }

    /// Sends a frame to the function `message`; returns the reply.
    async fn sends(&self, connection: &str, frame: Value) -> Value {
        let mut sent = event("message");
        sent["requestContext"]["connectionId"] = connection.into();
        sent["body"] = frame.to_string().into();
        let reply = serde_json::to_value(message::handle(&self.test.app, socket_event(sent)).await).unwrap();
        reply["body"].as_str().map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
    }

    async fn drains(&self) -> Check {
        // As late as possible: it does what is due and does not wait for more.
        let drained = drain::handle(&self.test.app, self.test.clock.now_ms() + 10_000).await;
        same("a failed drain", drained.failed, false)
    }

    async fn perform(&mut self, act: &Act) -> Check {
        self.acts += 1;
        match act {
            Act::Talk { chat, name, by_socket, what } => {
                let socket = self.open.get(name).filter(|_| *by_socket).cloned();
                self.talk(*chat, *name, socket.as_deref(), what).await?;
            }
            Act::Open(name) if !self.open.contains_key(name) => {
                let connection = format!("{} {}", NAMES[*name], self.acts);
                self.test.connect(NAMES[*name], &[&connection]).await;
                self.awaited.insert(connection.clone(), BTreeSet::new());
                self.open.insert(*name, connection);
            }
            Act::Open(_) => {}
            Act::Close(name) => {
                if let Some(connection) = self.open.remove(name) {
                    let mut closing = event("disconnect");
                    closing["requestContext"]["connectionId"] = connection.as_str().into();
                    disconnect::handle(&self.test.app, socket_event(closing)).await;
                    self.awaited.remove(&connection);
                }
            }
            Act::Fail(name, times) => {
                if let Some(connection) = self.open.get(name) {
                    self.test.push.will(connection, &vec![Outcome::Failed; *times]);
                    self.failing.insert(connection.clone(), *times);
                }
            }
            Act::Drain => self.drains().await?,
            Act::Pass(seconds) => self.test.clock.advance(Duration::from_secs(*seconds)),
            Act::Empty => {
                // What waits in a log may be lost with it, and only that.
                self.drains().await?;
                self.moments[0] = (self.new_moment)();
                self.test.uses_moment(Arc::clone(&self.moments[0]));
            }
            Act::Replace => {
                self.drains().await?;
                self.moments.swap(0, 1);
                self.test.uses_moment(Arc::clone(&self.moments[0]));
            }
        }
        self.hear()
    }

    async fn talk(&mut self, place: usize, name: usize, socket: Option<&str>, what: &What) -> Check {
        let (id, path) = (self.chats[place].id.clone(), format!("/api/chats/{}", self.chats[place].id));
        let is_member = self.chats[place].members.contains_key(&name);
        match what {
            What::Say | What::SayFast => {
                let accept = if matches!(what, What::SayFast) { "fast" } else { "durable" };
                let client_id = format!("{}/{}", NAMES[name], self.acts);
                let answer = self.says(&id, name, socket, &client_id, accept).await;
                let Some(answer) = answer else { return same("whether a stranger may write", is_member, false) };
                let chat = &mut self.chats[place];
                let said = Said { id: answer["id"].as_str().unwrap_or_default().to_owned(), sender: name, client_id };
                chat.say(said);
                let seq = chat.said.len();
                match answer["durability"].as_str() {
                    Some("redis") => same("what may wait in a log", (accept, &answer["seq"]), ("fast", &Value::Null))?,
                    _ => same("the place of a message", answer["seq"].as_u64(), Some(seq as u64))?,
                }
                for (member, connection) in &self.open {
                    if chat.members.contains_key(member) {
                        self.awaited.get_mut(connection).unwrap().insert((place, seq));
                    }
                }
            }
            What::Repeat(back) => {
                let own = self.chats[place].said.iter().zip(1_u64..).filter(|(said, _)| said.sender == name);
                let own: Vec<(Said, u64)> = own.map(|(said, seq)| (said.clone(), seq)).collect();
                let Some((said, seq)) = own.into_iter().rev().nth(*back) else { return Ok(()) };
                let answer = self.says(&id, name, socket, &said.client_id, "durable").await;
                let first = answer.map(|answer| (answer["id"].clone(), answer["seq"].clone()));
                same("the answer to a repeat", first, is_member.then(|| (json!(said.id), json!(seq))))?;
            }
            What::Read(seq) => {
                let unread = match socket {
                    Some(socket) => {
                        self.sends(socket, json!({"action": "readChat", "chatId": id, "seq": seq})).await["unread"]
                            .clone()
                    }
                    None => {
                        self.calls(name, "POST", &format!("{path}/read"), json!({"seq": seq})).await.1["unread"].clone()
                    }
                };
                let member = self.chats[place].members.get_mut(&name);
                let expected = member.map(|member| {
                    member.marks.iter_mut().zip(1_i64..).for_each(|(marks, place)| marks.1 &= place > *seq);
                    member.marks.iter().filter(|marks| marks.1).count()
                });
                same("unread after reading", unread, json!(expected))?;
            }
            What::Hide | What::Restore => {
                let hides = matches!(what, What::Hide);
                let (status, _) = match hides {
                    true => self.calls(name, "DELETE", &path, Value::Null).await,
                    false => self.calls(name, "POST", &format!("{path}/restore"), Value::Null).await,
                };
                same("the answer to hiding or restoring", status, if is_member { 204 } else { 404 })?;
                if let Some(member) = self.chats[place].members.get_mut(&name) {
                    member.is_hidden = hides;
                    let mark = |marks: &mut (bool, bool)| *marks = if hides { (false, false) } else { (true, marks.1) };
                    member.marks.iter_mut().for_each(mark);
                }
            }
            What::Join => {
                let (status, _) =
                    self.calls(0, "POST", &format!("{path}/members"), json!({"userIds": [NAMES[name]]})).await;
                same("the answer to adding", status, 200)?;
                self.chats[place].join(name);
            }
            What::Leave | What::IsRemoved if name == 0 => {}
            What::Leave | What::IsRemoved => {
                let (status, expected) = if matches!(what, What::Leave) {
                    let (status, _) = self.calls(name, "POST", &format!("{path}/leave"), Value::Null).await;
                    (status, if is_member { 204 } else { 404 })
                } else {
                    let removed = json!({"userIds": [NAMES[name]]});
                    (self.calls(0, "POST", &format!("{path}/members/remove"), removed).await.0, 200)
                };
                same("the answer to leaving", status, expected)?;
                self.chats[place].members.remove(&name);
                if let Some(awaited) = self.open.get(&name).and_then(|open| self.awaited.get_mut(open)) {
                    awaited.retain(|(chat, _)| *chat != place);
                }
            }
        }
        Ok(())
    }

    /// Says something; returns the message of the answer, or `None` if to this user there is no such chat.
    async fn says(
        &self,
        chat: &str,
        name: usize,
        socket: Option<&str>,
        client_id: &str,
        accept: &str,
    ) -> Option<Value> {
        let mut said = json!({"clientId": client_id, "body": client_id, "accept": accept});
        let Some(socket) = socket else {
            let (status, answer) = self.calls(name, "POST", &format!("/api/chats/{chat}/messages"), said).await;
            return [200, 201].contains(&status).then_some(answer);
        };
        said["action"] = "sendMessage".into();
        said["chatId"] = chat.into();
        let mut reply = self.sends(socket, said).await;
        (reply["type"] == "sent").then(|| reply["message"].take())
    }

    /// Takes the frames that were pushed: each message has its one place and goes to members alone.
    fn hear(&mut self) -> Check {
        for (connection, frame) in self.test.push.taken() {
            let failing = self.failing.entry(connection.clone()).or_default();
            let is_accepted = *failing == 0;
            *failing = failing.saturating_sub(1);
            if frame["type"] != "message" {
                continue;
            }
            let chat = self.chats.iter().position(|chat| frame["chatId"] == *chat.id).unwrap();
            let seq = frame["seq"].as_u64().map(|seq| usize::try_from(seq).unwrap());
            let said = match seq {
                Some(seq) => self.chats[chat].said.get(seq - 1),
                None => self.chats[chat].said.iter().find(|said| frame["message"]["id"] == *said.id),
            };
            same("the message of a frame", frame["message"]["id"].as_str(), said.map(|said| said.id.as_str()))?;
            let owner = self.open.iter().find(|(_, open)| **open == connection).map(|(name, _)| *name);
            let is_member = owner.is_some_and(|owner| self.chats[chat].members.contains_key(&owner));
            same("whether a message is pushed to a member's open socket", is_member, true)?;
            // A message that has no place yet is pushed once more.
            if let (Some(awaited), Some(seq), true) = (self.awaited.get_mut(&connection), seq, is_accepted) {
                awaited.remove(&(chat, seq));
            }
        }
        Ok(())
    }

    /// Compares all that a user sees.
    async fn compare(&self, name: usize) -> Check {
        let mut unread = BTreeMap::new();
        for chat in &self.chats {
            let path = format!("/api/chats/{}", chat.id);
            let (status, found) = self.calls(name, "GET", &path, Value::Null).await;
            let (_, page) = self.calls(name, "GET", &format!("{path}/messages?after=0&limit=200"), Value::Null).await;
            let Some(member) = chat.members.get(&name) else {
                same("a stranger's chat", (status, &page["error"]["code"]), (404, &json!("not_found")))?;
                continue;
            };
            let count = member.marks.iter().filter(|marks| marks.1).count();
            if count > 0 && !member.is_hidden {
                unread.insert(chat.id.clone(), count);
            }
            let visible = chat.said.iter().zip(1_u64..).zip(&member.marks).filter(|(_, marks)| marks.0);
            let visible: Vec<(Value, Value)> = visible.map(|((said, seq), _)| (json!(said.id), json!(seq))).collect();
            let items = page["items"].as_array().cloned().unwrap_or_default();
            let items: Vec<(Value, Value)> =
                items.iter().map(|item| (item["id"].clone(), item["seq"].clone())).collect();
            let last = visible.last().map_or(Value::Null, |(id, _)| id.clone());
            same("history", items, visible)?;
            let state = [&found["unread"], &found["hidden"], &found["lastSeq"], &found["lastMessage"]["id"]];
            let expected = [json!(count), json!(member.is_hidden), json!(chat.said.len()), last];
            same("unread, hidden, last seq and last message", state, expected.each_ref())?;
        }
        let (_, counts) = self.calls(name, "GET", "/api/chats/unread", Value::Null).await;
        same("all unread", counts, json!({"total": unread.values().sum::<usize>(), "chats": unread}))
    }

    /// Lets the drain push what is left, and requires that nothing is.
    async fn finish(&mut self) -> Check {
        self.failing.clear();
        for connection in self.open.values() {
            self.test.push.will(connection, &[]);
        }
        for _ in 0..3 {
            self.test.clock.advance(Duration::from_secs(310));
            self.drains().await?;
            self.hear()?;
        }
        let left: Vec<_> = self.awaited.iter().filter(|(_, awaited)| !awaited.is_empty()).collect();
        same("messages that were not pushed", left, vec![])
    }
}

/// Checks lists of acts, each in new chats.
fn check(open: impl AsyncFn() -> Room) {
    for_all(acts(), async |acts: Vec<Act>| {
        let mut room = open().await;
        for act in &acts {
            room.perform(act).await.map_err(|why| format!("{act:?}: {why}"))?;
            if matches!(act, Act::Talk { what: What::SayFast, .. }) {
                // Reading writes logs. What comes next is to find one.
                continue;
            }
            for (user, name) in NAMES.iter().enumerate() {
                let compared = room.compare(user).await;
                compared.map_err(|why| format!("after {act:?}, {name}: {why}"))?;
            }
        }
        room.finish().await
    });
}

async fn app() -> TestApp {
    TestApp::with(&[
        ("JWT_SECRET", "a secret of at least thirty-two bytes"),
        ("RATE_LIMIT_CHAT", "100000/1s"),
        ("RATE_LIMIT_FRAMES", "100000/1s"),
    ])
    .await
}

#[test]
fn any_order_of_acts_on_embedded_stores_leaves_what_the_model_says() {
    check(async || Room::new(app().await, || Arc::new(MemoryMoment::default())).await);
}

#[test]
fn any_order_of_acts_on_servers_leaves_what_the_model_says() {
    check(async || {
        let mut test = app().await;
        let url = postgres_server::as_functions(&postgres_server::database().await).await;
        test.uses_record(Arc::new(PostgresRecord::new(&url, 2).unwrap()));
        let redis = || -> Arc<dyn MomentStore> {
            let config = redis_server::own_prefix();
            Arc::new(RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap())
        };
        Room::new(test, redis).await
    });
}
