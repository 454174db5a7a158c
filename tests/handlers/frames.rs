//! Every frame on the wire, compared with the examples in `tests/frames`. The tests of the client read the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use shared::chat::draft::Draft;
use shared::chat::message::{Message, Said};
use shared::chat::{Chat, Kind, Participant, Role, Status, Summary};
use shared::clock::Time;
use shared::cursor::{Cursor, Epoch};
use shared::error::Error;
use shared::fast::accept::Accept;
use shared::fast::logged::{LoggedMessage, LoggedSend};
use shared::ids::{ChatId, MessageId, NotificationId, SendId, UserId};
use shared::inbox::Change;
use shared::inbox::ChangeKind;
use shared::inbox::notification::{Channels, Content, Notification, Priority};
use shared::presence::UserPresence;
use shared::protocol::{self, Action, ClientFrame, Event, Frame, ReplyFrame, Sync};

/// Maps each variant to its examples. A variant without a line does not compile; a file without a line and a line
/// without a file fail the tests.
macro_rules! examples {
    ($of:ident $all:ident $type:ty { $($variant:pat => $($file:literal)|+,)+ }) => {
        const $all: &[&str] = &[$($($file),+),+];

        fn $of(example: &$type) -> &'static [&'static str] {
            match example {
                $($variant => &[$($file),+],)+
            }
        }
    };
}

examples! { of_event ALL_EVENTS Event<'_> {
    Event::Notification { .. } => "notification" | "notification-bare",
    Event::LoggedNotification { .. } => "notification-logged",
    Event::Changed { change: ChangeKind::Read, .. } => "changed-read",
    Event::Changed { change: ChangeKind::Unread, .. } => "changed-unread",
    Event::Changed { change: ChangeKind::Deleted, .. } => "changed-deleted",
    Event::Changed { change: ChangeKind::Expired, .. } => "changed-expired",
    Event::Changed { change: ChangeKind::Snoozed, .. } => "changed-snoozed",
    Event::Fetch { .. } => "fetch",
    Event::Resync => "resync",
    Event::Reconnect => "stream/reconnect",
    Event::Message { .. } => "chat/message" | "chat/message-erased",
    Event::LoggedMessage { .. } => "chat/message-logged",
    Event::FetchMessage { .. } => "chat/fetch",
    Event::Receipt { .. } => "chat/receipt",
    Event::Chat { .. } => "chat/chat" | "chat/chat-bare",
    Event::RemovedFromChat { .. } => "chat/chat-removed",
    Event::Typing { .. } => "chat/typing",
    Event::Presence { .. } => "chat/presence",
}}

examples! { of_reply ALL_REPLIES ReplyFrame<'_> {
    ReplyFrame::Pong { .. } => "pong",
    ReplyFrame::Sync { .. } => "sync" | "sync-partial",
    ReplyFrame::Sent { .. } => "chat/sent" | "chat/sent-logged",
    ReplyFrame::SentTooLarge { .. } => "chat/fetch-sent",
    ReplyFrame::Presence { .. } => "chat/presence-asked",
    ReplyFrame::Ok { .. } => "ok" | "ok-updated" | "ok-expiresAt" | "chat/ok-unread",
    ReplyFrame::Error { .. } => "error" | "error-bare",
}}

examples! { of_action ALL_ACTIONS Action {
    Action::Ping => "ping",
    Action::Sync(_) => "sync" | "sync-everything",
    Action::Ack(_) => "ack",
    Action::Change(Change::Read(_)) => "read",
    Action::Change(Change::Unread(_)) => "unread",
    Action::Change(Change::Delete(_)) => "delete",
    Action::Change(Change::ReadAll { .. }) => "readAll" | "readAll-bare",
    Action::SendMessage(..) => "sendMessage" | "sendMessage-bare",
    Action::ReadChat(..) => "readChat",
    Action::Typing(..) => "typing",
    Action::Presence(_) => "presence",
    Action::Auth(_) => "auth",
}}

/// The contents of the files in `tests/frames` or in a folder of it, by file name without extension.
fn files(folder: &str) -> BTreeMap<String, String> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "frames", folder].iter().collect();
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let named = |path: PathBuf| {
        assert_eq!(path.extension().unwrap(), "json", "{path:?}");
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
    };
    files.map(named).collect()
}

fn names<'a>(of: impl IntoIterator<Item = &'a (impl AsRef<str> + 'a + ?Sized)>) -> BTreeSet<&'a str> {
    of.into_iter().map(AsRef::as_ref).collect()
}

fn cursor(offset: i64) -> Cursor {
    Cursor { epoch: Epoch(0x9c1f_6e0b_7a3d_5e24), offset }
}

fn id(text: &str) -> NotificationId {
    NotificationId::parse(text).unwrap()
}

fn report() -> NotificationId {
    id("8214134b-5784-8ca4-baf3-8de40ae24211")
}

fn like() -> NotificationId {
    id("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1")
}

/// A notification with every optional member.
fn full(read_at: Option<Time>) -> Notification {
    Notification {
        id: report(),
        content: Arc::new(Content {
            kind: "REPORT_APPROVED".into(),
            title: "Report approved".into(),
            body: Some("Your quarterly report was approved.\nThank you — merci ✓".into()),
            data: data(r#"{"reportId":"123","pages":7,"share":0.5,"tags":["q3",null]}"#),
            action_url: Some("/reports/123".into()),
            priority: Priority::High,
            expires_at: Some(Time(1_795_276_800_123)),
            collapse_key: Some("report-123".into()),
            channels: Channels::Push,
            digest_ms: None,
            trace: None,
        }),
        cursor: cursor(42),
        created_at: Time(1_795_190_400_123),
        read_at,
        silent: true,
    }
}

/// A notification without any optional member.
fn bare() -> Notification {
    Notification {
        id: like(),
        content: Arc::new(Content {
            kind: "like".into(),
            title: "Bob likes your post".into(),
            body: None,
            data: data("{}"),
            action_url: None,
            priority: Priority::Normal,
            expires_at: None,
            collapse_key: None,
            channels: Channels::All,
            digest_ms: None,
            trace: None,
        }),
        cursor: cursor(43),
        created_at: Time(1_795_190_401_000),
        read_at: None,
        silent: false,
    }
}

/// A notification that was accepted fast.
pub(crate) fn logged_send() -> LoggedSend {
    let (sender, recipient) = (UserId::new("billing").unwrap(), UserId::new("alice").unwrap());
    LoggedSend {
        id: SendId::of_key(&sender, "/api/notifications/send", "invoice-7"),
        sender,
        fingerprint: [7; 32],
        answer: "{}".into(),
        recipient,
        content: bare().content,
        silent: false,
        retention_ms: 0,
        accepted_at: bare().created_at,
    }
}

fn data(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

fn hiking() -> ChatId {
    ChatId::parse("6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18").unwrap()
}

/// A message with every member.
fn said() -> Message {
    Message {
        id: MessageId::parse("0c4be2d7-19a6-8f3b-8e55-b7d20f6a1c93").unwrap(),
        chat: hiking(),
        seq: 7,
        sender: Some(UserId::new("alice").unwrap()),
        client_id: Some("m-7".into()),
        body: "See you at eight?\nBring — the map ✓".into(),
        data: data(r#"{"place":"station"}"#),
        created_at: Time(1_795_190_400_123),
        is_erased: false,
    }
}

/// The same, accepted fast.
fn logged_message() -> LoggedMessage {
    let Message { id, chat, sender, client_id, body, data, created_at, .. } = said();
    let (sender, client_id) = (sender.unwrap(), client_id.unwrap());
    LoggedMessage { id, chat, sender, client_id, body, data, accepted_at: created_at, trace: None }
}

/// A chat with every member, one of whose participants was erased.
fn group(owner: &UserId) -> Chat {
    Chat {
        id: hiking(),
        kind: Kind::Group,
        title: Some("Hiking".into()),
        status: Status::Accepted,
        participants: vec![
            Participant { user_id: Some(owner.clone()), role: Role::Owner, read_seq: 7 },
            Participant { user_id: None, role: Role::Member, read_seq: 3 },
        ],
        member_count: 2,
        created_by: Some(owner.clone()),
        created_at: Time(1_795_190_400_123),
        version: 4,
        last_seq: 7,
    }
}

/// A chat without any optional member.
fn pair() -> Chat {
    Chat {
        kind: Kind::Direct,
        title: None,
        status: Status::Pending,
        participants: Vec::new(),
        created_by: None,
        version: 1,
        last_seq: 0,
        ..group(&UserId::new("alice").unwrap())
    }
}

const ETAG: &str = r#""3q2-7wAAAAAAAAAAAAAAAA.AAAAAAAA""#;
/// An emitted event.
const EMITTED: &str = r#"{"type":"announcement","id":"0b6c1f2e-4d3a-8b95-9c7e-1a2b3c4d5e6f","name":null,"title":"Maintenance at noon","body":null,"data":{"minutes":30}}"#;

fn complete() -> Sync {
    Sync {
        notifications: vec![bare(), full(Some(Time(1_795_190_700_000)))],
        deleted: vec![id("5b0e3c77-91d4-8f02-9a6c-7e1f20c8a4d3")],
        chats: Some(vec![Summary {
            chat_id: hiking(),
            last_seq: 7,
            read_seq: 5,
            unread: 2,
            status: Status::Accepted,
            version: 4,
        }]),
        chats_complete: Some(true),
        events: Some(vec![RawValue::from_string(EMITTED.into()).unwrap()]),
        unread_count: 1,
        cursor: cursor(44),
        etag: ETAG.into(),
        complete: true,
    }
}

fn partial() -> Sync {
    Sync {
        notifications: vec![bare()],
        deleted: Vec::new(),
        chats: None,
        chats_complete: None,
        events: None,
        unread_count: 250,
        cursor: cursor(43),
        etag: ETAG.into(),
        complete: false,
    }
}

/// Frames as production serialises them, by the name of their example.
struct Serialised(BTreeMap<&'static str, Value>);

impl Serialised {
    fn add(&mut self, name: &'static str, files: &[&str], frame: &Frame) {
        assert!(files.contains(&name), "{name} is an example of another variant");
        let frame: Value = serde_json::from_str(frame).unwrap();
        let file = name.rsplit('/').next().unwrap();
        assert_eq!(frame["type"], file.split('-').next().unwrap(), "the file name begins with the type");
        assert!(self.0.insert(name, frame).is_none(), "{name} is used twice");
    }

    fn event(&mut self, name: &'static str, event: &Event<'_>) {
        self.add(name, of_event(event), &protocol::frame(event));
    }

    fn chats(&mut self) {
        let (message, alice, bob) = (said(), UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let erased = Message {
            sender: None,
            client_id: None,
            body: String::new(),
            data: data("{}"),
            is_erased: true,
            ..message.clone()
        };
        let (chat_id, seq) = (message.chat, message.seq);
        self.event("chat/message", &Event::Message { chat_id, seq, message: &message });
        self.event("chat/message-erased", &Event::Message { chat_id, seq, message: &erased });
        self.event("chat/fetch", &Event::FetchMessage { chat_id, seq });
        self.event("chat/receipt", &Event::Receipt { chat_id, user_id: &bob, seq });
        self.event("chat/chat", &Event::Chat { chat: &group(&alice) });
        self.event("chat/chat-bare", &Event::Chat { chat: &pair() });
        self.event("chat/chat-removed", &Event::RemovedFromChat { chat_id, removed: true });
        self.event("chat/typing", &Event::Typing { chat_id, user_id: &bob, on: true });
        let logged = logged_message();
        self.event("chat/message-logged", &Event::LoggedMessage { chat_id, seq: (), message: &logged });
        let (stored, logged) = (Said::Stored(message), Said::Logged(logged));
        self.reply("chat/sent", &ReplyFrame::Sent { reference: Some("m1"), message: &stored });
        self.reply("chat/sent-logged", &ReplyFrame::Sent { reference: Some("m1"), message: &logged });
        self.reply("chat/fetch-sent", &ReplyFrame::SentTooLarge { reference: Some("m1"), chat_id, seq: Some(seq) });
        let online = |user_id, last_seen_at| UserPresence { user_id, online: Some(last_seen_at > None), last_seen_at };
        let known = [online(bob, Some(Time(1_795_190_400_123))), online(UserId::new("carol").unwrap(), None)];
        self.event("chat/presence", &Event::Presence { users: &known[..1] });
        self.reply("chat/presence-asked", &ReplyFrame::Presence { reference: Some("o1"), users: &known });
        let unread = ReplyFrame::Ok { reference: Some("c1"), updated: None, unread: Some(2), expires_at: None };
        self.reply("chat/ok-unread", &unread);
    }

    fn reply(&mut self, name: &'static str, reply: &ReplyFrame<'_>) {
        self.add(name, of_reply(reply), &protocol::frame(reply));
    }
}

#[test]
fn frames_of_the_server_are_serialised_as_in_the_examples() {
    let mut serialised = Serialised(BTreeMap::new());
    let arrived = |prev, head, notification, unread_count, replaces| Event::Notification {
        cursor: cursor(head),
        prev: cursor(prev),
        notification,
        unread_count,
        replaces,
        silent: (head == 42).then_some(true),
    };
    let (full, bare, both) = (full(None), bare(), [report(), like()]);
    serialised.event("notification", &arrived(40, 42, &full, 3, &both[1..]));
    serialised.event("notification-bare", &arrived(42, 43, &bare, 1, &[]));
    let logged = logged_send();
    let unplaced =
        Event::LoggedNotification { cursor: (), prev: (), notification: &logged, unread_count: (), silent: None };
    serialised.event("notification-logged", &unplaced);
    let changed = |prev, head, ids, change, unread_count| Event::Changed {
        cursor: cursor(head),
        prev: cursor(prev),
        ids,
        change,
        unread_count,
    };
    serialised.event("changed-read", &changed(43, 45, &both, ChangeKind::Read, 0));
    serialised.event("changed-unread", &changed(45, 46, &both[..1], ChangeKind::Unread, 1));
    serialised.event("changed-deleted", &changed(46, 47, &both[..1], ChangeKind::Deleted, 0));
    serialised.event("changed-expired", &changed(47, 48, &both[1..], ChangeKind::Expired, 0));
    serialised.event("changed-snoozed", &changed(48, 49, &both[..1], ChangeKind::Snoozed, 0));
    serialised.event("fetch", &Event::Fetch { cursor: cursor(42), prev: cursor(41), id: report() });
    serialised.event("resync", &Event::Resync);
    serialised.event("stream/reconnect", &Event::Reconnect);
    serialised.chats();

    serialised.reply("pong", &ReplyFrame::Pong { reference: Some("p1"), cursor: cursor(43), etag: ETAG });
    serialised.reply("sync", &ReplyFrame::Sync { reference: Some("s1"), sync: &complete() });
    serialised.reply("sync-partial", &ReplyFrame::Sync { reference: Some("s2"), sync: &partial() });
    serialised.reply("ok", &ReplyFrame::Ok { reference: Some("r1"), updated: None, unread: None, expires_at: None });
    serialised.reply(
        "ok-updated",
        &ReplyFrame::Ok { reference: Some("r2"), updated: Some(2), unread: None, expires_at: None },
    );
    let until = Some(Time(1_795_194_000_000));
    serialised.reply(
        "ok-expiresAt",
        &ReplyFrame::Ok { reference: Some("a1"), updated: None, unread: None, expires_at: until },
    );
    serialised.reply("error", &ReplyFrame::error(Some("r3"), &Error::RateLimited { retry_after_ms: 250 }));
    serialised.reply("error-bare", &ReplyFrame::error(None, &Error::TokenExpired));

    let of_streams = files("stream").into_iter().map(|(name, text)| (format!("stream/{name}"), text));
    let of_chats = files("chat").into_iter().map(|(name, text)| (format!("chat/{name}"), text));
    let files: BTreeMap<String, String> = files("").into_iter().chain(of_chats).chain(of_streams).collect();
    assert_eq!(names(serialised.0.keys()), names(ALL_EVENTS.iter().chain(ALL_REPLIES)));
    assert_eq!(names(files.keys()), names(serialised.0.keys()));
    for (name, frame) in &serialised.0 {
        let example: Value = serde_json::from_str(&files[*name]).unwrap();
        assert_eq!(*frame, example, "{name}");
    }
}

fn draft(client_id: &str, body: &str, of_data: &str) -> Draft {
    Draft { client_id: client_id.into(), body: body.into(), data: data(of_data), accept: None }
}

#[test]
fn frames_of_clients_are_parsed_as_in_the_examples() {
    let since = Some(cursor(41));
    let of_type = Change::ReadAll { kind: Some("like".into()), before: Some(cursor(43)) };
    let actions = [
        ("ping", Some("p1"), Action::Ping),
        ("sync", Some("s1"), Action::Sync(since)),
        ("sync-everything", Some("s2"), Action::Sync(None)),
        ("ack", None, Action::Ack(cursor(43))),
        ("read", Some("r1"), Action::Change(Change::Read(vec![report(), like()]))),
        ("unread", Some("r4"), Action::Change(Change::Unread(vec![report()]))),
        ("delete", Some("r5"), Action::Change(Change::Delete(vec![report()]))),
        ("readAll", Some("r2"), Action::Change(of_type)),
        ("readAll-bare", None, Action::Change(Change::ReadAll { kind: None, before: None })),
        (
            "sendMessage",
            Some("m1"),
            Action::SendMessage(
                hiking(),
                Draft { accept: Some(Accept::Durable), ..draft("m-7", &said().body, r#"{"place":"station"}"#) },
            ),
        ),
        ("sendMessage-bare", None, Action::SendMessage(hiking(), draft("m-8", "Hi", "{}"))),
        ("readChat", Some("c1"), Action::ReadChat(hiking(), 7)),
        ("typing", None, Action::Typing(hiking(), false)),
        ("presence", Some("o1"), Action::Presence(["bob", "carol"].map(|user| UserId::new(user).unwrap()).into())),
        ("auth", Some("a1"), Action::Auth("q83vASNFZ4mrze8BI0VniQ".into())),
    ];
    let files = files("client");
    assert_eq!(names(actions.iter().map(|(name, ..)| name)), names(ALL_ACTIONS));
    assert_eq!(names(files.keys()), names(ALL_ACTIONS));
    for (name, reference, action) in actions {
        assert!(of_action(&action).contains(&name), "{name} is an example of another action");
        let example: Value = serde_json::from_str(&files[name]).unwrap();
        assert_eq!(example["action"], name.split('-').next().unwrap(), "the file name must begin with its action");
        let read = ClientFrame::read(&files[name]);
        assert_eq!((read.reference.as_deref(), read.action), (reference, Ok(action)), "{name}");
    }
}
