-- The end of a statement that begins with write_sends.sql and rings.sql: each new send gets its row.
totals AS MATERIALIZED (
    SELECT user_id, max(step) AS steps FROM arrived GROUP BY user_id
),
-- Assigns the next offsets of each inbox. Locks are taken in the order of the users, as everywhere.
heads AS (
    INSERT INTO inboxes AS inbox (user_id, epoch, head, unread)
    SELECT totals.user_id, epoch.epoch, totals.steps, totals.steps
      FROM totals, epoch ORDER BY totals.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET head = inbox.head + excluded.head, unread = inbox.unread + excluded.unread
    RETURNING user_id, head
),
-- The rows of users with connections are due at once: the drain pushes them.
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, silent,
                               web_push_at, push_at)
    SELECT arrived.user_id, heads.head - totals.steps + arrived.step, heads.head - totals.steps + arrived.step,
           arrived.notification_id, arrived.id, arrived.type, arrived.accepted_at, arrived.expires_at,
           rings.is_silent, rings.web_push_at,
           CASE WHEN coalesce(arrived.expires_at > clock.now_ms, true)
                 AND EXISTS (SELECT FROM connections c
                              WHERE c.user_id = arrived.user_id AND c.token_expires_at > clock.now_ms)
                THEN clock.now_ms END
      FROM clock, arrived JOIN totals USING (user_id) JOIN heads USING (user_id)
      JOIN rings ON rings.id = arrived.notification_id
)
-- The fingerprint of one that was committed while this waited for it is not visible yet, and so null.
SELECT logged.id, s.fingerprint
  FROM logged LEFT JOIN sends s ON s.id = logged.id
 WHERE logged.id NOT IN (SELECT id FROM send)
