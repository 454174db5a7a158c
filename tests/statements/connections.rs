//! What sockets, event streams and chats cost in statements to the record.

use std::time::Duration;

use harness::{event, socket_event};
use serde_json::json;
use shared::chat::draft::Draft;
use shared::chat::writing::{self, Written};
use shared::chat::{MAX_SMALL, joining, reading};
use shared::ids::UserId;

use crate::measured::{IDLE_DRAIN, Measured};

#[tokio::test]
async fn a_stream_costs_two_statements_to_open_three_to_begin_and_one_more_if_something_was_missed() {
    let measured = Measured::new().await;
    let (first, pong) = measured.streams(&measured.ticket().await, None).await;
    let head = pong["cursor"].as_str().unwrap().to_owned();
    drop(first);
    measured.sends(&["alice"], None).await;
    let (second, pong) = measured.streams(&measured.ticket().await, Some(&head)).await;
    let head = pong["cursor"].as_str().unwrap().to_owned();
    // Coming back acknowledges what was shown. From here on that is done, and all statements are prepared.
    let (third, _) = measured.streams(&measured.ticket().await, Some(&head)).await;
    drop((second, third));
    measured.forgets_streams().await;
    for (since, missed, costs) in [(None, 0, 5), (Some(&head), 0, 5), (Some(&head), 1, 6)] {
        for _ in 0..missed {
            measured.sends(&["alice"], None).await;
        }
        let ticket = measured.ticket().await;
        let opened = std::cell::RefCell::new(None);
        let opening = async { *opened.borrow_mut() = Some(measured.streams(&ticket, since.map(String::as_str)).await) };
        measured.costs_prepared(costs, opening).await;
        drop(opened);
        measured.forgets_streams().await;
    }
}

#[tokio::test]
async fn a_socket_costs_one_statement_for_its_ticket_two_to_open_and_one_to_close() {
    let measured = Measured::new().await;
    measured.costs(1, async || drop(measured.ticket().await)).await;
    for (n, prepared) in [false, true].into_iter().enumerate() {
        let (ticket, connection) = (measured.ticket().await, n.to_string());
        let opening = measured.connects(&ticket, &connection);
        if prepared { measured.costs_prepared(2, opening).await } else { opening.await }
    }
    measured
        .costs(1, async || {
            disconnect::handle(&measured.test.app, socket_event(event("disconnect"))).await;
        })
        .await;
}

#[tokio::test]
async fn a_frame_costs_the_look_up_of_its_connection_and_its_action() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    // The first one makes its user online, as opening the socket would have.
    measured.sends_frame("phone", json!({"action": "ping"})).await;
    let id = measured.sends(&["alice"], None).await;
    let cursor = measured.gets("/api/sync", "", "").await["cursor"].clone();
    for (frame, statements) in [
        // Inbox and chats.
        (json!({"action": "ping"}), 3),
        (json!({"action": "sync"}), 3),
        (json!({"action": "ack", "cursor": cursor}), 2),
        (json!({"action": "read", "ids": [id]}), 2),
        (json!({"action": "readAll"}), 2),
    ] {
        measured.costs(statements, async || measured.sends_frame("phone", frame.clone()).await).await;
    }
}

#[tokio::test]
async fn a_message_costs_one_statement_to_append_and_one_after_the_push_to_any_number_of_members() {
    let measured = Measured::new().await;
    let alice = UserId::new("alice").unwrap();
    let next = std::cell::Cell::new(0);
    let says = async |chat| {
        next.set(next.get() + 1);
        measured.test.clock.advance(Duration::from_secs(1));
        let draft = json!({"clientId": next.get().to_string(), "body": "Hi"});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        let Written { .. } = writing::write(&measured.test.app, &alice, chat, &draft).await.unwrap();
    };
    for others in [1, 18] {
        let names: Vec<String> = (0..others).map(|n| format!("of {others}: {n}")).collect();
        let asked = json!({"kind": "group", "participantIds": names});
        let asked = joining::Request::read(asked.as_object().unwrap().clone(), &alice).unwrap();
        let chat = joining::create(&measured.test.app, &alice, &asked).await.unwrap().chat.chat.id;
        measured.costs(1, async || says(chat).await).await;
        for name in &names {
            measured.test.connect(name, &[name]).await;
        }
        measured.test.push.taken();
        measured.costs(2, async || says(chat).await).await;
        assert!(measured.test.push.taken().len() >= others, "each member's device gets a frame");
        let reads = async || assert_eq!(reading::read(&measured.test.app, &alice, chat, 1).await, Ok(0));
        measured.costs(1, reads).await;
    }
}

#[tokio::test]
async fn in_a_large_chat_a_message_that_waits_costs_one_statement_and_the_drain_pushes_only_the_last() {
    let measured = Measured::new().await;
    let alice = UserId::new("alice").unwrap();
    let names: Vec<String> = (0..MAX_SMALL).map(|n| format!("member {n}")).collect();
    let asked = json!({"kind": "group", "participantIds": names});
    let asked = joining::Request::read(asked.as_object().unwrap().clone(), &alice).unwrap();
    let chat = joining::create(&measured.test.app, &alice, &asked).await.unwrap().chat.chat.id;
    measured.test.connect(&names[0], &["phone"]).await;
    let next = std::cell::Cell::new(0);
    let says = async || {
        next.set(next.get() + 1);
        let draft = json!({"clientId": next.get().to_string(), "body": "Hi"});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        writing::write(&measured.test.app, &alice, chat, &draft).await.unwrap();
    };
    let pushed = || measured.test.push.taken().into_iter().map(|(_, frame)| frame["seq"].clone()).collect::<Vec<_>>();
    says().await;
    says().await;
    measured.test.clock.advance(Duration::from_secs(1));
    measured.drains().await;
    assert_eq!(pushed(), [1, 2]);
    measured.test.clock.advance(Duration::from_secs(1));
    measured.costs_prepared(2, says()).await;
    assert_eq!(pushed(), [3]);
    for _ in 0..4 {
        measured.costs_prepared(1, says()).await;
    }
    assert_eq!(pushed(), [0; 0]);
    measured.test.clock.advance(Duration::from_secs(1));
    // The message is taken and marked as pushed, and the drain looks for more, and for what is due next.
    measured.costs_prepared(IDLE_DRAIN + 2 + 2, measured.drains()).await;
    assert_eq!(pushed(), [7]);
}
