//! Users who talk at once over sockets and HTTP and repeat what they say: the recorded conversation is compared with the
//! history and with what devices show. And the comparison itself, with conversations in which something is wrong.

use std::time::{Duration, Instant};

use futures_util::future::join;
use harness::conversation::{Conversation, Findings, Said, Screen, Shown, Stored, Unread};
use harness::device::Device;
use harness::world::{Caller, World};
use serde_json::{Value, json};

/// How many messages each says.
const EACH: usize = 30;

/// A socket of a user who writes, and what it has been told.
struct Talker {
    caller: Caller,
    device: Device,
    shown: Shown,
    said: Vec<Said>,
}

impl Talker {
    async fn of(caller: &Caller) -> Self {
        let device = caller.connects().await;
        Self { caller: caller.clone(), device, shown: Shown::default(), said: Vec::new() }
    }

    /// The next frame. A message is shown.
    async fn hears(&mut self) -> Value {
        let frame = self.device.next().await;
        if frame["type"] == "message" {
            self.shown.accept(&frame["message"]);
        }
        frame
    }

    /// Sends the same message so many times at once, and waits for as many answers.
    async fn says(&mut self, chat: &str, client_id: &str, times: usize) {
        let asked_at = Instant::now();
        for _ in 0..times {
            self.sends(chat, client_id).await;
        }
        let mut answered = 0;
        while answered < times {
            let frame = self.hears().await;
            assert_ne!(frame["type"], "error", "{frame}");
            if frame["type"] == "sent" {
                self.said.push(Said::read(&frame["message"], asked_at));
                answered += 1;
            }
        }
    }

    async fn sends(&mut self, chat: &str, client_id: &str) {
        let frame =
            json!({"action": "sendMessage", "chatId": chat, "clientId": client_id, "body": client_id, "ref": "r"});
        self.device.sends(frame).await;
    }

    /// Sends a message, loses the socket before it is answered, and says it again over a new one.
    async fn is_cut_off_saying(&mut self, chat: &str, client_id: &str) {
        let asked_at = Instant::now();
        self.sends(chat, client_id).await;
        self.device = self.caller.connects().await;
        self.says(chat, client_id, 1).await;
        self.said.last_mut().unwrap().asked_at = asked_at;
    }

    /// Takes all frames that were pushed so far, asks for the messages that none of them brought, and shows all.
    async fn catches_up(&mut self, chat: &str) {
        self.device.sends(json!({"action": "ping"})).await;
        while self.hears().await["type"] != "pong" {}
        for message in history(&self.caller, chat, self.shown.last_seq()).await {
            self.shown.accept(&message);
        }
    }
}

/// The messages after one, over all pages.
async fn history(caller: &Caller, chat: &str, mut after: i64) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let page = caller.gets(&format!("/api/chats/{chat}/messages?limit=17&after={after}")).await.expect(200);
        messages.extend(page["items"].as_array().unwrap().iter().cloned());
        after = messages.last().map_or(after, |last| last["seq"].as_i64().unwrap());
        if page["complete"] == true {
            return messages;
        }
    }
}

/// Says something over HTTP.
async fn posts(caller: &Caller, chat: &str, client_id: &str) -> Said {
    let asked_at = Instant::now();
    let (path, message) = (format!("/api/chats/{chat}/messages"), json!({"clientId": client_id, "body": client_id}));
    let answer = caller.posts(&path, message).await;
    assert!([200, 201].contains(&answer.status), "{}", answer.text);
    Said::read(&answer.json(), asked_at)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_users_who_talk_at_once_nothing_is_lost_doubled_or_reordered() {
    let world = World::with(&[("RATE_LIMIT_CHAT", "100000/1s"), ("RATE_LIMIT_FRAMES", "100000/1s")]).await;
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|name| world.user(name));
    let made = json!({"kind": "group", "participantIds": ["bob", "carol", "dave"]});
    let chat = alice.posts("/api/chats", made).await.expect(201)["id"].as_str().unwrap().to_owned();
    let (mut phone, mut tab, mut watch) = (Talker::of(&alice).await, Talker::of(&bob).await, Talker::of(&dave).await);

    let over_one_socket = async {
        for n in 0..EACH {
            phone.says(&chat, &format!("phone/{n}"), 1 + n % 2).await;
        }
    };
    let over_another = async {
        for n in 0..EACH {
            match n % 10 {
                9 => tab.is_cut_off_saying(&chat, &format!("tab/{n}")).await,
                _ => tab.says(&chat, &format!("tab/{n}"), 1).await,
            }
        }
    };
    let over_http = async {
        let mut said = Vec::new();
        for n in 0..EACH {
            // Alice says the same from here as from her phone.
            let (own, shared) = (format!("http/{n}"), format!("phone/{n}"));
            let (one, other) = join(posts(&carol, &chat, &own), posts(&alice, &chat, &shared)).await;
            said.extend([one, other, posts(&carol, &chat, &own).await]);
        }
        said
    };
    let ((), (), mut said) = tokio::join!(over_one_socket, over_another, over_http);

    // A repeat of what another device has said is as old as that.
    let mut screens = Vec::new();
    for talker in [&mut phone, &mut tab, &mut watch] {
        talker.catches_up(&chat).await;
        said.append(&mut talker.said);
        let chats = [(chat.clone(), talker.shown.clone())].into();
        screens.push(Screen { user: talker.caller.id.clone(), chats });
    }
    let first_asked = |of: &Said| {
        let same = said.iter().filter(|said| (&said.sender, &said.client_id) == (&of.sender, &of.client_id));
        same.map(|said| said.asked_at).min().unwrap()
    };
    let said: Vec<Said> = said.iter().map(|of| Said { asked_at: first_asked(of), ..of.clone() }).collect();

    dave.posts(&format!("/api/chats/{chat}/read"), json!({"seq": 40})).await.expect(200);
    let record = history(&dave, &chat, 0).await;
    let mut unread = Vec::new();
    for (caller, mark) in
        [(&dave, 40), (&carol, said.iter().filter(|said| said.sender == "carol").map(|said| said.seq).max().unwrap())]
    {
        let answered = caller.gets("/api/chats/unread").await.expect(200)["chats"][&chat].as_i64().unwrap_or(0);
        let counted = record.iter().filter(|message| message["seq"].as_i64().unwrap() > mark).count();
        let counted = i64::try_from(counted).unwrap();
        unread.push(Unread { user: caller.id.clone(), chat: chat.clone(), answered, counted });
    }
    let text = |message: &Value, member: &str| message[member].as_str().unwrap().to_owned();
    let stored = |message: &Value| Stored {
        chat: text(message, "chatId"),
        seq: message["seq"].as_i64().unwrap(),
        id: text(message, "id"),
        sender: text(message, "senderId"),
        client_id: text(message, "clientId"),
    };
    let record: Vec<Stored> = record.iter().map(stored).collect();
    assert_eq!(record.len(), 3 * EACH);
    let members = ["alice", "bob", "carol", "dave"].map(str::to_owned).to_vec();
    let members = [(chat, members)].into();
    let findings = Conversation { members, said, record, screens, unread }.findings();
    assert_eq!(findings, Findings { accepted: 3 * EACH, ..Findings::default() });
    world.stops().await;
}

/// Alice says three things and bob one after them, all of which both see.
fn clean() -> Conversation {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let each = [("alice", "a1", 1), ("alice", "a2", 2), ("alice", "a3", 3), ("bob", "b1", 4)];
    let said = each.map(|(sender, client_id, seq)| Said {
        chat: "chat".into(),
        sender: sender.into(),
        client_id: client_id.into(),
        seq,
        id: format!("id of {client_id}"),
        asked_at: at(10 * seq.unsigned_abs()),
        answered_at: at(10 * seq.unsigned_abs() + 5),
    });
    let stored = |said: &Said| Stored {
        chat: said.chat.clone(),
        seq: said.seq,
        id: said.id.clone(),
        sender: said.sender.clone(),
        client_id: said.client_id.clone(),
    };
    let messages: Vec<(i64, String)> = said.iter().map(|said| (said.seq, said.id.clone())).collect();
    let mut shown = Shown::default();
    for (seq, id) in &messages {
        shown.accept(&json!({"seq": seq, "id": id}));
    }
    assert_eq!(shown.messages, messages);
    let screen = |user: &str| Screen { user: user.into(), chats: [("chat".to_owned(), shown.clone())].into() };
    Conversation {
        members: [("chat".to_owned(), vec!["alice".to_owned(), "bob".to_owned()])].into(),
        record: said.iter().map(stored).collect(),
        said: said.to_vec(),
        screens: vec![screen("alice"), screen("bob")],
        unread: vec![Unread { user: "bob".into(), chat: "chat".into(), answered: 0, counted: 0 }],
    }
}

/// The counts of what is wrong after a change: lost, twice, disordered, gaps and miscounted.
fn wrong(change: impl FnOnce(&mut Conversation)) -> [usize; 5] {
    let mut conversation = clean();
    change(&mut conversation);
    let Findings { lost, twice, disordered, gaps, miscounted, described, .. } = conversation.findings();
    let counts = [lost, twice, disordered, gaps, miscounted];
    assert_eq!(described.is_empty(), counts == [0; 5], "{described:?}");
    counts
}

fn screen(conversation: &mut Conversation) -> &mut Vec<(i64, String)> {
    &mut conversation.screens[1].chats.get_mut("chat").unwrap().messages
}

#[test]
fn in_a_clean_conversation_nothing_is_found() {
    assert_eq!(wrong(|_| {}), [0; 5]);
    // Two who write at the same time may be in either order.
    let concurrent = |conversation: &mut Conversation| {
        conversation.said[3].asked_at = conversation.said[0].asked_at;
        let early = conversation.said[3].answered_at;
        conversation.said[0].answered_at = early;
    };
    assert_eq!(wrong(concurrent), [0; 5]);
}

#[test]
fn a_lost_message_is_counted() {
    let from_the_record = |conversation: &mut Conversation| drop(conversation.record.pop());
    // Both devices show what the record does not have.
    assert_eq!(wrong(from_the_record), [1, 0, 2, 0, 0]);
    assert_eq!(wrong(|conversation| drop(screen(conversation).pop())), [1, 0, 0, 0, 0]);
    assert_eq!(wrong(|conversation| conversation.screens[1].chats.clear()), [4, 0, 0, 0, 0]);
    let gap = |conversation: &mut Conversation| drop(screen(conversation).remove(1));
    assert_eq!(wrong(gap), [1, 0, 0, 1, 0]);
    let everywhere = |conversation: &mut Conversation| {
        conversation.record.remove(1);
        conversation.said.remove(1);
        conversation.screens.clear();
    };
    assert_eq!(wrong(everywhere), [0, 0, 0, 1, 0], "a gap in the record");
}

#[test]
fn a_doubled_message_is_counted() {
    let stored = |conversation: &mut Conversation| {
        let mut again = conversation.record[0].clone();
        (again.seq, again.id) = (5, "another id".into());
        conversation.record.push(again);
        conversation.screens.clear();
    };
    assert_eq!(wrong(stored), [0, 1, 0, 0, 0]);
    let at_one_place = |conversation: &mut Conversation| {
        let mut other = conversation.record[3].clone();
        (other.client_id, other.id) = ("b2".into(), "another id".into());
        conversation.record.push(other);
        conversation.screens.clear();
    };
    assert_eq!(wrong(at_one_place)[1], 1);
    let answered = |conversation: &mut Conversation| {
        let mut again = conversation.said[3].clone();
        again.seq = 5;
        conversation.said.push(again);
    };
    assert_eq!(wrong(answered), [1, 1, 0, 0, 0]);
    let shown = |conversation: &mut Conversation| screen(conversation).push((4, "id of b1".into()));
    assert_eq!(wrong(shown), [0, 1, 0, 0, 0]);
}

#[test]
fn a_reordered_message_is_counted() {
    // A message that was answered before another was asked for is behind it.
    let against_time = |conversation: &mut Conversation| {
        for (one, other) in [(0, 1), (1, 0)] {
            let id = format!("id of a{}", one + 1);
            conversation.said[one].seq = i64::try_from(other).unwrap() + 1;
            conversation.record[other].id.clone_from(&id);
            conversation.record[other].client_id = format!("a{}", one + 1);
            for screen in &mut conversation.screens {
                screen.chats.get_mut("chat").unwrap().messages[other].1.clone_from(&id);
            }
        }
    };
    assert_eq!(wrong(against_time), [0, 0, 1, 0, 0]);
    // A device that shows messages in another order, or under other places.
    assert_eq!(wrong(|conversation| screen(conversation).swap(1, 2))[2], 1);
    let other_places = |conversation: &mut Conversation| {
        let messages = screen(conversation);
        (messages[1].0, messages[2].0) = (messages[2].0, messages[1].0);
        messages.swap(1, 2);
    };
    assert_eq!(wrong(other_places), [0, 0, 2, 0, 0]);
}

#[test]
fn a_wrong_count_is_counted() {
    assert_eq!(wrong(|conversation| conversation.unread[0].answered = 1), [0, 0, 0, 0, 1]);
}

#[test]
fn a_device_shows_each_message_once_in_order_and_holds_back_what_is_beyond_a_gap() {
    let mut shown = Shown::default();
    for (seq, last, has_gap) in [(1, 1, false), (3, 1, true), (1, 1, true), (4, 1, true), (2, 4, false), (3, 4, false)]
    {
        shown.accept(&json!({"seq": seq, "id": seq.to_string()}));
        assert_eq!((shown.last_seq(), shown.has_gap()), (last, has_gap), "after {seq}");
    }
    assert_eq!(shown.messages, [1, 2, 3, 4].map(|seq| (seq, seq.to_string())));
}
