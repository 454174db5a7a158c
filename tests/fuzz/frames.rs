//! The frames of clients.

use shared::inbox::Change;
use shared::protocol::{self, Action, ClientFrame, MAX_IDS, ReplyFrame};

use crate::target::{Target, files, outcome, signature};

const WORDS: &[&str] = &[
    "action",
    "ref",
    "ping",
    "sync",
    "ack",
    "read",
    "unread",
    "delete",
    "readAll",
    "auth",
    "since",
    "cursor",
    "ids",
    "type",
    "before",
    "ticket",
    "00000000000000aa.7",
    "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1",
];

pub(crate) fn target() -> Target {
    let mut seeds = files("frames/client");
    let ids = vec!["d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1"; MAX_IDS];
    seeds.push(serde_json::json!({"action": "read", "ids": ids}).to_string().into_bytes());
    Target { name: "frames", seeds, words: WORDS, attempt: Box::new(attempt) }
}

fn attempt(input: &[u8]) -> u64 {
    // API Gateway passes on only text.
    let text = String::from_utf8_lossy(input);
    let frame = ClientFrame::read(&text);
    if let Some(reference) = &frame.reference {
        assert!((1..=64).contains(&reference.chars().count()));
    }
    match frame.action {
        Ok(action) => {
            if let Action::Change(Change::Read(ids) | Change::Unread(ids) | Change::Delete(ids)) = &action {
                assert!(ids.len() <= MAX_IDS);
            }
            signature(("ok", std::mem::discriminant(&action), frame.reference.is_some()))
        }
        Err(error) => {
            // What is no id names no chat of anyone.
            let is_known = ["invalid_json", "validation_failed", "bad_request", "not_found"].contains(&error.code());
            assert!(is_known || error.code() == "payload_too_large" && text.len() > 32 * 1_024, "{error:?}");
            let reply = protocol::frame(&ReplyFrame::error(frame.reference.as_deref(), &error));
            assert!(reply.len() <= 4 * 1_024, "an error frame of {} bytes", reply.len());
            signature(outcome(&error))
        }
    }
}
