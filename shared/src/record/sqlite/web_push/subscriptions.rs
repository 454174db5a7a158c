//! Subscriptions in SQLite.

use rusqlite::params;

use crate::ids::{SubscriptionId, UserId};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::limit;
use crate::record::sqlite::statement::{execute, one, value};
use crate::record::sqlite::store::SqliteRecord;
use crate::web_push::subscription::Subscription;
use crate::web_push::subscriptions::{MAX_SUBSCRIPTIONS, Subscribed};

impl SqliteRecord {
    pub(super) async fn try_subscribe(
        &self,
        user: &UserId,
        issued_at_s: Option<i64>,
        subscription: &Subscription,
    ) -> Result<Subscribed, Failure> {
        let (user, subscription) = (user.clone(), subscription.clone());
        self.write(move |db| {
            let Subscription { id, endpoint, keys } = &subscription;
            let sql = "SELECT EXISTS (SELECT 1 FROM revocations
                                       WHERE user_id = ?1 AND coalesce(?2 <= revoked_at / 1000, TRUE))";
            if one(db, sql, params![user.as_str(), issued_at_s], value)? {
                return Ok(Subscribed::Revoked);
            }
            let sql = "INSERT INTO push_subscriptions (id, user_id, endpoint, p256dh, auth) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (id) DO UPDATE
                          SET user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth,
                              number = (SELECT max(number) + 1 FROM push_subscriptions)
                        WHERE user_id = excluded.user_id OR p256dh = excluded.p256dh AND auth = excluded.auth";
            let (p256dh, auth) = (keys.p256dh.as_slice(), keys.auth.as_slice());
            let params = params![id.as_bytes().as_slice(), user.as_str(), endpoint.as_str(), p256dh, auth];
            if execute(db, sql, params)? == 0 {
                return Ok(Subscribed::Taken);
            }
            let sql = "DELETE FROM push_subscriptions
                        WHERE number IN (SELECT number FROM push_subscriptions WHERE user_id = ?1
                                          ORDER BY number DESC LIMIT -1 OFFSET ?2)";
            execute(db, sql, params![user.as_str(), limit(MAX_SUBSCRIPTIONS)])?;
            Ok(Subscribed::Done)
        })
        .await
    }

    pub(super) async fn try_unsubscribe(&self, user: &UserId, id: SubscriptionId) -> Result<bool, Failure> {
        let user = user.clone();
        self.write(move |db| {
            let sql = "DELETE FROM push_subscriptions WHERE id = ?1 AND user_id = ?2";
            Ok(execute(db, sql, params![id.as_bytes().as_slice(), user.as_str()])? > 0)
        })
        .await
    }

    pub(super) async fn try_forget_subscriptions(&self, ended: &[SubscriptionId]) -> Result<(), Failure> {
        let ended = ended.to_vec();
        self.write(move |db| {
            for id in &ended {
                execute(db, "DELETE FROM push_subscriptions WHERE id = ?1", params![id.as_bytes().as_slice()])?;
            }
            Ok(())
        })
        .await
    }
}
