//! What calls, frames and drains ask of the record, on the rows of `filled.sql`. Each act finds something, and something else
//! in each round.

use std::sync::Arc;

use harness::push_service::Browser;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::chat::Kind;
use shared::chat::chats::{Change as ChatChange, Created, MemberPage, NewChat, Page as ChatPage};
use shared::chat::messages::{Appended as AppendedMessage, NewMessage, Range};
use shared::clock::{At, Time};
use shared::delivery::Delivery;
use shared::delivery::deliveries::RowKey;
use shared::fast::logged::{LoggedMessage, LoggedSend};
use shared::ids::{ChatId, ConnectionId, MessageId, NotificationId, SendId, UserId, sha256};
use shared::inbox::bounds::Bounds;
use shared::inbox::history::SendQuery;
use shared::inbox::notification::{Channels, Content, Priority};
use shared::inbox::retention::MAX_PURGED;
use shared::inbox::send::Due;
use shared::inbox::sends::{Append, Appended, Cancelled};
use shared::inbox::snooze::Snoozed;
use shared::inbox::{Change, Page};
use shared::preferences::Preferences;
use shared::presence::acquaintances::MAX_NEIGHBOURS;
use shared::record::Record;
use shared::sockets::connections::{Extended, Opened, Opening, Ticket};
use shared::web_push::endpoint::PushHosts;
use shared::web_push::pushes::{DigestEnd, PushEnd, SettledDigest, SettledPush};
use shared::web_push::subscription::Subscription;
use shared::web_push::subscriptions::Subscribed;

const NOW_MS: i64 = 1_800_000_000_000;
const NOW: At = At::Fixed(NOW_MS);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// All of it once.
pub(crate) async fn all(record: &Record, round: usize) {
    send(record, round).await;
    read_inbox(record, round).await;
    change_inbox(record, round).await;
    push_rows(record).await;
    let due = [
        record.deliveries.materialise(100, NOW).await.unwrap().chunks,
        record.deliveries.materialise(1, NOW).await.unwrap().chunks,
        record.retention.purge(30 * DAY_MS, NOW).await.unwrap().tombstones,
    ];
    assert_eq!((due[0] > 1, due[1], due[2]), (true, 1, MAX_PURGED));
    record.snoozes.unsnooze(50, NOW).await.unwrap();
    record.retention.expire(50, NOW).await.unwrap();
    open_sockets(record, round).await;
    for (chat, sender, reader) in [(chat(1), user(2_007), user(4_006)), (chat(2), user(7), user(8))] {
        talk(record, chat, &sender, &reader, round).await;
    }
    assert!(!record.messages.take_due_messages(2, NOW).await.unwrap().is_empty());
    change_chats(record, round).await;
    tell_presence(record).await;
    push_to_browsers(record, round).await;
    write_logs(record, round).await;
}

fn user(n: usize) -> UserId {
    UserId::new(format!("user {n}")).unwrap()
}

fn users(first: usize, count: usize) -> Vec<UserId> {
    (first..first + count).map(user).collect()
}

fn uuid(n: usize) -> String {
    format!("00000000-0000-0000-0000-{n:012}")
}

fn chat(n: usize) -> ChatId {
    ChatId::parse(&uuid(n)).unwrap()
}

fn notification(n: usize) -> NotificationId {
    NotificationId::parse(&uuid(n)).unwrap()
}

fn content(collapse_key: Option<&str>) -> Arc<Content> {
    Arc::new(Content {
        kind: "T1".into(),
        title: "Hi".into(),
        body: None,
        data: RawValue::from_string("{}".into()).unwrap(),
        action_url: None,
        priority: Priority::Normal,
        expires_at: None,
        collapse_key: collapse_key.map(str::to_owned),
        channels: Channels::All,
        digest_ms: None,
        trace: None,
    })
}

/// Sends to more users than are materialised at once, in each way and twice.
async fn send(record: &Record, round: usize) {
    let (sender, recipients) = (UserId::new("shop 1").unwrap(), users(10_000 + 250 * round, 250));
    for (collapse_key, due) in [(None, Due::Now), (Some("door"), Due::Now), (None, Due::After(60_000))] {
        let append = Append {
            id: SendId::random(),
            sender: &sender,
            fingerprint: [0; 32],
            content: content(collapse_key),
            recipients: &recipients,
            answer: "{}",
            due,
            retention_ms: 90 * DAY_MS,
        };
        assert!(matches!(record.sends.append(&append, NOW).await.unwrap(), Appended::Stored(_)));
        assert!(matches!(record.sends.append(&append, NOW).await.unwrap(), Appended::Known(_)));
        let cancelled = record.sends.cancel(append.id, &sender).await.unwrap();
        assert_eq!(cancelled, if due == Due::Now { Cancelled::Started } else { Cancelled::Done });
    }
    let query = SendQuery { sender: Some(sender), limit: 50, ..SendQuery::default() };
    assert_eq!(record.history.sends(&query, NOW).await.unwrap().sends.len(), 50);
    assert!(record.history.trace(notification(30_000 + round), None, NOW).await.unwrap().is_some());
}

/// Reads a long inbox and a short one.
async fn read_inbox(record: &Record, round: usize) {
    for reader in [UserId::new("busy").unwrap(), user(30_000 + round)] {
        let position = record.inbox.position(&reader, NOW).await.unwrap();
        assert!(position.head >= 3);
        record.inbox.unread_of_type(&reader, "T1", NOW).await.unwrap();
        for (kind, unread) in [(None, false), (Some("T1"), true)] {
            let page = Page { before: None, bounds: Bounds::items(50), kind: kind.map(str::to_owned), unread };
            record.inbox.list(&reader, &page, NOW).await.unwrap();
        }
        for since in [None, Some(position.cursor_at(position.head - 1))] {
            assert!(record.inbox.changes(&reader, since, Bounds::items(50), NOW).await.unwrap().is_some());
        }
    }
}

/// Changes an inbox whose three notifications are unread and do not expire.
async fn change_inbox(record: &Record, round: usize) {
    let n = 40_009 + 10 * round;
    let (owner, ids) = (user(n), [0, 1, 2].map(|turn| notification(n - 1 + turn * 100_000)));
    assert!(record.inbox.find(&owner, ids[0], NOW).await.unwrap().is_some());
    for change in [
        Change::Read(vec![ids[0]]),
        Change::Unread(vec![ids[0]]),
        Change::ReadAll { kind: None, before: None },
        Change::Delete(vec![ids[0]]),
    ] {
        let changed = record.inbox.change(&owner, &change, NOW).await.unwrap().unwrap();
        assert!(!changed.ids.is_empty(), "{change:?}");
    }
    let snoozed = record.snoozes.snooze(&owner, ids[1], Time(NOW_MS + 60_000), NOW).await.unwrap();
    assert!(matches!(snoozed, Snoozed::Done(_)), "{snoozed:?}");
    let cursor = record.inbox.position(&owner, NOW).await.unwrap().cursor();
    assert!(record.inbox.acknowledge(&owner, cursor, NOW).await.unwrap());
}

/// Takes rows that are due, as a drain does first; then by their keys, as for entries of the queue.
async fn push_rows(record: &Record) {
    assert!(record.deliveries.next_due().await.unwrap().row.is_some());
    // In the first round, those of the user with a backlog.
    let resyncs = record.deliveries.take_due(50, NOW).await.unwrap().resyncs;
    let resynced: Vec<(&UserId, i64)> = resyncs.iter().map(|resync| (&resync.user, resync.through)).collect();
    record.deliveries.mark_resynced(&resynced, NOW).await.unwrap();
    let due = record.deliveries.take_due(50, NOW).await.unwrap().deliveries;
    let taken = record.deliveries.take(&keys(&due), NOW).await.unwrap();
    assert!(!taken.is_empty() && taken.len() == due.len());
    let delayed: Vec<(RowKey<'_>, i64)> = keys(&taken).into_iter().map(|key| (key, 500)).collect();
    assert!(record.deliveries.postpone(&delayed, NOW).await.unwrap().iter().all(Option::is_some));
    let offered: Vec<(&UserId, i64)> = keys(&taken).into_iter().map(|key| (key.user, key.offset)).collect();
    record.deliveries.mark_offered(&offered, NOW).await.unwrap();
}

fn keys(rows: &[Delivery]) -> Vec<RowKey<'_>> {
    rows.iter()
        .map(|row| RowKey { user: &row.user, offset: row.notification.cursor.offset, fence_ms: row.fence_ms })
        .collect()
}

/// Opens a socket, extends it, and reads those of others.
async fn open_sockets(record: &Record, round: usize) {
    let (connection, hash) = (ConnectionId::new(format!("new {round}")), sha256(format!("new {round}").as_bytes()));
    let ticket = Ticket {
        hash,
        user: user(50_000 + round),
        origin: None,
        token_issued_at_s: None,
        token_expires_at_ms: NOW_MS + DAY_MS,
        expires_at_ms: NOW_MS + 60_000,
    };
    let connections = &record.connections;
    assert!(connections.issue(&ticket, NOW).await.unwrap());
    let opening = Opening { connection: &connection, ticket_hash: hash, origin: None };
    assert!(matches!(connections.open(&opening, NOW).await.unwrap(), Opened::Registered { .. }));
    assert!(connections.issue(&ticket, NOW).await.unwrap());
    assert!(matches!(connections.extend(&connection, &hash, NOW).await.unwrap(), Extended::Until(_)));
    assert!(connections.find(&connection).await.unwrap().is_some());
    assert_eq!(connections.of(&users(60_000, 200), NOW).await.unwrap().len(), 200);
    let first = connections.page(None, NOW_MS, 100, NOW).await.unwrap();
    assert!(connections.page(first.next.as_ref(), NOW_MS, 100, NOW).await.unwrap().next.is_some());
    assert_eq!(connections.forget(std::slice::from_ref(&connection)).await.unwrap().len(), 1);
    assert!(!connections.sweep(NOW).await.unwrap().is_empty());
    assert!(!record.revocations.revoked_since(NOW_MS - 60_000).await.unwrap().is_empty());
}

/// Says something in a chat, which others read.
async fn talk(record: &Record, chat: ChatId, sender: &UserId, reader: &UserId, round: usize) {
    let client_id = format!("new {round}");
    let id = MessageId::of(chat, sender, &client_id);
    let new = NewMessage { id, chat, sender, client_id: &client_id, body: "Hi", data: "{}", trace: None };
    record.fast.check_message(&new, NOW).await.unwrap();
    let AppendedMessage::Stored { message, .. } = record.messages.append(&new, NOW).await.unwrap() else {
        panic!("the message was not stored")
    };
    assert!(record.messages.first(&new).await.unwrap().is_some());
    record.messages.mark_partly_pushed(chat, message.seq, 1, NOW).await.unwrap();
    record.messages.mark_pushed(&[(chat, message.seq)]).await.unwrap();
    for range in [Range::Last, Range::Before(3), Range::After(1)] {
        let history = record.messages.history(chat, reader, range, Bounds::items(50), &[]).await.unwrap().unwrap();
        assert!(!history.messages.is_empty());
    }
    assert!(record.messages.read(chat, reader, message.seq, NOW).await.unwrap().unwrap().has_moved);
    assert!(record.chats.find(chat, reader).await.unwrap().is_some());
    assert!(record.chats.audience(chat, reader, NOW).await.unwrap().is_some());
    let page = MemberPage { after: None, limit: 50 };
    assert!(record.chats.members(chat, reader, &page).await.unwrap().is_some());
}

/// Creates chats and changes one, hides one and shows it again, and lists what a user has.
async fn change_chats(record: &Record, round: usize) {
    let (creator, others) = (user(70_000 + round), users(80_000 + 10 * round, 3));
    let group = ChatId::of_group(&creator, "new");
    let direct = ChatId::of_pair(&creator, &others[0]);
    for (kind, id, others) in [(Kind::Direct, direct, &others[..1]), (Kind::Group, group, &others[..])] {
        let new = NewChat { id, kind, title: None, creator: &creator, others, fingerprint: [0; 32] };
        assert!(matches!(record.chats.create(&new, NOW).await.unwrap(), Created::New(_)));
    }
    let added = ChatChange::Add(vec![user(90_000 + round)]);
    assert!(record.chats.change(group, &creator, &added, NOW).await.unwrap().is_ok());
    for hidden in [true, false] {
        assert!(record.chats.set_hidden(group, &creator, hidden, NOW).await.unwrap());
        let page = ChatPage { after: None, bounds: Bounds::items(50), hidden };
        record.chats.list(&creator, &page).await.unwrap();
    }
    assert!(!record.chats.summaries(&creator, 2_000).await.unwrap().is_empty());
}

async fn tell_presence(record: &Record) {
    let (asked, member) = (users(1, 200), user(7));
    assert_eq!(record.acquaintances.visible(Some(&member), &asked).await.unwrap().len(), 199);
    assert_eq!(record.acquaintances.visible(None, &asked).await.unwrap().len(), 200);
    assert!(!record.acquaintances.neighbours(&user(2_007), MAX_NEIGHBOURS, NOW).await.unwrap().is_empty());
    record.acquaintances.saw(&member, Time(NOW_MS)).await.unwrap();
}

/// Subscribes a browser, and takes and settles what is due.
async fn push_to_browsers(record: &Record, round: usize) {
    let owner = user(20_000 + round);
    let Value::Object(members) = Browser::new().subscription(&format!("https://push.example.com/{round}")) else {
        unreachable!()
    };
    let subscription = Subscription::read(members, &PushHosts::default()).unwrap();
    let subscribed = record.subscriptions.subscribe(&owner, None, &subscription).await;
    assert_eq!(subscribed, Ok(Subscribed::Done));
    record.subscriptions.forget(&[subscription.id]).await.unwrap();
    record.preferences.set_preferences(&owner, &Preferences::default()).await.unwrap();
    record.preferences.preferences(&owner).await.unwrap();

    let due = record.web_pushes.take_pushes(100, NOW).await.unwrap();
    assert!(!due.is_empty());
    let settled: Vec<SettledPush<'_>> =
        due.iter().map(|push| SettledPush { key: &push.key, end: PushEnd::Sent }).collect();
    record.web_pushes.settle_pushes(&settled, NOW).await.unwrap();
    let due = record.web_pushes.take_digests(100, NOW).await.unwrap();
    assert!(!due.is_empty());
    let settled: Vec<SettledDigest<'_>> =
        due.iter().map(|digest| SettledDigest { key: &digest.key, end: DigestEnd::Sent }).collect();
    record.web_pushes.settle_digests(&settled, NOW).await.unwrap();
}

/// Writes what was accepted fast.
async fn write_logs(record: &Record, round: usize) {
    record.fast.fast_since().await.unwrap();
    record.fast.check_send(SendId::random(), &user(5), "T1", NOW).await.unwrap();
    let sends: Vec<LoggedSend> = users(35_000 + 50 * round, 50).into_iter().map(logged_send).collect();
    assert!(record.fast.write_sends(&sends, NOW).await.unwrap().is_empty());
    let messages: Vec<LoggedMessage> = (0..50).map(|n| logged_message(100 + 50 * round + n)).collect();
    assert!(record.fast.write_messages(&messages, NOW).await.unwrap().is_empty());
}

fn logged_send(recipient: UserId) -> LoggedSend {
    LoggedSend {
        id: SendId::random(),
        sender: UserId::new("shop 1").unwrap(),
        fingerprint: [0; 32],
        answer: "{}".into(),
        recipient,
        content: content(None),
        silent: false,
        retention_ms: 90 * DAY_MS,
        accepted_at: Time(NOW_MS),
    }
}

/// A message by the first member of a chat.
fn logged_message(n: usize) -> LoggedMessage {
    let (chat, sender) = (chat(n), user(1 + (n * 7 + 1_999) % 100_000));
    LoggedMessage {
        id: MessageId::of(chat, &sender, "logged"),
        chat,
        sender,
        client_id: "logged".into(),
        body: "Hi".into(),
        data: RawValue::from_string("{}".into()).unwrap(),
        accepted_at: Time(NOW_MS),
        trace: None,
    }
}
