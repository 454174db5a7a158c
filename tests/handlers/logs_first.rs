//! An act on an inbox or a chat comes after what was accepted fast there, or not at all while the record fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use harness::{TestApp, body};
use serde_json::json;
use shared::chat::messages::NewMessage;
use shared::clock::At;
use shared::error::StoreError;
use shared::fast::log::{LogId, Share, WriterId};
use shared::fast::logged::{LoggedMessage, LoggedSend};
use shared::fast::{CheckedMessage, CheckedSend, FastRecord};
use shared::ids::{MessageId, SendId, UserId};
use shared::inbox::Page;

use crate::sending::sends;

/// A record to which no log can be written, and which does not say whether there are any, as long as it fails.
struct Failing {
    record: Arc<dyn FastRecord>,
    failure: Mutex<Option<StoreError>>,
    /// The title of a send that it refuses, and with it each batch in which that is.
    refused: Option<&'static str>,
    asked: AtomicUsize,
}

impl Failing {
    /// It does not fail yet.
    fn new(record: Arc<dyn FastRecord>) -> Self {
        Self { record, failure: Mutex::default(), refused: None, asked: AtomicUsize::new(0) }
    }

    fn fails_with(&self, failure: StoreError) {
        *self.failure.lock().unwrap() = Some(failure);
    }

    fn works(&self) {
        *self.failure.lock().unwrap() = None;
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("by the test".into())
}

#[async_trait]
impl FastRecord for Failing {
    async fn fast_since(&self) -> Result<Option<i64>, StoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.check()?;
        self.record.fast_since().await
    }

    async fn use_fast(&self, at: At) -> Result<(), StoreError> {
        self.record.use_fast(at).await
    }

    async fn check_send(
        &self,
        send: SendId,
        recipient: &UserId,
        kind: &str,
        at: At,
    ) -> Result<CheckedSend, StoreError> {
        self.record.check_send(send, recipient, kind, at).await
    }

    async fn check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, StoreError> {
        self.record.check_message(new, at).await
    }

    async fn write_sends(&self, sends: &[LoggedSend], at: At) -> Result<Vec<SendId>, StoreError> {
        self.check()?;
        if sends.iter().any(|send| Some(send.content.title.as_str()) == self.refused) {
            return Err(StoreError::Refused("by the test".into()));
        }
        self.record.write_sends(sends, at).await
    }

    async fn write_messages(&self, messages: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, StoreError> {
        self.check()?;
        self.record.write_messages(messages, at).await
    }
}

/// An app in which fast accepts are in use, and its record, which does not fail yet.
async fn app() -> (TestApp, Arc<Failing>) {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    let record = Arc::new(Failing::new(Arc::clone(&test.app.record.fast)));
    test.uses_fast_record(record.clone());
    (test, record)
}

#[tokio::test]
async fn nothing_overtakes_what_the_record_could_not_take() {
    let (test, record) = app().await;
    let fast = json!({"accept": "fast", "idempotencyKey": "a", "title": "a"});
    assert_eq!(body(&sends(&test, fast).await)["durability"], "redis");

    record.fails_with(unavailable());
    let durable = json!({"idempotencyKey": "b", "title": "b"});
    let refused = sends(&test, durable.clone()).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (503, &json!("store_unavailable")));
    let (alice, page) = (UserId::new("alice").unwrap(), Page::default());
    let list = || test.app.record.inbox.list(&alice, &page, test.app.clock.at());
    assert!(matches!(list().await, Err(StoreError::Unavailable(_))));

    record.works();
    let stored = sends(&test, durable).await;
    assert_eq!((stored.status().as_u16(), stored.headers().get("idempotency-replayed")), (202, None));
    let listed = list().await.unwrap();
    let titles: Vec<&str> = listed.notifications.iter().map(|listed| listed.content.title.as_str()).collect();
    assert_eq!(titles, ["b", "a"]);
}

#[tokio::test]
async fn nothing_waits_long_for_a_writer_that_has_died() {
    let (test, _) = app().await;
    sends(&test, json!({"accept": "fast", "title": "a"})).await;
    let alice = UserId::new("alice").unwrap();
    let (log, share) = (LogId::of_user(&alice), Share { entries: 10, bytes: 1_000 });
    let read = test.app.moment.logs.read(&[log], share, WriterId(1), test.app.clock.at()).await;
    assert_eq!(read.entries.len(), 1);
    // Its lease does not end, since the clock stands still.
    let listed = test.app.record.inbox.list(&alice, &Page::default(), test.app.clock.at()).await.unwrap();
    assert_eq!(listed.notifications.len(), 1);
    let durable = sends(&test, json!({"title": "b"})).await;
    assert_eq!(durable.status(), 202);
}

#[tokio::test]
async fn what_the_record_can_never_take_holds_up_nothing_else() {
    let (test, record) = app().await;
    sends(&test, json!({"accept": "fast", "title": "a"})).await;
    record.fails_with(StoreError::Broken("by the test".into()));
    assert_eq!(sends(&test, json!({"title": "b"})).await.status(), 202);
}

#[tokio::test]
async fn one_that_the_record_refuses_is_dead_lettered_and_all_others_keep_their_order() {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    let record = Failing { refused: Some("5"), ..Failing::new(Arc::clone(&test.app.record.fast)) };
    test.uses_fast_record(Arc::new(record));
    for n in 0..9 {
        let fast = sends(&test, json!({"accept": "fast", "title": n.to_string()})).await;
        assert_eq!(body(&fast)["durability"], "redis");
    }
    let listed =
        test.app.record.inbox.list(&UserId::new("alice").unwrap(), &Page::default(), test.app.clock.at()).await;
    let titles: Vec<String> = listed.unwrap().notifications.iter().map(|listed| listed.content.title.clone()).collect();
    assert_eq!(titles, ["8", "7", "6", "4", "3", "2", "1", "0"]);
    let dead = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    let errors: Vec<&str> = dead.iter().map(|letter| letter.error.as_str()).collect();
    assert_eq!(errors, ["the database refuses its row"]);
}

#[tokio::test]
async fn a_record_that_fails_is_asked_once_by_calls_that_come_together() {
    let (test, record) = app().await;
    record.fails_with(unavailable());
    let asks = || test.app.fast_use.may_have_logs(&*test.app.record.fast, &test.clock);
    assert!(join_all((0..10).map(|_| asks())).await.iter().all(Result::is_err));
    assert_eq!(record.asked.load(Ordering::Relaxed), 1);
    record.works();
    assert!(asks().await.is_err());
    test.clock.advance(Duration::from_millis(250));
    assert!(asks().await.unwrap());
    // In use they stay, whatever the record says later.
    record.fails_with(unavailable());
    test.clock.advance(Duration::from_secs(60));
    assert!(asks().await.unwrap());
    assert_eq!(record.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_the_record_said_holds_for_20_s_while_it_fails() {
    let mut test = TestApp::new().await;
    let record = Arc::new(Failing::new(Arc::clone(&test.app.record.fast)));
    test.uses_fast_record(record.clone());
    let asks = || test.app.fast_use.may_have_logs(&*test.app.record.fast, &test.clock);
    assert!(!asks().await.unwrap());
    record.fails_with(unavailable());
    test.clock.advance(Duration::from_secs(19));
    assert!(!asks().await.unwrap());
    test.clock.advance(Duration::from_secs(1));
    assert!(asks().await.is_err());
    record.works();
    test.clock.advance(Duration::from_millis(250));
    assert!(!asks().await.unwrap());
}
