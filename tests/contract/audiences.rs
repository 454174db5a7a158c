//! The suite of `shared::chat::audience::Audiences`: who hears of typing, never as it was before a change.

use std::sync::Arc;

use shared::chat::audience::{AUDIENCE_MS, Audience, Audiences, CHANGE_MS};
use shared::ids::{ChatId, ConnectionId};
use shared::sockets::connections::Connection;

use crate::limits::Dice;
use crate::record::{START_MS, at, user, users};

on_each_moment! {
    an_audience_is_recalled_as_it_was_for_ten_seconds,
    an_audience_older_than_asked_for_is_not_recalled,
    the_time_counts_from_the_reading,
    a_change_forgets_what_was_read_before,
    an_audience_read_before_a_change_is_not_remembered_after_it,
    a_change_leaves_what_was_read_of_its_version,
    of_one_version_the_later_reading_counts,
    chats_are_apart,
    no_recalled_audience_is_older_than_a_told_change,
}

type Store = Arc<dyn Audiences>;

/// Longer than any audience is used.
const LONG_MS: i64 = 86_400_000;

fn chat() -> ChatId {
    ChatId::of_pair(&user("alice"), &user("bob"))
}

fn audience(version: i64, connections: &[(&str, &str)]) -> Audience {
    let connection = |(name, id): &(&str, &str)| Connection {
        id: ConnectionId::new(*id),
        user: user(name),
        connected_at_ms: START_MS - 7,
        token_expires_at_ms: START_MS + 3_600_000,
    };
    Audience {
        version,
        members: users(&["alice", "bob", "🔔 {x} \"y\""]),
        connections: connections.iter().map(connection).collect(),
    }
}

/// The version that is recalled; 0 if none is.
async fn recalled(store: &Store, after_ms: i64) -> i64 {
    store.recall(chat(), LONG_MS, at(after_ms)).await.map_or(0, |audience| audience.version)
}

async fn an_audience_is_recalled_as_it_was_for_ten_seconds(store: Store) {
    let read = audience(3, &[("alice", "PJqB0fHsqRcCHlw="), ("bob", "a"), ("🔔 {x} \"y\"", "b"), ("bob", "c")]);
    assert_eq!(store.recall(chat(), LONG_MS, at(0)).await, None);
    store.remember(chat(), &read, 0, at(0)).await;
    assert_eq!(store.recall(chat(), LONG_MS, at(0)).await.as_ref(), Some(&read));
    assert_eq!(store.recall(chat(), LONG_MS, at(AUDIENCE_MS - 1)).await, Some(read));
    assert_eq!(store.recall(chat(), LONG_MS, at(AUDIENCE_MS)).await, None);
    let empty = Audience { version: 4, members: Vec::new(), connections: Vec::new() };
    store.remember(chat(), &empty, 0, at(AUDIENCE_MS)).await;
    assert_eq!(store.recall(chat(), LONG_MS, at(AUDIENCE_MS)).await, Some(empty));
}

async fn an_audience_older_than_asked_for_is_not_recalled(store: Store) {
    let read = audience(3, &[("alice", "a")]);
    store.remember(chat(), &read, 1_000, at(1_000)).await;
    assert_eq!(store.recall(chat(), 5_000, at(4_999)).await, Some(read));
    assert_eq!(store.recall(chat(), 5_000, at(5_000)).await, None);
    assert_eq!(store.recall(chat(), 0, at(1_000)).await, None);
    assert_eq!(recalled(&store, 5_000).await, 3, "it is still remembered");
}

async fn the_time_counts_from_the_reading(store: Store) {
    store.remember(chat(), &audience(3, &[]), 4_000, at(5_000)).await;
    assert_eq!(recalled(&store, 1_000 + AUDIENCE_MS - 1).await, 3);
    assert_eq!(recalled(&store, 1_000 + AUDIENCE_MS).await, 0);
    // As late as if its process had hung.
    store.remember(chat(), &audience(4, &[]), AUDIENCE_MS, at(30_000)).await;
    assert_eq!(recalled(&store, 30_000).await, 0);
}

async fn a_change_forgets_what_was_read_before(store: Store) {
    store.remember(chat(), &audience(3, &[]), 0, at(0)).await;
    store.change(chat(), 4, at(1)).await;
    assert_eq!(recalled(&store, 1).await, 0);
    store.remember(chat(), &audience(4, &[]), 0, at(2)).await;
    assert_eq!(recalled(&store, 2).await, 4);
}

async fn an_audience_read_before_a_change_is_not_remembered_after_it(store: Store) {
    store.change(chat(), 4, at(0)).await;
    store.remember(chat(), &audience(3, &[]), 0, at(1)).await;
    assert_eq!(recalled(&store, 1).await, 0);
    // Changes may be told in another order than they were made.
    store.change(chat(), 3, at(2)).await;
    store.remember(chat(), &audience(3, &[]), 0, at(3)).await;
    assert_eq!(recalled(&store, 3).await, 0);
    // Longer than what was read before would be used.
    store.remember(chat(), &audience(3, &[]), 0, at(CHANGE_MS - 1)).await;
    assert_eq!(recalled(&store, CHANGE_MS - 1).await, 0);
    // A chat that ended may begin anew, with the first version.
    store.remember(chat(), &audience(1, &[]), 0, at(CHANGE_MS)).await;
    assert_eq!(recalled(&store, CHANGE_MS).await, 1);
}

async fn a_change_leaves_what_was_read_of_its_version(store: Store) {
    store.remember(chat(), &audience(4, &[]), 0, at(0)).await;
    store.change(chat(), 4, at(1)).await;
    store.change(chat(), 3, at(2)).await;
    assert_eq!(recalled(&store, 2).await, 4);
}

async fn of_one_version_the_later_reading_counts(store: Store) {
    store.remember(chat(), &audience(4, &[("bob", "new")]), 0, at(1_000)).await;
    store.remember(chat(), &audience(4, &[("bob", "old")]), 800, at(1_500)).await;
    assert_eq!(store.recall(chat(), LONG_MS, at(1_500)).await, Some(audience(4, &[("bob", "new")])));
    store.remember(chat(), &audience(4, &[("bob", "newer")]), 300, at(1_500)).await;
    assert_eq!(store.recall(chat(), LONG_MS, at(1_500)).await, Some(audience(4, &[("bob", "newer")])));
    // After a change, what was read of its version counts, even if the change was told late.
    store.change(chat(), 5, at(3_000)).await;
    store.remember(chat(), &audience(5, &[("bob", "newest")]), 600, at(3_500)).await;
    assert_eq!(store.recall(chat(), LONG_MS, at(3_500)).await, Some(audience(5, &[("bob", "newest")])));
}

async fn chats_are_apart(store: Store) {
    let other = ChatId::of_pair(&user("alice"), &user("carol"));
    store.remember(chat(), &audience(3, &[]), 0, at(0)).await;
    store.change(other, 9, at(0)).await;
    assert_eq!(store.recall(other, LONG_MS, at(0)).await, None);
    assert_eq!(recalled(&store, 0).await, 3);
}

async fn no_recalled_audience_is_older_than_a_told_change(store: Store) {
    let (mut dice, mut now_ms, mut hits) = (Dice(0xa0d1), 0, 0);
    // The chat's version, the last change that was told, and what slow readers have read but not remembered.
    let (mut version, mut told, mut readers) = (1, 1, Vec::new());
    for _ in 0..2_000 {
        now_ms += dice.below(1_500);
        match dice.below(6) {
            0 => version += 1,
            1 => {
                store.change(chat(), version, at(now_ms)).await;
                told = version;
            }
            2 => readers.push((version, now_ms)),
            3..=4 if !readers.is_empty() => {
                let (read, read_at_ms) = readers.swap_remove(dice.below(readers.len() as i64) as usize);
                store.remember(chat(), &audience(read, &[]), now_ms - read_at_ms, at(now_ms)).await;
            }
            _ => {
                let found = recalled(&store, now_ms).await;
                assert!(found == 0 || found >= told, "{found} at {now_ms}, after the change to {told}");
                hits += usize::from(found > 0);
            }
        }
    }
    assert!(hits > 100, "the trace is one-sided: {hits}");
}
