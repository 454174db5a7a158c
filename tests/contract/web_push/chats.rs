//! The suite of digests of chats in `shared::web_push::pushes::WebPushes`.

use shared::chat::chats::Change;
use shared::clock::Time;
use shared::delivery::PUSH_GRACE_MS;
use shared::delivery::deliveries::MAX_PUSH_DELAY_MS;
use shared::fast::logged::LoggedMessage;
use shared::ids::{ChatId, ConnectionId, MessageId};
use shared::web_push::pushes::{CHAT_DIGEST_MS, DigestContent, DigestEnd, DigestTag, DueDigest, SettledDigest};

use super::{subscribe, take_digests};
use crate::record::{Record, START_MS, at, user};

on_each_record! {
    absent_members_are_told_of_messages_together,
    whoever_is_connected_writes_or_has_no_subscription_is_not_told,
    of_a_group_only_those_involved_are_told,
    reading_cancels,
    one_who_connects_leaves_or_declines_is_told_apart,
    more_messages_replace_what_is_shown,
    what_is_shown_is_closed_once_it_is_read,
    what_is_read_while_it_is_sent_is_closed,
    who_leaves_is_removed_declines_hides_or_answers_has_it_closed,
    a_member_who_disconnects_before_the_push_is_told,
    who_was_told_is_not_told_again_by_a_further_push,
    what_is_unwanted_leaves_what_is_shown_to_be_closed,
    what_was_told_at_night_is_not_closed_under_its_own_tag,
    what_was_accepted_fast_is_told_too,
    a_title_and_all_who_wrote_are_told,
}

/// What a digest tells of a chat.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    to: String,
    count: i64,
    newest: Option<String>,
    senders: Vec<String>,
}

fn told(taken: &[DueDigest]) -> Vec<Told> {
    let told = |digest: &DueDigest| match &digest.content {
        DigestContent::Messages { count, newest, senders, .. } => Told {
            to: digest.key.user.to_string(),
            count: *count,
            newest: newest.clone(),
            senders: senders.iter().map(ToString::to_string).collect(),
        },
        other @ DigestContent::Notifications { .. } => panic!("{other:?}"),
    };
    taken.iter().map(told).collect()
}

fn to(name: &str, count: i64, newest: &str, senders: &[&str]) -> Told {
    Told {
        to: name.to_owned(),
        count,
        newest: (count > 0).then(|| newest.to_owned()),
        senders: senders.iter().map(|name| (*name).to_owned()).collect(),
    }
}

async fn ends_at(record: &Record, taken: &[DueDigest], end: DigestEnd, after_ms: i64) {
    let settled: Vec<SettledDigest<'_>> =
        taken.iter().map(|digest| SettledDigest { key: &digest.key, end: end.clone() }).collect();
    record.web_pushes().settle_digests(&settled, at(after_ms)).await.unwrap();
}

async fn says(record: &Record, chat: ChatId, name: &str, text: &str, after_ms: i64) -> bool {
    record.say(chat, name, text, at(after_ms)).await.1.web_push_is_due
}

async fn reads(record: &Record, chat: ChatId, name: &str, seq: i64, after_ms: i64) -> bool {
    let marked = record.messages().read(chat, &user(name), seq, at(after_ms)).await.unwrap();
    marked.expect("the user is a member").web_push_is_due
}

/// A message that was accepted fast.
fn logged(chat: ChatId, name: &str, text: &str) -> LoggedMessage {
    LoggedMessage {
        id: MessageId::of(chat, &user(name), text),
        chat,
        sender: user(name),
        client_id: text.into(),
        body: text.into(),
        data: serde_json::value::RawValue::from_string("{}".into()).unwrap(),
        accepted_at: Time(START_MS),
        trace: None,
    }
}

async fn absent_members_are_told_of_messages_together(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    assert!(says(&record, chat, "alice", "one", 0).await);
    assert!(says(&record, chat, "alice", "two", 10).await);
    assert_eq!(record.next_due().await, Ok(Some(START_MS + CHAT_DIGEST_MS)));
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS - 1).await), []);
    let taken = take_digests(&record, CHAT_DIGEST_MS).await;
    assert_eq!(told(&taken), [to("bob", 2, "two", &["alice"])]);
    assert_eq!(taken[0].key.tag, DigestTag::Chat(chat));
    assert_eq!(taken[0].subscriptions.len(), 1);
}

async fn whoever_is_connected_writes_or_has_no_subscription_is_not_told(record: Record) {
    for name in ["alice", "bob"] {
        subscribe(&record, name, name).await;
    }
    let chat = record.accepted().await;
    record.connect("bob", "tab", at(0)).await;
    assert!(!says(&record, chat, "alice", "one", 1).await);
    assert!(says(&record, chat, "bob", "two", 2).await, "alice is absent");
    assert_eq!(told(&take_digests(&record, 2 + CHAT_DIGEST_MS).await), [to("alice", 1, "two", &["bob"])]);
    let other = record.group(&["cem"]).await;
    assert!(!says(&record, other, "alice", "three", 3).await, "cem has no subscription");
}

async fn of_a_group_only_those_involved_are_told(record: Record) {
    for name in ["bob", "cem"] {
        subscribe(&record, name, name).await;
    }
    let chat = record.group(&["bob", "cem"]).await;
    assert!(!says(&record, chat, "alice", "one", 0).await);
    reads(&record, chat, "bob", 1, 1).await;
    assert!(says(&record, chat, "alice", "two", 2).await);
    assert_eq!(told(&take_digests(&record, 2 + CHAT_DIGEST_MS).await), [to("bob", 1, "two", &["alice"])]);
}

async fn reading_cancels(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    for text in ["one", "two"] {
        says(&record, chat, "alice", text, 0).await;
    }
    assert!(!reads(&record, chat, "bob", 2, 1).await, "nothing is shown yet");
    let taken = take_digests(&record, CHAT_DIGEST_MS).await;
    assert_eq!(told(&taken), [to("bob", 0, "", &[])]);
    ends_at(&record, &taken, DigestEnd::Dropped, CHAT_DIGEST_MS).await;
    assert_eq!(record.next_due().await, Ok(None));
}

async fn one_who_connects_leaves_or_declines_is_told_apart(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    says(&record, chat, "alice", "one", 0).await;
    record.connect("bob", "tab", at(1)).await;
    let taken = take_digests(&record, CHAT_DIGEST_MS).await;
    assert!(matches!(taken[0].content, DigestContent::Messages { count: 1, is_connected: true, .. }), "{taken:?}");
    ends_at(&record, &taken, DigestEnd::Dropped, CHAT_DIGEST_MS).await;
    subscribe(&record, "cem", "tablet").await;
    let group = record.group(&["cem"]).await;
    reads(&record, group, "cem", 0, 2).await;
    says(&record, group, "alice", "two", 3).await;
    record.changed(group, "cem", Change::Leave).await;
    assert_eq!(told(&take_digests(&record, 3 + CHAT_DIGEST_MS).await), [to("cem", 0, "", &[])]);
}

async fn more_messages_replace_what_is_shown(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    says(&record, chat, "alice", "one", 0).await;
    let first = take_digests(&record, CHAT_DIGEST_MS).await;
    // While it is sent: told with the next.
    says(&record, chat, "alice", "two", CHAT_DIGEST_MS + 1).await;
    ends_at(&record, &first, DigestEnd::Sent, CHAT_DIGEST_MS + 2).await;
    assert_eq!(told(&take_digests(&record, 2 * CHAT_DIGEST_MS + 1).await), []);
    let second = take_digests(&record, 2 * CHAT_DIGEST_MS + 2).await;
    assert_eq!(told(&second), [to("bob", 2, "two", &["alice"])]);
    ends_at(&record, &second, DigestEnd::Sent, 2 * CHAT_DIGEST_MS + 3).await;
    assert_eq!(record.next_due().await, Ok(None));
    // After it was sent: after the same time again.
    says(&record, chat, "alice", "three", 5 * CHAT_DIGEST_MS).await;
    assert_eq!(told(&take_digests(&record, 6 * CHAT_DIGEST_MS - 1).await), []);
    assert_eq!(told(&take_digests(&record, 6 * CHAT_DIGEST_MS).await), [to("bob", 3, "three", &["alice"])]);
}

async fn what_is_shown_is_closed_once_it_is_read(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    for text in ["one", "two"] {
        says(&record, chat, "alice", text, 0).await;
    }
    ends_at(&record, &take_digests(&record, CHAT_DIGEST_MS).await, DigestEnd::Sent, CHAT_DIGEST_MS).await;
    assert!(!reads(&record, chat, "bob", 1, CHAT_DIGEST_MS + 1).await, "one is unread");
    assert!(reads(&record, chat, "bob", 2, CHAT_DIGEST_MS + 2).await);
    let taken = take_digests(&record, CHAT_DIGEST_MS + 2).await;
    assert_eq!((told(&taken), taken[0].is_shown), (vec![to("bob", 0, "", &[])], true));
    ends_at(&record, &taken, DigestEnd::Dropped, CHAT_DIGEST_MS + 3).await;
    assert_eq!(told(&take_digests(&record, 100 * CHAT_DIGEST_MS).await), []);
    // The next message begins anew.
    says(&record, chat, "alice", "three", 100 * CHAT_DIGEST_MS).await;
    let taken = take_digests(&record, 101 * CHAT_DIGEST_MS).await;
    assert_eq!((told(&taken), taken[0].is_shown), (vec![to("bob", 1, "three", &["alice"])], false));
}

async fn what_is_read_while_it_is_sent_is_closed(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    says(&record, chat, "alice", "one", 0).await;
    let taken = take_digests(&record, CHAT_DIGEST_MS).await;
    reads(&record, chat, "bob", 1, CHAT_DIGEST_MS + 1).await;
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS + 1).await), [], "the claim holds");
    ends_at(&record, &taken, DigestEnd::Sent, CHAT_DIGEST_MS + 2).await;
    let closing = take_digests(&record, 2 * CHAT_DIGEST_MS + 2).await;
    assert_eq!((told(&closing), closing[0].is_shown), (vec![to("bob", 0, "", &[])], true));
}

async fn who_leaves_is_removed_declines_hides_or_answers_has_it_closed(record: Record) {
    enum End {
        Change(&'static str, Change),
        Hide,
        Answer,
        AnswerFast,
    }
    let ends = [
        ("leaver", End::Change("leaver", Change::Leave)),
        ("removed", End::Change("alice", Change::Remove(vec![user("removed"), user("stranger")]))),
        ("hider", End::Hide),
        ("writer", End::Answer),
        ("fast", End::AnswerFast),
        ("bob", End::Change("bob", Change::Decline)),
    ];
    let group = record.group(&["leaver", "removed", "hider", "writer", "fast"]).await;
    let direct = record.accepted().await;
    for (name, _) in &ends {
        subscribe(&record, name, name).await;
        if *name != "bob" {
            reads(&record, group, name, 0, 0).await;
        }
    }
    for chat in [group, direct] {
        says(&record, chat, "alice", "one", 0).await;
    }
    let shown = take_digests(&record, CHAT_DIGEST_MS).await;
    assert_eq!(shown.len(), ends.len());
    ends_at(&record, &shown, DigestEnd::Sent, CHAT_DIGEST_MS).await;
    for (n, (name, end)) in ends.into_iter().enumerate() {
        let now_ms = (2 + i64::try_from(n).unwrap()) * 10 * CHAT_DIGEST_MS;
        let chat = if name == "bob" { direct } else { group };
        // The next digest is collected: the end does not wait for it.
        says(&record, chat, "alice", name, now_ms - 1).await;
        match end {
            End::Change(by, change) => {
                record.changed(chat, by, change).await;
            }
            End::Hide => record.hide(chat, name, true).await,
            End::Answer => assert!(says(&record, chat, name, "an answer", now_ms).await, "it is closed at once"),
            End::AnswerFast => {
                let answer = logged(chat, name, "a fast answer");
                assert_eq!(record.fast().write_messages(&[answer], at(now_ms)).await, Ok(Vec::new()));
            }
        }
        let taken = take_digests(&record, now_ms).await;
        assert_eq!((told(&taken), taken[0].is_shown), (vec![to(name, 0, "", &[])], true), "{name}");
        ends_at(&record, &taken, DigestEnd::Dropped, now_ms).await;
        // What the others are told of the answers is no matter here.
        let others = take_digests(&record, now_ms + CHAT_DIGEST_MS).await;
        ends_at(&record, &others, DigestEnd::Sent, now_ms + CHAT_DIGEST_MS).await;
    }
}

async fn a_member_who_disconnects_before_the_push_is_told(record: Record) {
    for name in ["alice", "bob", "cem", "dora"] {
        subscribe(&record, name, name).await;
    }
    let chat = record.group(&["bob", "cem", "dora", "eve"]).await;
    for name in ["bob", "cem", "dora", "eve"] {
        reads(&record, chat, name, 0, 0).await;
        record.connect(name, name, at(0)).await;
    }
    assert!(!says(&record, chat, "alice", "one", 1).await, "all are connected");
    let gone = ["bob", "dora", "eve"].map(ConnectionId::new);
    record.connections().forget(&gone).await.unwrap();
    reads(&record, chat, "dora", 1, 2).await;
    let due = record.messages().take_due_messages(10, at(PUSH_GRACE_MS + 1)).await.unwrap();
    assert_eq!(due.len(), 1, "cem is connected");
    assert_eq!(record.next_due().await, Ok(Some(START_MS + 2 * PUSH_GRACE_MS + 1)), "it is pushed to cem again");
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS).await), []);
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS + 1).await), [to("bob", 1, "one", &["alice"])]);
}

async fn who_was_told_is_not_told_again_by_a_further_push(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.group(&["bob", "cem"]).await;
    reads(&record, chat, "bob", 0, 0).await;
    record.connect("cem", "cem", at(0)).await;
    assert!(says(&record, chat, "alice", "one", 1).await);
    let mut now_ms = PUSH_GRACE_MS + 1;
    record.messages().take_due_messages(10, at(now_ms)).await.unwrap();
    let taken = take_digests(&record, CHAT_DIGEST_MS + 1).await;
    assert_eq!((told(&taken), taken[0].key.arrivals), (vec![to("bob", 1, "one", &["alice"])], 1));
    ends_at(&record, &taken, DigestEnd::Sent, CHAT_DIGEST_MS + 1).await;
    for _ in 0..3 {
        now_ms += MAX_PUSH_DELAY_MS;
        assert_eq!(
            record.messages().take_due_messages(10, at(now_ms)).await.unwrap().len(),
            1,
            "cem's does not answer"
        );
        assert_eq!(told(&take_digests(&record, now_ms).await), []);
    }
    // The next message is told, even if the connection that was found at first has ended.
    record.connect("bob", "tab", at(now_ms)).await;
    assert!(!says(&record, chat, "alice", "two", now_ms).await);
    record.connections().forget(&[ConnectionId::new("tab")]).await.unwrap();
    record.messages().take_due_messages(10, at(now_ms + PUSH_GRACE_MS)).await.unwrap();
    let taken = take_digests(&record, now_ms + CHAT_DIGEST_MS).await;
    assert_eq!(told(&taken), [to("bob", 2, "two", &["alice"])]);
}

async fn what_is_unwanted_leaves_what_is_shown_to_be_closed(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    says(&record, chat, "alice", "one", 0).await;
    ends_at(&record, &take_digests(&record, CHAT_DIGEST_MS).await, DigestEnd::Sent, CHAT_DIGEST_MS).await;
    says(&record, chat, "alice", "two", CHAT_DIGEST_MS).await;
    ends_at(&record, &take_digests(&record, 2 * CHAT_DIGEST_MS).await, DigestEnd::Unwanted, 2 * CHAT_DIGEST_MS).await;
    assert_eq!(record.next_due().await, Ok(None));
    assert!(reads(&record, chat, "bob", 2, 2 * CHAT_DIGEST_MS + 1).await);
    assert!(take_digests(&record, 2 * CHAT_DIGEST_MS + 1).await[0].is_shown);
    // Where nothing is shown, nothing is left.
    let other = record.group(&["bob"]).await;
    reads(&record, other, "bob", 0, 0).await;
    says(&record, other, "alice", "three", 0).await;
    ends_at(&record, &take_digests(&record, 3 * CHAT_DIGEST_MS).await, DigestEnd::Unwanted, 3 * CHAT_DIGEST_MS).await;
    assert!(!reads(&record, other, "bob", 1, 3 * CHAT_DIGEST_MS).await);
}

async fn what_was_told_at_night_is_not_closed_under_its_own_tag(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    says(&record, chat, "alice", "one", 0).await;
    let morning_ms = 9 * CHAT_DIGEST_MS;
    let held = DigestEnd::Held(START_MS + morning_ms);
    ends_at(&record, &take_digests(&record, CHAT_DIGEST_MS).await, held, CHAT_DIGEST_MS).await;
    ends_at(&record, &take_digests(&record, morning_ms).await, DigestEnd::Sent, morning_ms).await;
    assert!(!reads(&record, chat, "bob", 1, morning_ms + 1).await);
}

async fn what_was_accepted_fast_is_told_too(record: Record) {
    subscribe(&record, "bob", "phone").await;
    let chat = record.accepted().await;
    let logged = ["one", "two"].map(|text| logged(chat, "alice", text));
    assert_eq!(record.fast().write_messages(&logged, at(5)).await, Ok(Vec::new()));
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS + 4).await), []);
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS + 5).await), [to("bob", 2, "two", &["alice"])]);
    // Writing them again, as after a crash, tells nobody.
    assert_eq!(record.fast().write_messages(&logged, at(CHAT_DIGEST_MS + 6)).await, Ok(Vec::new()));
    assert_eq!(told(&take_digests(&record, CHAT_DIGEST_MS + 7).await), []);
}

async fn a_title_and_all_who_wrote_are_told(record: Record) {
    subscribe(&record, "dora", "phone").await;
    let chat = record.group(&["bob", "cem", "dora"]).await;
    reads(&record, chat, "dora", 0, 0).await;
    for (name, text) in [("bob", "1"), ("alice", "2"), ("bob", "3"), ("cem", "4"), ("bob", "5")] {
        says(&record, chat, name, text, 1).await;
    }
    let taken = take_digests(&record, 1 + CHAT_DIGEST_MS).await;
    assert_eq!(told(&taken), [to("dora", 5, "5", &["bob", "cem", "alice"])]);
    let DigestContent::Messages { title, .. } = &taken[0].content else { panic!("{taken:?}") };
    assert_eq!(title.as_deref(), Some("climbing"));
}
