//! How new notifications ring, in SQLite.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::ids::UserId;
use crate::inbox::notification::{Channels, Content, Priority};
use crate::preferences::Preferences;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::statement::all;
use crate::web_push::pushes::{ACK_MS, URGENT_ACK_MS};

/// What decides how notifications ring, of users who have preferences or a subscription.
pub(crate) struct Rings(HashMap<UserId, Wants>);

struct Wants {
    preferences: Preferences,
    has_subscription: bool,
}

/// How a notification rings.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    pub(crate) is_silent: bool,
    /// When Web Push is due; `None` without a subscription.
    pub(crate) web_push_at: Option<i64>,
}

impl Rings {
    /// Of these users, a JSON list.
    pub(crate) fn read(db: &Connection, users: &str) -> Result<Self, Failure> {
        let sql = "SELECT * FROM (
                       SELECT user.value AS user_id, p.types,
                              EXISTS (SELECT 1 FROM push_subscriptions s WHERE s.user_id = user.value) AS has_subscription
                         FROM json_each(?1) AS user LEFT JOIN preferences p ON p.user_id = user.value)
                    WHERE types IS NOT NULL OR has_subscription";
        let wants = all(db, sql, params![users], |row| {
            let preferences = match row.get::<_, Option<String>>("types")? {
                Some(types) => Preferences::stored(&types, None, "{}").ok_or_else(|| broken("preferences.types"))?,
                None => Preferences::default(),
            };
            let wants = Wants { preferences, has_subscription: row.get("has_subscription")? };
            Ok((UserId::stored(row.get("user_id")?), wants))
        })?;
        Ok(Self(wants.into_iter().collect()))
    }

    pub(crate) fn of(&self, user: &UserId, content: &Content, is_connected: bool, now_ms: i64) -> Ring {
        let wants = self.0.get(user);
        let rings = wants.is_none_or(|wants| wants.preferences.rings(&content.kind, content.priority));
        let is_silent = content.is_silent(rings);
        let may_push = wants.is_some_and(|wants| wants.has_subscription)
            && content.channels != Channels::Realtime
            && content.expires_at.is_none_or(|end| now_ms < end.0);
        let delay_ms = match content.priority {
            _ if is_silent || !is_connected => 0,
            Priority::High | Priority::Critical => URGENT_ACK_MS,
            Priority::Low | Priority::Normal => ACK_MS,
        };
        Ring { is_silent, web_push_at: may_push.then_some(now_ms + delay_ms) }
    }
}
