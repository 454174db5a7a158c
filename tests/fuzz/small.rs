//! Short texts with one spelling: cursors, page tokens, ids, times, and entries of the queue.

use std::fmt::Display;

use serde_json::{Map, Value};
use shared::clock::Time;
use shared::cursor::Cursor;
use shared::delivery::work::{SHARDS, Work};
use shared::http::fields::Fields;
use shared::http::page_token::{self, List};
use shared::ids::{DeadLetterId, NotificationId, SendId};
use shared::page_key::PageKey;

use crate::target::{Target, signature};

pub(crate) fn cursors() -> Target {
    let id = "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";
    let token = |place: Cursor| {
        let page = serde_json::to_value(List::<u8>::new(Vec::new(), Some(place))).unwrap();
        page["nextCursor"].as_str().unwrap().to_owned()
    };
    let seeds = [
        "00000000000000aa.7".to_owned(),
        "9c1f6e0b7a3d5e24.9223372036854775807".to_owned(),
        token("00000000000000aa.7".parse().unwrap()),
        id.to_owned(),
        format!("1800000000000.{id}"),
        "2027-01-15T08:00:00.123Z".to_owned(),
        "2027-01-15T09:00:00.5+01:00".to_owned(),
    ];
    Target {
        name: "cursors",
        seeds: seeds.map(String::into_bytes).into(),
        words: &["+", "-", "Z", "T", "ffffffffffffffff", "MDAw"],
        attempt: Box::new(cursor),
    }
}

fn cursor(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    let read: Option<Cursor> = text.parse().ok();
    spelled_alike(&text, read);
    if let Some(read) = read {
        assert!(read.offset >= 0);
    }
    let (send, notification, dead) = (SendId::parse(&text), NotificationId::parse(&text), DeadLetterId::parse(&text));
    spelled_alike(&text, send);
    spelled_alike(&text, notification);
    spelled_alike(&text, dead);
    // A time has many spellings, and one after it was read.
    let time = Time::parse(&text);
    if let Some(time) = time {
        assert_eq!(Time::parse(&time.to_string()), Some(time), "{text:?}");
    }
    let tokens = [reads_page::<Cursor>(&text), reads_page::<PageKey<SendId>>(&text)];
    signature((read.is_some(), send.is_some(), time.is_some(), tokens))
}

fn spelled_alike(text: &str, read: Option<impl Display>) {
    if let Some(read) = read {
        assert_eq!(read.to_string(), text);
    }
}

/// Whether it is a token of such a list.
fn reads_page<T: Display + std::str::FromStr>(text: &str) -> bool {
    let members = Map::from_iter([("cursor".to_owned(), Value::from(text))]);
    match page_token::take::<T>(&mut Fields::new(members)) {
        Ok(place) => {
            let page = serde_json::to_value(List::<u8>::new(Vec::new(), place)).unwrap();
            assert_eq!(page["nextCursor"], text);
            true
        }
        Err(error) => {
            assert_eq!(error.code(), "bad_request");
            false
        }
    }
}

pub(crate) fn queue_entries() -> Target {
    let seeds = [
        r#"1 high {"user":"alice b","offset":7,"fence":1800000005000}"#,
        r#"1 low {"user":"alice","offset":7,"fence":1800000005000,"throttled":1,"left":["PJqB0fHsqRcCHlw="]}"#,
        r#"2 high {"user":"a"}"#,
        r#"presence/1 low {"user":"alice"}"#,
        "presence/2 low {}",
    ];
    Target {
        name: "queue_entries",
        seeds: seeds.map(|seed| seed.as_bytes().to_vec()).into(),
        words: &["critical", "normal", "web_push/1", "user", "offset", "fence", "left", "throttled"],
        attempt: Box::new(queue_entry),
    }
}

fn queue_entry(input: &[u8]) -> u64 {
    match Work::parse(input) {
        Ok(work) => {
            let text = work.text();
            assert_eq!(Work::parse(text.as_bytes()).as_ref(), Ok(&work));
            assert!(work.shard() < SHARDS);
            if let Work::Unknown(_) = &work {
                assert_eq!(text.as_bytes(), input);
            }
            signature((matches!(work, Work::Push(_)), work.priority().name()))
        }
        Err(malformed) => {
            assert_eq!(malformed.0, String::from_utf8_lossy(input));
            signature("malformed")
        }
    }
}
