-- Takes the notifications whose Web Push has been due longest. Returns a row for each subscription to push to.
-- $2 limit  $3 how long the first claim lasts in ms, doubled with each further one  $4 the longest claim in ms
-- A row that another worker has locked is skipped: that worker takes or finishes it.
, due AS MATERIALIZED (
    SELECT n.user_id, n."offset"
      FROM notifications n
     -- A subquery, since a join with the clock would also read all rows that are due later.
     WHERE n.web_push_at <= (SELECT now_ms FROM clock)
     ORDER BY n.web_push_at
     LIMIT $2
       FOR UPDATE OF n SKIP LOCKED
),
subscriptions AS MATERIALIZED (
    SELECT s.* FROM push_subscriptions s WHERE s.user_id IN (SELECT user_id FROM due)
),
-- What is left to do. A notification that is in the inbox and unread is sent, unless a device has acknowledged it or a
-- digest tells of it. What was sent and is read or gone is closed; a digest, once nothing that it told of is unread, and a
-- collapse key, once there is no newer one, which has replaced it on the screen. A digest is closed by the last of its
-- notifications that are due for that.
tasks AS MATERIALIZED (
    SELECT n.user_id, n."offset", is_over AS is_close,
           CASE WHEN is_over THEN
               n.web_pushed_at IS NOT NULL AND NOT EXISTS (
                   SELECT FROM notifications o
                    WHERE o.user_id = n.user_id AND o.web_push_digest = n.web_push_digest
                      AND o.web_pushed_at IS NOT NULL
                      AND (o.read_at IS NULL AND o.deleted_at IS NULL
                           OR o.web_push_at IS NOT NULL AND o."offset" > n."offset"))
               AND NOT (n.web_push_digest IS NULL AND EXISTS (
                   SELECT FROM notifications o
                    WHERE o.user_id = n.user_id AND o.collapse_key = n.collapse_key AND o."offset" > n."offset"
                      AND o.read_at IS NULL AND o.deleted_at IS NULL))
           ELSE
               n.web_push_digest IS NULL AND (n.web_pushed_at IS NULL OR n.web_push_left IS NOT NULL)
               -- One device acknowledges for itself: those that are left are asked all the same.
               AND (coalesce(n.silent, false) OR n.web_pushed_at IS NOT NULL OR inboxes.acked < n."offset")
           END AND EXISTS (SELECT FROM subscriptions s WHERE s.user_id = n.user_id) AS is_task
      FROM clock, due
      JOIN notifications n ON n.user_id = due.user_id AND n."offset" = due."offset"
      JOIN inboxes ON inboxes.user_id = n.user_id
     CROSS JOIN LATERAL (
         SELECT n.read_at IS NOT NULL OR n.deleted_at IS NOT NULL OR coalesce(n.expires_at <= clock.now_ms, false)
                AS is_over) AS life
),
-- The shift is bounded, since a bigint would overflow.
taken AS (
    UPDATE notifications AS n
       SET web_push_attempts = n.web_push_attempts + 1,
           web_push_left = CASE WHEN NOT tasks.is_close THEN n.web_push_left END,
           web_push_at = CASE WHEN tasks.is_task
               THEN clock.now_ms + least($4, $3 * (1::bigint << least(n.web_push_attempts, 10)::integer)) END
      FROM clock, tasks
     WHERE n.user_id = tasks.user_id AND n."offset" = tasks."offset"
    RETURNING n.*, tasks.is_close
)
-- `unread` excludes expired notifications that are not tombstones yet.
SELECT n.user_id, n."offset", n.id, n.created_at, n.read_at, n.silent, n.web_push_at AS fence, n.is_close,
       n.web_push_attempts - 1 AS attempt, n.web_push_left AS push_left, n.web_push_digest,
       n.web_pushed_at IS NOT NULL AS was_sent,
       NOT EXISTS (
           SELECT FROM notifications o
            WHERE o.user_id = n.user_id AND o."offset" > inboxes.acked AND o."offset" < n."offset"
              AND o.read_at IS NULL AND o.deleted_at IS NULL
       ) AS is_next,
       inboxes.epoch,
       inboxes.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key, s.channels, s.digest_ms,
       s.traceparent,
       p.types, p.quiet_hours, p.muted_chats,
       subscriptions.endpoint, subscriptions.p256dh, subscriptions.auth
  FROM clock CROSS JOIN taken n
  JOIN inboxes ON inboxes.user_id = n.user_id
  JOIN sends s ON s.id = n.send_id
  JOIN subscriptions ON subscriptions.user_id = n.user_id
  LEFT JOIN preferences p ON p.user_id = n.user_id
 WHERE n.web_push_at IS NOT NULL
 -- The subscriptions of one notification must be adjacent: the caller gathers them.
 ORDER BY n.user_id, n."offset", subscriptions.number
