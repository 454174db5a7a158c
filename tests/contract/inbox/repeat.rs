//! Repeats of a send get the first answer and change nothing.

use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS, FirstAnswer, Stored};

use crate::record::{LATE_MS, Record, Send, at, concurrently, user, users};

on_each_record! {
    a_repeat_gets_the_first_answer_and_changes_nothing,
    fifty_concurrent_repeats_store_one_send,
    a_repeat_of_a_large_send_makes_no_further_chunks,
    a_repeat_with_another_body_gets_the_first_fingerprint,
    an_unknown_send_has_no_first_answer,
}

fn first(send: &Send) -> FirstAnswer {
    FirstAnswer { fingerprint: send.fingerprint, answer: send.answer.clone() }
}

fn known(appended: Appended) -> FirstAnswer {
    match appended {
        Appended::Known(answer) => answer,
        Appended::Stored(stored) => panic!("a repeat was stored: {stored:?}"),
    }
}

async fn a_repeat_gets_the_first_answer_and_changes_nothing(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let send = Send::new("1");
    record.send(&send, &users(&["alice", "bob"]), at(0)).await;
    let before = (record.position("alice").await, record.position("bob").await);

    let mut repeat = Send::new("1");
    repeat.answer = "something else".into();
    // Also if it names further recipients.
    let answer = record.append(&repeat, &users(&["alice", "bob", "carol"]), at(60_000)).await;
    assert_eq!(known(answer), first(&send));

    let after = (record.position("alice").await, record.position("bob").await);
    assert_eq!(after, before);
    assert_eq!(record.position("carol").await.head, 0);
    assert_eq!(record.listed("alice").await.len(), 1);
    let due = record.next_due().await.unwrap();
    assert_eq!(due, Some(crate::record::START_MS + 5_000));
}

async fn fifty_concurrent_repeats_store_one_send(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let results = concurrently(50, |n| {
        let (record, mut send) = (record.clone(), Send::new("1"));
        send.answer = format!("answer {n}");
        async move {
            let appended = record.append(&send, &users(&["bob", "alice"]), at(0)).await;
            (send.answer, appended)
        }
    })
    .await;

    let (mut stored, mut answers) = (Vec::new(), Vec::new());
    for (answer, appended) in results {
        match appended {
            Appended::Stored(Stored { deliveries, .. }) => {
                assert_eq!(deliveries.len(), 1);
                stored.push(answer);
            }
            Appended::Known(first) => answers.push(first.answer),
        }
    }
    assert_eq!(stored.len(), 1, "stored more than once");
    assert!(answers.iter().all(|answer| *answer == stored[0]), "{answers:?}");
    for name in ["alice", "bob"] {
        assert_eq!(record.position(name).await.head, 1);
        assert_eq!(record.listed(name).await.len(), 1);
    }
}

async fn a_repeat_of_a_large_send_makes_no_further_chunks(record: Record) {
    let to: Vec<_> = (0..=CHUNK_RECIPIENTS).map(|n| user(&n.to_string())).collect();
    let send = Send::new("1");
    record.send(&send, &to, at(0)).await;
    known(record.append(&send, &to, at(0)).await);
    let materialised = record.materialise_next(at(0)).await.unwrap();
    assert!(materialised.is_some());
    known(record.append(&send, &to, at(0)).await);
    let materialised = record.materialise_next(at(LATE_MS)).await;
    assert!(materialised.unwrap().is_none());
    for recipient in &to {
        assert_eq!(record.position(recipient.as_str()).await.head, 1);
    }
}

async fn a_repeat_with_another_body_gets_the_first_fingerprint(record: Record) {
    let send = Send::new("1");
    record.send(&send, &users(&["alice"]), at(0)).await;
    let mut other = Send::new("1");
    other.fingerprint = [7; 32];
    let answer = known(record.append(&other, &users(&["bob"]), at(1)).await);
    assert_eq!(answer.fingerprint, send.fingerprint);
    assert_eq!(record.position("bob").await.head, 0);
}

async fn an_unknown_send_has_no_first_answer(record: Record) {
    let send = Send::new("1");
    let found = record.sends().first_answer(send.id).await.unwrap();
    assert_eq!(found, None);
    record.send(&send, &users(&["alice"]), at(0)).await;
    let found = record.sends().first_answer(send.id).await.unwrap();
    assert_eq!(found, Some(first(&send)));
    let found = record.sends().first_answer(Send::new("2").id).await;
    assert_eq!(found.unwrap(), None);
}
