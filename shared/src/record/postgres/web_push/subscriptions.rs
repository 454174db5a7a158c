//! Subscriptions in Postgres.

use uuid::Uuid;

use crate::ids::{SubscriptionId, UserId};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{column, limit};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Run, begin, commit};
use crate::web_push::subscription::Subscription;
use crate::web_push::subscriptions::{MAX_SUBSCRIPTIONS, Subscribed};

impl PostgresRecord {
    /// Several statements, since each must see what was stored before it. Meanwhile nobody revokes the user's tokens. Two devices
    /// of a user that subscribe at the same time may leave one more than allowed, until the next.
    pub(super) async fn try_subscribe(
        &self,
        user: &UserId,
        issued_at_s: Option<i64>,
        subscription: &Subscription,
    ) -> Result<Subscribed, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))").bind(user.as_str());
        lock.run(&mut transaction).await?;
        let stored = sqlx::query(
            "WITH revoked AS MATERIALIZED (
                 SELECT EXISTS (SELECT FROM revocations r
                                 WHERE r.user_id = $2 AND coalesce($6 <= r.revoked_at / 1000, true)) AS is_revoked
             ),
             stored AS (
                 INSERT INTO push_subscriptions AS s (id, user_id, endpoint, p256dh, auth)
                 SELECT $1, $2, $3, $4, $5 FROM revoked WHERE NOT is_revoked
                 ON CONFLICT (id) DO UPDATE
                    SET user_id = excluded.user_id, p256dh = excluded.p256dh, auth = excluded.auth, number = DEFAULT
                  WHERE s.user_id = excluded.user_id OR s.p256dh = excluded.p256dh AND s.auth = excluded.auth
                 RETURNING 1
             )
             SELECT is_revoked, EXISTS (SELECT FROM stored) AS is_stored FROM revoked",
        );
        let stored = stored
            .bind(subscription.id.as_uuid())
            .bind(user.as_str())
            .bind(subscription.endpoint.as_str())
            .bind(subscription.keys.p256dh.as_slice())
            .bind(subscription.keys.auth.as_slice())
            .bind(issued_at_s);
        let stored = stored.one(&mut *transaction).await?;
        if column(&stored, "is_revoked")? {
            return Ok(Subscribed::Revoked);
        }
        if !column::<bool>(&stored, "is_stored")? {
            return Ok(Subscribed::Taken);
        }
        let oldest = sqlx::query(
            "DELETE FROM push_subscriptions
              WHERE id IN (SELECT id FROM push_subscriptions WHERE user_id = $1 ORDER BY number DESC OFFSET $2)",
        );
        oldest.bind(user.as_str()).bind(limit(MAX_SUBSCRIPTIONS)).run(&mut transaction).await?;
        commit(transaction).await?;
        Ok(Subscribed::Done)
    }

    pub(super) async fn try_unsubscribe(&self, user: &UserId, id: SubscriptionId) -> Result<bool, Failure> {
        let query = sqlx::query("DELETE FROM push_subscriptions WHERE id = $1 AND user_id = $2");
        let query = query.bind(id.as_uuid()).bind(user.as_str());
        Ok(query.run(&mut *self.connection().await?).await? > 0)
    }

    pub(super) async fn try_forget_subscriptions(&self, ended: &[SubscriptionId]) -> Result<(), Failure> {
        let ids: Vec<Uuid> = ended.iter().map(SubscriptionId::as_uuid).collect();
        let query = sqlx::query("DELETE FROM push_subscriptions WHERE id = ANY ($1)").bind(ids);
        query.run(&mut *self.connection().await?).await?;
        Ok(())
    }
}
