//! Keeping the leases of connections, and telling those who may know that a user came online or went offline. All of it is
//! best effort: a lost event shows in the next answer to `GET /api/presence`.

use futures_util::future::join_all;

use crate::app::App;
use crate::clock::Time;
use crate::error::StoreError;
use crate::ids::{ConnectionId, UserId};
use crate::presence::acquaintances::{Acquaintance, MAX_NEIGHBOURS};
use crate::presence::{GRACE_MS, Renewed, Settled, UserPresence};
use crate::protocol::{self, Event};
use crate::sockets::connections::Connection;
use crate::sockets::outgoing::{self, Outgoing};
use crate::telemetry::{Hint, Report};

/// When it is asked again whether a user went offline, if the moment gave no answer, in milliseconds.
const ASK_AGAIN_MS: i64 = 5_000;

/// Whether those of these users whom `viewer` knows are online; without a viewer all of them.
pub async fn ask(app: &App, viewer: Option<&UserId>, among: &[UserId]) -> Result<Vec<UserPresence>, StoreError> {
    let (visible, online) = tokio::join!(
        app.record.acquaintances.visible(viewer, among),
        app.moment.presence.online(among, app.clock.at())
    );
    let is_online = |user: &UserId| {
        let place = among.iter().position(|asked| asked == user)?;
        online.as_ref()?.get(place).copied()
    };
    let presence =
        |Acquaintance { user, last_seen_at }| UserPresence { online: is_online(&user), user_id: user, last_seen_at };
    Ok(visible?.into_iter().map(presence).collect())
}

/// Renews the lease of a connection that opens. If the user was offline, those who may know are told.
pub async fn come_online(app: &App, user: &UserId, connection: &ConnectionId) {
    app.renewals.note(connection, app.clock.now_ms());
    renew(app, user, connection).await;
}

/// Renews the lease of a connection that sent a frame, unless this process did so a short while ago.
pub async fn stay_online(app: &App, connection: &Connection) {
    if app.renewals.is_due(&connection.id, app.config.presence_lease_ms, app.clock.now_ms()) {
        renew(app, &connection.user, &connection.id).await;
    }
}

async fn renew(app: &App, user: &UserId, connection: &ConnectionId) {
    let lease_ms = app.config.presence_lease_ms;
    let renewed = app.moment.presence.renew(user, connection, lease_ms, app.clock.at()).await;
    if renewed == Some(Renewed::CameOnline) {
        tell(app, user, true, Time(app.clock.now_ms())).await;
    }
}

/// For each of these users who has gone offline, notes when it was last connected and tells those who may know. Returns, in
/// their order, after how many milliseconds that is to be asked again, if the user goes offline soon or may have gone.
pub async fn settle(app: &App, users: &[&UserId]) -> Vec<Option<i64>> {
    join_all(users.iter().map(|user| settle_one(app, user))).await
}

async fn settle_one(app: &App, user: &UserId) -> Option<i64> {
    match app.moment.presence.settle(user, app.clock.at()).await {
        Some(Settled::WentOffline { ended_at_ms }) => {
            tell(app, user, false, Time(ended_at_ms - GRACE_MS)).await;
            None
        }
        // Another clock is ahead, or the last lease lapses: nothing else would tell of that.
        Some(Settled::Online { lasts_ms }) if lasts_ms <= GRACE_MS => Some(lasts_ms),
        Some(Settled::Online { .. } | Settled::Unknown) => None,
        // Nothing else would ask again.
        None => Some(ASK_AGAIN_MS),
    }
}

/// Tells the neighbours of a user, and other programs, that it came online or went offline.
async fn tell(app: &App, user: &UserId, online: bool, seen_at: Time) {
    let hints = vec![Hint::Presence { user, online }];
    let report = Report { hints, ..Report::default() };
    let at = app.clock.at();
    let (neighbours, noted, ()) = tokio::join!(
        app.record.acquaintances.neighbours(user, MAX_NEIGHBOURS, at),
        app.record.acquaintances.saw(user, seen_at),
        app.moment.telemetry.report(&report, at)
    );
    match neighbours {
        Ok(connections) => {
            let presence = UserPresence { user_id: user.clone(), online: Some(online), last_seen_at: Some(seen_at) };
            let frame = protocol::frame(&Event::Presence { users: &[presence] });
            outgoing::push(app, &[Outgoing { frame, connections: &connections }]).await;
        }
        Err(error) => tracing::warn!(%error, "a change of presence could not be told"),
    }
    if let Err(error) = noted {
        tracing::warn!(%error, "when a user was last connected could not be noted");
    }
}
