-- The end of a statement that begins with chunks.sql and rings.sql: each recipient of each chunk gets a row. Returns a row
-- for each connection to push to, and one without a connection for each notification that is not pushed.
-- $5 grace_ms
-- One row per user, since a row cannot be updated twice in one statement. Locks are taken in the order of the users, so
-- that two statements for the same users cannot deadlock.
heads AS (
    INSERT INTO inboxes AS inbox (user_id, epoch, head, unread)
    SELECT counts.user_id, epoch.epoch, counts.rows, counts.rows
      FROM (SELECT user_id, count(*) AS rows FROM recipients GROUP BY user_id) AS counts, epoch
     ORDER BY counts.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET head = inbox.head + excluded.head, unread = inbox.unread + excluded.unread
    RETURNING user_id, epoch, head, unread, expired_through
),
live_connections AS MATERIALIZED (
    SELECT connections.user_id, connections.id, connections.connected_at, connections.token_expires_at
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM recipients) AND connections.token_expires_at > clock.now_ms
),
-- Each with its own offset and the unread count as of its arrival. A notification that has expired meanwhile is not
-- pushed.
new_rows AS MATERIALIZED (
    SELECT recipients.*, heads.epoch, heads.head + from_head AS "offset", heads.unread + from_head AS unread,
           heads.expired_through, coalesce(recipients.expires_at > clock.now_ms, true) AS is_pushed,
           rings.is_silent AS silent, rings.web_push_at
      FROM clock, heads JOIN recipients ON recipients.user_id = heads.user_id JOIN rings ON rings.id = recipients.id
),
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, silent,
                               web_push_at, push_at)
    SELECT user_id, "offset", "offset", id, send_id, type, clock.now_ms, expires_at, silent, web_push_at,
           CASE WHEN is_pushed
                     AND EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = new_rows.user_id)
                THEN clock.now_ms + $5 END
      FROM clock, new_rows
)
-- `unread` is corrected as in materialise.sql.
SELECT new_rows.user_id, new_rows.id AS notification_id, new_rows.send_id, new_rows.epoch, new_rows."offset" AS head,
       clock.now_ms,
       CASE WHEN live_connections.id IS NOT NULL THEN new_rows.unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = new_rows.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at > new_rows.expired_through AND n.expires_at <= clock.now_ms)
       END AS unread, NULL::uuid[] AS replaces,
       new_rows.silent, new_rows.web_push_at,
       live_connections.id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock, new_rows
  LEFT JOIN live_connections ON live_connections.user_id = new_rows.user_id AND new_rows.is_pushed
 -- The connections of one notification must be adjacent: the caller gathers them into one delivery.
 ORDER BY new_rows.ordinal, live_connections.connected_at, live_connections.id
