-- The end of a statement that begins with `clock`, `send`, recipients.sql and rings.sql, for a send with a collapse key:
-- each recipient gets a row, and older unread notifications of the same key become tombstones. This transaction must have locked the heads of
-- the recipients in an earlier statement, so that this one sees everything that was committed before. Returns rows as
-- materialise.sql does.
-- $2 users  $3 notification ids, in the order of the users  $4 type  $5 grace_ms  $6 send id
-- Recipients who already have a newer notification of the key, even a read or deleted one: this one is a tombstone on
-- arrival and replaces nothing. Skipped for a send that was accepted just now, since none can be newer.
late AS MATERIALIZED (
    SELECT recipients.user_id
      FROM send, recipients
     WHERE send.may_be_late AND EXISTS (
               SELECT FROM notifications n
                WHERE n.user_id = recipients.user_id AND n.collapse_key = send.collapse_key
                  AND (n.send_due_at, n.send_accepted_at) > (send.due_at, send.created_at))
),
-- What this send replaces. `step` numbers it in order of arrival, from 1 in each inbox.
older AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.id, row_number() OVER (PARTITION BY n.user_id ORDER BY n."offset") AS step
      FROM clock, send, recipients, notifications n
     WHERE n.user_id = recipients.user_id AND n.collapse_key = send.collapse_key
       AND n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
       AND NOT EXISTS (SELECT FROM late WHERE late.user_id = n.user_id)
),
effects AS (
    SELECT recipients.user_id, late.user_id IS NOT NULL AS is_late,
           (SELECT count(*) FROM older WHERE older.user_id = recipients.user_id) AS replaced
      FROM recipients LEFT JOIN late ON late.user_id = recipients.user_id
),
-- One offset for each tombstone and one for the arrival. A late arrival is never unread.
heads AS (
    UPDATE inboxes AS inbox
       SET head = inbox.head + effects.replaced + 1,
           unread = inbox.unread - effects.replaced + CASE WHEN effects.is_late THEN 0 ELSE 1 END
      FROM effects
     WHERE inbox.user_id = effects.user_id
    RETURNING inbox.user_id, inbox.epoch, inbox.head, inbox.unread, effects.replaced, effects.is_late
),
-- The tombstones take the offsets directly before that of the new notification, so that its frame reports all of them.
collapsed AS (
    UPDATE notifications AS n
       SET version = heads.head - 1 - heads.replaced + older.step, deleted_at = clock.now_ms,
           collapsed_at = clock.now_ms, push_at = NULL, web_push_at = NULL
      FROM older, heads, clock
     WHERE n.user_id = older.user_id AND n."offset" = older."offset" AND heads.user_id = older.user_id
),
-- Empty if the send has expired meanwhile. Late arrivals are not pushed.
live_connections AS MATERIALIZED (
    SELECT connections.user_id, connections.id, connections.connected_at, connections.token_expires_at
      FROM clock, send, heads JOIN connections ON connections.user_id = heads.user_id
     WHERE connections.token_expires_at > clock.now_ms AND coalesce(send.expires_at > clock.now_ms, true)
       AND NOT heads.is_late
),
-- The times of the send are stored too: they decide whether a send that is materialised afterwards is late.
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, collapse_key,
                               send_due_at, send_accepted_at, deleted_at, collapsed_at, push_at, silent, web_push_at)
    SELECT heads.user_id, heads.head, heads.head, recipients.id, $6, $4, clock.now_ms, send.expires_at,
           send.collapse_key, send.due_at, send.created_at,
           CASE WHEN heads.is_late THEN clock.now_ms END, CASE WHEN heads.is_late THEN clock.now_ms END,
           CASE WHEN EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = heads.user_id)
                THEN clock.now_ms + $5 END,
           rings.is_silent, CASE WHEN NOT heads.is_late THEN rings.web_push_at END
      FROM clock, send, heads JOIN recipients ON recipients.user_id = heads.user_id JOIN rings ON rings.id = recipients.id
)
-- `unread` excludes expired notifications that are not tombstones yet. With the heads locked before, `expired_through`
-- is not needed as it is in materialise.sql.
SELECT heads.user_id, recipients.id AS notification_id, heads.epoch, heads.head, clock.now_ms,
       CASE WHEN live_connections.id IS NOT NULL THEN heads.unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = heads.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at <= clock.now_ms)
       END AS unread,
       (SELECT array_agg(older.id ORDER BY older.step) FROM older WHERE older.user_id = heads.user_id) AS replaces,
       rings.is_silent AS silent, CASE WHEN NOT heads.is_late THEN rings.web_push_at END AS web_push_at,
       live_connections.id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock, heads
  JOIN recipients ON recipients.user_id = heads.user_id
  JOIN rings ON rings.id = recipients.id
  LEFT JOIN live_connections ON live_connections.user_id = heads.user_id
 -- The connections of one user must be adjacent: the caller gathers them into one delivery.
 ORDER BY heads.user_id, live_connections.connected_at, live_connections.id
