//! The suite of `shared::presence::Presence`: who is online, told exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::ids::{ConnectionId, UserId};
use shared::presence::{GRACE_MS, Left, Presence, Renewed, Settled};

use crate::limits::Dice;
use crate::record::{START_MS, at, concurrently, user, users};

on_each_moment! {
    a_user_is_online_until_its_last_lease_ends,
    renewing_tells_once_that_a_user_came_online,
    concurrent_renewals_tell_once_that_a_user_came_online,
    a_closed_connection_counts_for_the_grace,
    a_closed_connection_is_not_renewed_by_a_late_frame,
    coming_back_within_the_grace_is_no_change,
    the_last_connection_to_leave_is_told_so,
    going_offline_is_told_once,
    leaving_without_a_lease_changes_nothing,
    a_lapsed_lease_is_not_lengthened_by_leaving,
    a_lease_is_never_shortened_by_renewing,
    many_users_are_asked_about_at_once_and_in_order,
    a_forgotten_user_is_offline_and_no_one_is_told,
    any_user_id_has_its_own_leases,
    a_user_who_reconnects_all_the_time_goes_offline_with_the_last,
    every_answer_matches_the_leases,
}

type Store = Arc<dyn Presence>;

const LEASE_MS: i64 = 300_000;

async fn renew(store: &Store, name: &str, connection: &str, after_ms: i64) -> Renewed {
    store.renew(&user(name), &ConnectionId::new(connection), LEASE_MS, at(after_ms)).await.unwrap()
}

async fn leave(store: &Store, name: &str, connection: &str, after_ms: i64) -> Left {
    store.leave(&user(name), &ConnectionId::new(connection), at(after_ms)).await.unwrap()
}

async fn settle(store: &Store, name: &str, after_ms: i64) -> Settled {
    store.settle(&user(name), at(after_ms)).await.unwrap()
}

async fn is_online(store: &Store, name: &str, after_ms: i64) -> bool {
    store.online(&[user(name)], at(after_ms)).await.unwrap()[0]
}

/// It went offline so many milliseconds after the beginning.
fn offline_since(after_ms: i64) -> Settled {
    Settled::WentOffline { ended_at_ms: START_MS + after_ms }
}

async fn a_user_is_online_until_its_last_lease_ends(store: Store) {
    assert!(!is_online(&store, "alice", 0).await);
    renew(&store, "alice", "phone", 0).await;
    renew(&store, "alice", "tab", 10_000).await;
    assert!(is_online(&store, "alice", 0).await && !is_online(&store, "bob", 0).await);
    assert!(is_online(&store, "alice", LEASE_MS + 9_999).await);
    assert!(!is_online(&store, "alice", LEASE_MS + 10_000).await);
    renew(&store, "alice", "phone", 20_000).await;
    assert!(is_online(&store, "alice", LEASE_MS + 19_999).await);
    assert!(!is_online(&store, "alice", LEASE_MS + 20_000).await);
}

async fn renewing_tells_once_that_a_user_came_online(store: Store) {
    assert_eq!(renew(&store, "alice", "phone", 0).await, Renewed::CameOnline);
    assert_eq!(renew(&store, "alice", "phone", 0).await, Renewed::Unchanged);
    assert_eq!(renew(&store, "alice", "tab", 5).await, Renewed::Unchanged);
    assert_eq!(renew(&store, "alice", "phone", LEASE_MS + 4).await, Renewed::Unchanged);
    assert_eq!(renew(&store, "bob", "phone", 5).await, Renewed::CameOnline);
    // After its leases have lapsed the user comes online anew.
    assert_eq!(renew(&store, "alice", "phone", 2 * LEASE_MS + 4).await, Renewed::CameOnline);
}

async fn concurrent_renewals_tell_once_that_a_user_came_online(store: Store) {
    let renewed = concurrently(20, |n| {
        let store = Arc::clone(&store);
        async move { renew(&store, "alice", &format!("tab {n}"), 0).await }
    })
    .await;
    assert_eq!(renewed.iter().filter(|renewed| **renewed == Renewed::CameOnline).count(), 1);
}

async fn a_closed_connection_counts_for_the_grace(store: Store) {
    renew(&store, "bob", "phone", 0).await;
    renew(&store, "alice", "phone", 0).await;
    assert_eq!(leave(&store, "alice", "phone", 1_000).await, Left::Last);
    assert!(is_online(&store, "alice", 1_000 + GRACE_MS - 1).await);
    assert!(!is_online(&store, "alice", 1_000 + GRACE_MS).await);
    assert_eq!(settle(&store, "alice", 1_000 + GRACE_MS - 1).await, Settled::Online { lasts_ms: 1 });
    assert_eq!(settle(&store, "alice", 1_000 + GRACE_MS).await, offline_since(1_000 + GRACE_MS));
}

async fn a_closed_connection_is_not_renewed_by_a_late_frame(store: Store) {
    renew(&store, "bob", "phone", 0).await;
    renew(&store, "alice", "phone", 0).await;
    leave(&store, "alice", "phone", 1_000).await;
    assert_eq!(renew(&store, "alice", "phone", 2_000).await, Renewed::Unchanged);
    assert!(!is_online(&store, "alice", 1_000 + GRACE_MS).await);
    // Nor once the grace has passed, as long as that was not told.
    assert_eq!(renew(&store, "alice", "phone", 1_000 + GRACE_MS).await, Renewed::Unchanged);
    assert_eq!(settle(&store, "alice", 1_000 + GRACE_MS).await, offline_since(1_000 + GRACE_MS));
}

async fn coming_back_within_the_grace_is_no_change(store: Store) {
    renew(&store, "alice", "phone", 0).await;
    leave(&store, "alice", "phone", 1_000).await;
    assert_eq!(renew(&store, "alice", "phone again", GRACE_MS).await, Renewed::Unchanged);
    assert_eq!(settle(&store, "alice", 1_000 + GRACE_MS).await, Settled::Online { lasts_ms: LEASE_MS - 1_000 });
    // Coming back after it is one, settled or not.
    leave(&store, "alice", "phone again", GRACE_MS).await;
    assert_eq!(renew(&store, "alice", "tab", 2 * GRACE_MS).await, Renewed::CameOnline);
    assert_eq!(settle(&store, "alice", 2 * GRACE_MS).await, Settled::Online { lasts_ms: LEASE_MS });
}

async fn the_last_connection_to_leave_is_told_so(store: Store) {
    for connection in ["phone", "tab", "desk"] {
        renew(&store, "alice", connection, 0).await;
    }
    assert_eq!(leave(&store, "alice", "phone", 0).await, Left::NotLast);
    assert_eq!(leave(&store, "alice", "tab", 10).await, Left::NotLast);
    assert_eq!(leave(&store, "alice", "desk", 20).await, Left::Last);
    assert_eq!(settle(&store, "alice", GRACE_MS + 10).await, Settled::Online { lasts_ms: 10 });
    assert_eq!(settle(&store, "alice", GRACE_MS + 20).await, offline_since(GRACE_MS + 20));
    // A lease that lapses within the grace of another does not last longer than that.
    renew(&store, "bob", "phone", 0).await;
    renew(&store, "bob", "tab", 10_000).await;
    assert_eq!(leave(&store, "bob", "tab", LEASE_MS - GRACE_MS - 1).await, Left::NotLast);
    renew(&store, "carol", "phone", 0).await;
    renew(&store, "carol", "tab", 10_000).await;
    assert_eq!(leave(&store, "carol", "tab", LEASE_MS - GRACE_MS).await, Left::Last);
}

async fn going_offline_is_told_once(store: Store) {
    renew(&store, "bob", "phone", 0).await;
    assert_eq!(settle(&store, "alice", 0).await, Settled::Unknown);
    renew(&store, "alice", "phone", 0).await;
    leave(&store, "alice", "phone", 0).await;
    let settled = concurrently(20, |_| {
        let store = Arc::clone(&store);
        async move { settle(&store, "alice", GRACE_MS + 5).await }
    })
    .await;
    let (told, others): (Vec<_>, Vec<_>) = settled.into_iter().partition(|settled| *settled != Settled::Unknown);
    assert_eq!((told, others.len()), (vec![offline_since(GRACE_MS)], 19));
    // A lease that lapses without a goodbye is told too, once it is settled.
    renew(&store, "alice", "phone again", GRACE_MS + 10).await;
    assert_eq!(settle(&store, "alice", LEASE_MS + GRACE_MS + 10).await, offline_since(LEASE_MS + GRACE_MS + 10));
}

async fn leaving_without_a_lease_changes_nothing(store: Store) {
    assert_eq!(leave(&store, "alice", "phone", 5).await, Left::NotLast);
    assert!(!is_online(&store, "alice", 5).await);
    assert_eq!(settle(&store, "alice", 5 + GRACE_MS).await, Settled::Unknown);
    assert_eq!(renew(&store, "alice", "phone", 5).await, Renewed::CameOnline);
    renew(&store, "bob", "tab", 0).await;
    assert_eq!(leave(&store, "bob", "phone", 5).await, Left::NotLast);
    assert!(is_online(&store, "bob", 5).await);
}

async fn a_lapsed_lease_is_not_lengthened_by_leaving(store: Store) {
    renew(&store, "alice", "phone", 0).await;
    assert_eq!(leave(&store, "alice", "phone", LEASE_MS + 5).await, Left::Last);
    assert!(!is_online(&store, "alice", LEASE_MS + 5).await);
    assert_eq!(settle(&store, "alice", LEASE_MS + 5 + GRACE_MS).await, offline_since(LEASE_MS));
    // Leaving twice gives the grace once.
    renew(&store, "bob", "phone", 0).await;
    leave(&store, "bob", "phone", 0).await;
    leave(&store, "bob", "phone", 20_000).await;
    assert!(!is_online(&store, "bob", GRACE_MS).await);
}

async fn a_lease_is_never_shortened_by_renewing(store: Store) {
    renew(&store, "alice", "phone", 10_000).await;
    renew(&store, "alice", "phone", 0).await;
    assert!(is_online(&store, "alice", LEASE_MS + 9_999).await);
}

async fn many_users_are_asked_about_at_once_and_in_order(store: Store) {
    let asked: Vec<UserId> = (0..200).map(|n| user(&format!("user {n}"))).collect();
    for n in (0..200).step_by(3) {
        renew(&store, &format!("user {n}"), "phone", 0).await;
    }
    let expected: Vec<bool> = (0..200).map(|n| n % 3 == 0).collect();
    assert_eq!(store.online(&asked, at(1)).await.unwrap(), expected);
    let twice = users(&["user 1", "user 0", "user 1", "user 0"]);
    assert_eq!(store.online(&twice, at(1)).await.unwrap(), [false, true, false, true]);
    assert!(store.online(&[], at(1)).await.unwrap().is_empty());
}

async fn a_forgotten_user_is_offline_and_no_one_is_told(store: Store) {
    for name in ["alice", "bob"] {
        renew(&store, name, "phone", 0).await;
    }
    store.forget_user(&user("alice")).await;
    store.forget_user(&user("stranger")).await;
    assert!(!is_online(&store, "alice", 1).await && is_online(&store, "bob", 1).await);
    assert_eq!(settle(&store, "alice", LEASE_MS).await, Settled::Unknown);
    assert_eq!(renew(&store, "alice", "phone", LEASE_MS).await, Renewed::CameOnline);
}

async fn any_user_id_has_its_own_leases(store: Store) {
    let names = ["a", "A", "a:b", "{a}", "a}{", "a b", "a%n", "🔔", "+1", "-1"];
    for name in names {
        assert_eq!(renew(&store, name, "1+2-3 {x}", 0).await, Renewed::CameOnline, "{name}");
    }
    leave(&store, "a", "1+2-3 {x}", 0).await;
    let online = store.online(&users(&names), at(GRACE_MS)).await.unwrap();
    assert_eq!(online, [vec![false], vec![true; 9]].concat());
}

async fn a_user_who_reconnects_all_the_time_goes_offline_with_the_last(store: Store) {
    renew(&store, "bob", "phone", 0).await;
    for n in 0..500_i64 {
        renew(&store, "alice", &format!("tab {n}"), n).await;
        leave(&store, "alice", &format!("tab {n}"), n).await;
    }
    renew(&store, "alice", "last", 500).await;
    assert_eq!(leave(&store, "alice", "last", 500).await, Left::Last);
    assert_eq!(settle(&store, "alice", 500 + GRACE_MS).await, offline_since(500 + GRACE_MS));
}

/// The definition of presence, written as plainly as possible.
#[derive(Default)]
struct Model {
    /// Until when each known connection of each user counts, and whether it has left.
    leases: BTreeMap<usize, BTreeMap<usize, (i64, bool)>>,
}

impl Model {
    fn last_ms(&self, user: usize) -> Option<i64> {
        self.leases.get(&user)?.values().map(|(ends_ms, _)| *ends_ms).max()
    }

    fn is_online(&self, user: usize, now_ms: i64) -> bool {
        self.last_ms(user).is_some_and(|ends_ms| ends_ms > now_ms)
    }

    fn renew(&mut self, user: usize, connection: usize, now_ms: i64) -> Renewed {
        let was_online = self.is_online(user, now_ms);
        let leases = self.leases.entry(user).or_default();
        if leases.get(&connection).is_some_and(|(_, has_left)| *has_left) {
            return Renewed::Unchanged;
        }
        leases.retain(|_, (ends_ms, _)| *ends_ms > now_ms);
        leases.insert(connection, (now_ms + LEASE_MS, false));
        if was_online { Renewed::Unchanged } else { Renewed::CameOnline }
    }

    fn leave(&mut self, user: usize, connection: usize, now_ms: i64) -> Left {
        let Some(leases) = self.leases.get_mut(&user) else { return Left::NotLast };
        let Some((known_ms, _)) = leases.get(&connection).copied() else { return Left::NotLast };
        leases.retain(|_, (ends_ms, _)| *ends_ms > now_ms);
        let ends_ms = known_ms.min(now_ms + GRACE_MS);
        leases.insert(connection, (ends_ms, true));
        if leases.values().any(|(other_ms, _)| *other_ms > ends_ms) { Left::NotLast } else { Left::Last }
    }

    fn settle(&mut self, user: usize, now_ms: i64) -> Settled {
        match self.last_ms(user) {
            None => Settled::Unknown,
            Some(last_ms) if last_ms > now_ms => Settled::Online { lasts_ms: last_ms - now_ms },
            Some(last_ms) => {
                self.leases.remove(&user);
                offline_since(last_ms)
            }
        }
    }
}

async fn every_answer_matches_the_leases(store: Store) {
    const USERS: usize = 3;
    let (mut model, mut dice, mut now_ms) = (Model::default(), Dice(0x5eed), 0);
    let (mut came, mut went, mut settled, mut forgotten) = (0, 0, 0, 0);
    for _ in 0..3_000 {
        // Mostly a few seconds apart, sometimes long enough for leases to lapse.
        let is_long = dice.below(20) == 0;
        now_ms += dice.below(if is_long { 2 * LEASE_MS } else { 20_000 });
        if dice.below(100) == 0 {
            // Users that the store does not know: as if it had been emptied.
            forgotten += 1;
            model = Model::default();
        }
        let name_of = |person: usize| format!("user {person} of {forgotten}");
        let (person, tab) = (dice.below(USERS as i64) as usize, dice.below(40) as usize);
        let (name, connection) = (name_of(person), format!("tab {tab}"));
        match dice.below(8) {
            0..=2 => {
                let renewed = renew(&store, &name, &connection, now_ms).await;
                assert_eq!(renewed, model.renew(person, tab, now_ms), "{name} renews {connection} at {now_ms}");
                came += usize::from(renewed == Renewed::CameOnline);
            }
            3..=5 => {
                let left = leave(&store, &name, &connection, now_ms).await;
                assert_eq!(left, model.leave(person, tab, now_ms), "{name} leaves {connection} at {now_ms}");
            }
            _ => {
                let told = settle(&store, &name, now_ms).await;
                assert_eq!(told, model.settle(person, now_ms), "{name} settles at {now_ms}");
                went += usize::from(matches!(told, Settled::WentOffline { .. }));
                settled += 1;
            }
        }
        let asked: Vec<UserId> = (0..USERS).map(|person| user(&name_of(person))).collect();
        let expected: Vec<bool> = (0..USERS).map(|person| model.is_online(person, now_ms)).collect();
        assert_eq!(store.online(&asked, at(now_ms)).await.unwrap(), expected, "at {now_ms}");
    }
    assert!(came > 100 && went > 50 && settled > went + 100, "the trace is one-sided: {came}, {went}, {settled}");
}
