//! The suite of `shared::delivery::dead_letters::DeadLetters`: a dead letter blocks nothing else, and is retried when
//! an operator redrives it.

use shared::delivery::dead_letters::{Dead, DeadLetter, MAX_PAYLOAD_BYTES, Reason, Redriven};
use shared::ids::DeadLetterId;
use shared::inbox::Change;
use shared::inbox::history::{SendQuery, States};

use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    a_dead_lettered_push_is_no_longer_due_and_its_row_stays,
    a_dead_letter_names_its_notification_and_a_fixed_reason,
    dead_lettering_twice_makes_one_dead_letter,
    a_row_that_is_not_to_be_pushed_is_not_dead_lettered,
    a_redriven_push_is_due_at_once_and_starts_over,
    a_push_whose_row_was_read_is_not_due_after_a_redrive,
    a_dead_letter_is_redriven_or_discarded_once,
    what_the_queue_held_stays_until_it_is_discarded,
    pages_are_newest_first_and_leave_nothing_out,
    the_history_counts_the_dead_notifications_of_a_send,
}

async fn dead_letters(record: &Record) -> Vec<DeadLetter> {
    record.dead_letters().page(None, 200).await.unwrap().letters
}

async fn dead_letter_push(record: &Record, name: &str, offset: i64, now_ms: i64) {
    let dead = Dead::Push { user: &user(name), offset };
    record.dead_letters().dead_letter(&dead, Reason::Poisoned, at(now_ms)).await.unwrap();
}

/// Sends alice two notifications and dead-letters the push of the first.
async fn one_of_two(record: &Record) -> DeadLetterId {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    dead_letter_push(record, "alice", 1, 10).await;
    dead_letters(record).await[0].key.id
}

async fn taken(record: &Record, now_ms: i64) -> Vec<i64> {
    let taken = record.deliveries().take_due(10, at(now_ms)).await.unwrap();
    taken.deliveries.iter().map(|delivery| delivery.notification.cursor.offset).collect()
}

async fn a_dead_lettered_push_is_no_longer_due_and_its_row_stays(record: Record) {
    let before = record.position("alice").await;
    one_of_two(&record).await;
    assert_eq!(taken(&record, LATE_MS - 1).await, [2]);
    assert_eq!(record.listed("alice").await.len(), 2);
    assert_eq!(record.changes("alice", Some(before.cursor()), 10).await.unwrap().changes.len(), 2);
    let backlog = record.deliveries().backlog(at(20)).await.unwrap();
    assert_eq!((backlog.waiting, backlog.dead_letters), (1, 1));
}

async fn a_dead_letter_names_its_notification_and_a_fixed_reason(record: Record) {
    let letter = one_of_two(&record).await;
    let all = dead_letters(&record).await;
    let [found] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((found.key.id, found.key.at_ms), (letter, START_MS + 10));
    assert_eq!((found.user.clone(), found.notification), (Some(user("alice")), Some(id("1", "alice"))));
    assert_eq!((found.error.as_str(), found.attempts), (Reason::Poisoned.text(), 0));
}

async fn dead_lettering_twice_makes_one_dead_letter(record: Record) {
    one_of_two(&record).await;
    let first = dead_letters(&record).await;
    dead_letter_push(&record, "alice", 1, 99).await;
    let unreadable = Dead::Held { payload: "{" };
    concurrently(4, |n| {
        let (record, unreadable) = (record.clone(), unreadable.clone());
        async move {
            let at = at(i64::try_from(n).unwrap());
            record.dead_letters().dead_letter(&unreadable, Reason::Unreadable, at).await.unwrap();
            dead_letter_push(&record, "alice", 2, 5).await;
        }
    })
    .await;
    let all = dead_letters(&record).await;
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], first[0], "the first dead letter is unchanged");
}

async fn a_row_that_is_not_to_be_pushed_is_not_dead_lettered(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    record.ring(&["2"], "bob", at(0)).await;
    record.deliveries().mark_offered(&[(&user("alice"), 1)], at(1)).await.unwrap();
    for (name, offset) in [("alice", 1), ("alice", 2), ("bob", 1), ("nobody", 1)] {
        dead_letter_push(&record, name, offset, 10).await;
    }
    assert_eq!(dead_letters(&record).await, []);
}

async fn a_redriven_push_is_due_at_once_and_starts_over(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    for now_ms in [5_000, 10_000] {
        assert_eq!(taken(&record, now_ms).await, [1]);
    }
    dead_letter_push(&record, "alice", 1, 10_001).await;
    let letter = dead_letters(&record).await.remove(0);
    assert_eq!(letter.attempts, 2);
    assert_eq!(record.dead_letters().redrive(letter.key.id, at(60_000)).await.unwrap(), Redriven::Done);
    assert_eq!(dead_letters(&record).await, []);
    assert_eq!(record.next_due().await.unwrap(), Some(START_MS + 60_000));
    assert_eq!(taken(&record, 60_000).await, [1]);
    assert_eq!(record.next_due().await.unwrap(), Some(START_MS + 65_000));
    // It can be dead-lettered again.
    dead_letter_push(&record, "alice", 1, 70_000).await;
    assert_eq!(dead_letters(&record).await.len(), 1);
}

async fn a_push_whose_row_was_read_is_not_due_after_a_redrive(record: Record) {
    let letter = one_of_two(&record).await;
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(20)).await;
    assert_eq!(record.dead_letters().redrive(letter, at(30)).await.unwrap(), Redriven::Done);
    assert_eq!(dead_letters(&record).await, []);
    assert_eq!(taken(&record, LATE_MS - 1).await, [2]);
}

async fn a_dead_letter_is_redriven_or_discarded_once(record: Record) {
    let letter = one_of_two(&record).await;
    let done = concurrently(6, |n| {
        let record = record.clone();
        async move {
            let dead_letters = record.dead_letters();
            if n % 2 == 0 {
                dead_letters.redrive(letter, at(30)).await.unwrap() == Redriven::Done
            } else {
                dead_letters.discard(letter).await.unwrap()
            }
        }
    })
    .await;
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
    dead_letter_push(&record, "alice", 2, 40).await;
    let other = dead_letters(&record).await[0].key.id;
    assert!(record.dead_letters().discard(other).await.unwrap());
    assert!(!record.dead_letters().discard(other).await.unwrap());
    assert_eq!(record.dead_letters().redrive(other, at(50)).await, Ok(Redriven::Missing));
    assert_eq!(record.listed("alice").await.len(), 2, "the rows stay");
}

async fn what_the_queue_held_stays_until_it_is_discarded(record: Record) {
    let long = "ü".repeat(MAX_PAYLOAD_BYTES);
    let held =
        [("", ""), ("\0 \u{7}", "\u{fffd} \u{7}"), ("{\"user\":", "{\"user\":"), (&long, &long[..MAX_PAYLOAD_BYTES])];
    for (payload, _) in held {
        record.dead_letters().dead_letter(&Dead::Held { payload }, Reason::Unreadable, at(7)).await.unwrap();
    }
    let mut found = Vec::new();
    for letter in dead_letters(&record).await {
        assert_eq!((letter.user, letter.notification), (None, None));
        assert_eq!(letter.error, Reason::Unreadable.text());
        let redriven = record.dead_letters().redrive(letter.key.id, at(8)).await.unwrap();
        let Redriven::Held(text) = redriven else { panic!("{redriven:?}") };
        found.push(text);
    }
    found.sort();
    let mut expected = held.map(|(_, stored)| stored);
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(record.next_due().await.unwrap(), None);
    for letter in dead_letters(&record).await {
        assert!(record.dead_letters().discard(letter.key.id).await.unwrap());
    }
    assert_eq!(dead_letters(&record).await, []);
}

async fn pages_are_newest_first_and_leave_nothing_out(record: Record) {
    for n in 0..7 {
        let payload = n.to_string();
        // Up to three have the same time.
        let at = at(n / 3);
        record.dead_letters().dead_letter(&Dead::Held { payload: &payload }, Reason::Unreadable, at).await.unwrap();
    }
    let all = dead_letters(&record).await;
    assert!(all.is_sorted_by(|one, next| one.key > next.key) && all.len() == 7);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = record.dead_letters().page(after, 3).await.unwrap();
        paged.extend(page.letters);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    assert_eq!(record.dead_letters().page(None, 7).await.unwrap().next, None);
}

async fn the_history_counts_the_dead_notifications_of_a_send(record: Record) {
    let three = users(&["alice", "bob", "carol"]);
    for name in ["alice", "bob"] {
        record.connect(name, &format!("{name}'s"), at(0)).await;
    }
    record.send(&Send::new("1"), &three, at(0)).await;
    for name in ["alice", "bob"] {
        dead_letter_push(&record, name, 1, 10).await;
    }
    let states = async || {
        let page = record.send_history().sends(&SendQuery { limit: 1, ..SendQuery::default() }, at(10)).await.unwrap();
        page.sends[0].states
    };
    assert_eq!(states().await, States { dead: 2, waiting: 1, ..States::default() });
    // A notification that was read despite its dead letter is settled.
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(20)).await;
    assert_eq!(states().await, States { dead: 1, settled: 1, waiting: 1, ..States::default() });
    let bob_letter = dead_letters(&record).await.into_iter().find(|letter| letter.user == Some(user("bob"))).unwrap();
    record.dead_letters().redrive(bob_letter.key.id, at(30)).await.unwrap();
    assert_eq!(states().await, States { settled: 1, waiting: 2, ..States::default() });
}
