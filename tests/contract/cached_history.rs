//! Histories through the cache: whatever the cache has lost, or has from elsewhere, the answer is that of the record alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::TestApp;
use shared::app::App;
use shared::chat::chats::{Change, NewChat};
use shared::chat::draft::Draft;
use shared::chat::message::{Message, Said};
use shared::chat::messages::Range;
use shared::chat::{Kind, history, writing};
use shared::clock::Time;
use shared::ids::{ChatId, sha256};
use shared::inbox::bounds::Bounds;
use shared::moment::MomentStore;
use shared::record::RecordStore;

use crate::limits::Dice;
use crate::record::{concurrently, user, users};
use crate::stores;

macro_rules! on_each {
    ($($behaviour:ident),* $(,)?) => {
        tests_on! { [$($behaviour)*]
            embedded => super::embedded,
            memory_and_postgres => super::memory_and_postgres,
            redis_and_sqlite => super::redis_and_sqlite,
            servers => super::servers,
        }
    };
}

on_each! {
    every_answer_is_that_of_the_record,
    readers_miss_nothing_while_others_write,
}

/// An app with a cache of a few messages, so that pages often need both stores.
struct Cached {
    test: TestApp,
}

impl Cached {
    async fn on(record: Option<Arc<dyn RecordStore>>, moment: Option<Arc<dyn MomentStore>>) -> Self {
        let variables = [
            ("JWT_SECRET", "a secret of at least thirty-two bytes"),
            ("CACHE_MESSAGES_MAX", "12"),
            ("RATE_LIMIT_CHAT", "100000/1s"),
        ];
        let mut test = TestApp::with(&variables).await;
        if let Some(record) = record {
            test.uses_record(record);
        }
        if let Some(moment) = moment {
            test.uses_moment(moment);
        }
        Self { test }
    }

    fn app(&self) -> &App {
        &self.test.app
    }

    /// A group of alice, bob and carol. The same client id makes the same chat.
    async fn group(&self, client_id: &str) -> ChatId {
        let (creator, others) = (user("alice"), users(&["bob", "carol"]));
        let id = ChatId::of_group(&creator, client_id);
        let new = NewChat {
            id,
            kind: Kind::Group,
            title: None,
            creator: &creator,
            others: &others,
            fingerprint: sha256(b"group"),
        };
        self.app().record.chats.create(&new, self.app().clock.at()).await.unwrap();
        id
    }

    async fn says(&self, chat: ChatId, name: &str, text: &str) -> Message {
        let draft = serde_json::json!({"clientId": text, "body": text});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        stored(writing::write(self.app(), &user(name), chat, &draft).await.unwrap().message)
    }

    /// A page, each message as JSON, and whether it is complete; `None` if the user is not a member.
    async fn page(&self, chat: ChatId, name: &str, range: Range, bounds: Bounds) -> Option<(Vec<String>, bool)> {
        let history = history::read(self.app(), &user(name), chat, range, bounds).await.unwrap()?;
        Some((history.messages.iter().map(text).collect(), history.complete))
    }

    /// The same by the record alone.
    async fn truth(&self, chat: ChatId, name: &str, range: Range, bounds: Bounds) -> Option<(Vec<String>, bool)> {
        let history = self.app().record.messages.history(chat, &user(name), range, bounds, &[]).await.unwrap()?;
        Some((history.messages.iter().map(text).collect(), history.complete))
    }
}

fn text(message: &Message) -> String {
    serde_json::to_string(message).unwrap()
}

async fn embedded() -> (Cached, ()) {
    (Cached::on(None, None).await, ())
}

async fn memory_and_postgres() -> (Cached, ()) {
    (Cached::on(Some(stores::postgres().await.0.store()), None).await, ())
}

async fn redis_and_sqlite() -> (Cached, stores::RedisGuard) {
    let (moment, guard) = stores::redis().await;
    (Cached::on(None, Some(moment)).await, guard)
}

async fn servers() -> (Cached, stores::RedisGuard) {
    let (moment, guard) = stores::redis().await;
    (Cached::on(Some(stores::postgres().await.0.store()), Some(moment)).await, guard)
}

fn range(dice: &mut Dice, last_seq: i64) -> Range {
    match dice.below(3) {
        0 => Range::Last,
        1 => Range::Before(dice.below(last_seq + 3)),
        _ => Range::After(dice.below(last_seq + 3)),
    }
}

async fn every_answer_is_that_of_the_record(cached: Cached) {
    let app = cached.app();
    let room = app.config.message_cache;
    let (mut dice, mut last_seq, mut lives) = (Dice(0x0dd_ca11), 0, 0);
    let (mut from_cache, mut ignored) = (0, 0);
    let mut chat = cached.group("0").await;
    for step in 0..600 {
        // Times differ, as those of two lives of the record do.
        cached.test.clock.advance(std::time::Duration::from_millis(7));
        let name = ["alice", "bob", "carol"][dice.below(3) as usize];
        match dice.below(24) {
            0..=6 => {
                let body = if dice.below(9) == 0 { "long ".repeat(800) } else { format!("{step}") };
                let draft = serde_json::json!({"clientId": format!("{step}"), "body": body.trim_end()});
                let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
                let sender = user("alice");
                last_seq = stored(writing::write(app, &sender, chat, &draft).await.unwrap().message).seq;
            }
            // Redis was emptied, or has evicted the chat.
            7 => app.moment.message_cache.forget(chat).await,
            // Written while Redis was away.
            8 => {
                app.moment.message_cache.forget(chat).await;
                let kept = dice.below(5);
                let history =
                    app.record.messages.history(chat, &user("alice"), Range::Last, Bounds::items(9), &[]).await;
                let page = history.unwrap().unwrap().messages;
                let some: Vec<&Message> = page.iter().filter(|message| message.seq % 5 != kept).collect();
                app.moment.message_cache.keep(chat, &some, room, app.clock.at()).await;
            }
            // Messages of a record of which this one is an older copy: it has not reached their places yet.
            9 => {
                let seqs = last_seq + 1..=last_seq + 1 + dice.below(4);
                let other = cached.says(cached.group("elsewhere").await, "alice", &format!("lost-{step}")).await;
                let lost: Vec<Message> =
                    seqs.map(|seq| Message { chat, seq, created_at: Time(1), ..other.clone() }).collect();
                app.moment.message_cache.keep(chat, &lost.iter().collect::<Vec<_>>(), room, app.clock.at()).await;
                ignored += 1;
            }
            10 => {
                let hidden = dice.below(3) > 0;
                app.record.chats.set_hidden(chat, &user(name), hidden, app.clock.at()).await.unwrap();
            }
            11 if name == "bob" => {
                let at = app.clock.at();
                let change =
                    if dice.below(2) == 0 { Change::Remove(users(&["bob"])) } else { Change::Add(users(&["bob"])) };
                app.record.chats.change(chat, &user("alice"), &change, at).await.unwrap().unwrap();
            }
            // All leave, and the same group is created again: it begins with `seq` 1.
            12 if dice.below(6) == 0 => {
                for name in ["alice", "bob", "carol"] {
                    let _ = app.record.chats.change(chat, &user(name), &Change::Leave, app.clock.at()).await.unwrap();
                }
                chat = cached.group("0").await;
                (last_seq, lives) = (0, lives + 1);
            }
            _ => {
                let range = range(&mut dice, last_seq);
                let bounds = Bounds { items: 1 + dice.below(20) as usize, bytes: 200 + dice.below(9_000) as usize };
                let known = app.moment.message_cache.run(chat, range, bounds.items, app.clock.at()).await;
                let found = cached.page(chat, name, range, bounds).await;
                assert_eq!(found, cached.truth(chat, name, range, bounds).await, "{step}: {name} {range:?} {bounds:?}");
                from_cache += usize::from(found.is_some_and(|(page, _)| page.len() > 2) && known.len() > 2);
            }
        }
    }
    assert!(from_cache > 50 && ignored > 10 && lives > 2, "one-sided: {from_cache}, {ignored}, {lives}");
}

async fn readers_miss_nothing_while_others_write(cached: Cached) {
    const EACH: usize = 30;
    let (cached, committed) = (Arc::new(cached), Arc::new(AtomicUsize::new(0)));
    let group = cached.group("0").await;
    let pages = concurrently(6, |n| {
        let (cached, committed) = (Arc::clone(&cached), Arc::clone(&committed));
        async move {
            let mut pages = Vec::new();
            if n < 3 {
                for m in 0..EACH {
                    let message = cached.says(group, ["alice", "bob", "carol"][n], &format!("{n}.{m}")).await;
                    committed.fetch_max(usize::try_from(message.seq).unwrap(), Ordering::SeqCst);
                    if m % 11 == 3 {
                        cached.app().moment.message_cache.forget(group).await;
                    }
                }
                return pages;
            }
            while committed.load(Ordering::SeqCst) < 3 * EACH {
                let before = committed.load(Ordering::SeqCst) as i64;
                let (items, name) = (1 + pages.len() % 20, ["alice", "bob", "carol"][n - 3]);
                let read = history::read(cached.app(), &user(name), group, Range::Last, Bounds::items(items)).await;
                pages.push((before, items, read.unwrap().unwrap().messages));
            }
            pages
        }
    })
    .await;
    let all = cached.app().record.messages.history(group, &user("bob"), Range::Last, Bounds::default(), &[]).await;
    let all: Vec<String> = all.unwrap().unwrap().messages.iter().map(text).collect();
    let pages: Vec<_> = pages.into_iter().flatten().collect();
    assert!(pages.len() > 20 && all.len() == 3 * EACH);
    for (committed, items, page) in pages {
        let last = page.last().map_or(0, |last| last.seq);
        assert!(last >= committed, "a page ends with {last}, after {committed} was stored");
        let end = usize::try_from(last).unwrap();
        assert_eq!(page.iter().map(text).collect::<Vec<_>>(), all[end.saturating_sub(items)..end]);
    }
}

/// The message, which was not accepted fast.
fn stored(message: Said) -> Message {
    let Said::Stored(message) = message else { panic!("{message:?}") };
    message
}
