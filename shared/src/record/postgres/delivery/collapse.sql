-- The rest of a statement that begins with `clock` and `send`, where the send has a collapse key and this transaction
-- holds the heads of its recipients: they get their rows, and what is older, of the same key and unread goes.
-- $1 at, or null for the server's clock  $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id
recipients AS MATERIALIZED (
    SELECT recipient.user_id, recipient.id
      FROM unnest($2::text[], $3::uuid[]) AS recipient (user_id, id)
     WHERE EXISTS (SELECT FROM send)
),
-- Who has got a newer one already: theirs is a tombstone from the beginning.
late AS MATERIALIZED (
    SELECT recipients.user_id
      FROM send, recipients
     WHERE send.may_be_late AND EXISTS (
               SELECT FROM notifications n
                WHERE n.user_id = recipients.user_id AND n.collapse_key = send.collapse_key
                  AND (n.send_due_at, n.send_accepted_at) > (send.due_at, send.created_at))
),
older AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.id, row_number() OVER (PARTITION BY n.user_id ORDER BY n."offset") AS step
      FROM clock, send, recipients, notifications n
     WHERE n.user_id = recipients.user_id AND n.collapse_key = send.collapse_key
       AND n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
       AND NOT EXISTS (SELECT FROM late WHERE late.user_id = n.user_id)
),
whole AS (
    SELECT recipients.user_id, late.user_id IS NOT NULL AS is_late,
           (SELECT count(*) FROM older WHERE older.user_id = recipients.user_id) AS replaced
      FROM recipients LEFT JOIN late ON late.user_id = recipients.user_id
),
heads AS (
    UPDATE inboxes AS inbox
       SET head = inbox.head + whole.replaced + 1,
           unread = inbox.unread - whole.replaced + CASE WHEN whole.is_late THEN 0 ELSE 1 END
      FROM whole
     WHERE inbox.user_id = whole.user_id
    RETURNING inbox.user_id, inbox.epoch, inbox.head, inbox.unread, whole.replaced, whole.is_late
),
-- Their offsets come before that of the newer one, so that its frame tells all of it.
collapsed AS (
    UPDATE notifications AS n
       SET version = heads.head - 1 - heads.replaced + older.step, deleted_at = clock.now_ms,
           collapsed_at = clock.now_ms, push_at = NULL
      FROM older, heads, clock
     WHERE n.user_id = older.user_id AND n."offset" = older."offset" AND heads.user_id = older.user_id
),
living AS MATERIALIZED (
    SELECT connections.user_id, connections.id, connections.connected_at, connections.token_expires_at
      FROM clock, send, heads JOIN connections ON connections.user_id = heads.user_id
     WHERE connections.token_expires_at > clock.now_ms AND coalesce(send.expires_at > clock.now_ms, true)
       AND NOT heads.is_late
),
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, collapse_key,
                               send_due_at, send_accepted_at, deleted_at, collapsed_at, push_at)
    SELECT heads.user_id, heads.head, heads.head, recipients.id, $6, $4, clock.now_ms, send.expires_at,
           send.collapse_key, send.due_at, send.created_at,
           CASE WHEN heads.is_late THEN clock.now_ms END, CASE WHEN heads.is_late THEN clock.now_ms END,
           CASE WHEN EXISTS (SELECT FROM living WHERE living.user_id = heads.user_id) THEN clock.now_ms + $5 END
      FROM clock, send, heads JOIN recipients ON recipients.user_id = heads.user_id
)
SELECT heads.user_id, recipients.id AS notification_id, heads.epoch, heads.head, clock.now_ms,
       CASE WHEN living.id IS NOT NULL THEN heads.unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = heads.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at <= clock.now_ms)
       END AS unread,
       (SELECT array_agg(older.id ORDER BY older.step) FROM older WHERE older.user_id = heads.user_id) AS replaces,
       living.id, living.connected_at, living.token_expires_at
  FROM clock, heads
  JOIN recipients ON recipients.user_id = heads.user_id
  LEFT JOIN living ON living.user_id = heads.user_id
 ORDER BY heads.user_id, living.connected_at, living.id
