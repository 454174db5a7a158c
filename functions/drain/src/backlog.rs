//! Users with a backlog: more due at once than gets a frame each, so they are told to sync.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::app::App;
use shared::delivery::Delivery;
use shared::delivery::deliveries::{MAX_FRAMES_PER_USER, Resync};
use shared::delivery::resync::resync;
use shared::ids::UserId;

/// Splits items with a row each into those of users with a backlog, by user, and the others.
pub(crate) fn split_backlogged<T>(items: Vec<T>, row: impl Fn(&T) -> &Delivery) -> (BTreeMap<UserId, Vec<T>>, Vec<T>) {
    let users = has_backlog(items.iter().map(|item| &row(item).user));
    let (mut backlogged, mut others): (BTreeMap<UserId, Vec<T>>, Vec<T>) = Default::default();
    for item in items {
        match users.get(&row(&item).user) {
            Some(user) => backlogged.entry(user.clone()).or_default().push(item),
            None => others.push(item),
        }
    }
    (backlogged, others)
}

/// Tells each user with a backlog to sync. Returns, in the order of the users, whether a connection is pending.
pub(crate) async fn resync_each<T>(
    app: &App,
    backlogged: &BTreeMap<UserId, Vec<T>>,
    row: impl Fn(&T) -> &Delivery,
) -> Vec<bool> {
    let resync_of = |(user, items): (&UserId, &Vec<T>)| Resync {
        user: user.clone(),
        through: items.iter().map(|item| row(item).notification.cursor.offset).max().unwrap_or_default(),
        connections: items.first().map(|item| row(item).connections.clone()).unwrap_or_default(),
    };
    let resyncs: Vec<Resync> = backlogged.iter().map(resync_of).collect();
    resync(app, &resyncs).await
}

/// The users who appear too often for a frame each time.
fn has_backlog<'a>(users: impl Iterator<Item = &'a UserId>) -> BTreeSet<UserId> {
    let mut counts: HashMap<&UserId, usize> = HashMap::new();
    users.for_each(|user| *counts.entry(user).or_default() += 1);
    counts.into_iter().filter(|(_, count)| *count > MAX_FRAMES_PER_USER).map(|(user, _)| user.clone()).collect()
}
