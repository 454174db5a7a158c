-- The rest of a statement that begins with `clock` and `send`: where there is a send, its recipients get their rows.
-- $1 at, or null for the server's clock  $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id
recipients AS MATERIALIZED (
    SELECT recipient.user_id, recipient.id
      FROM unnest($2::text[], $3::uuid[]) AS recipient (user_id, id)
     WHERE EXISTS (SELECT FROM send)
),
-- In the order of their users: two sends to the same users never wait for each other in a circle.
heads AS (
    INSERT INTO inboxes AS inbox (user_id, epoch, head, unread)
    SELECT recipients.user_id, epoch.epoch, 1, 1 FROM recipients, epoch ORDER BY recipients.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET head = inbox.head + 1, unread = inbox.unread + 1
    RETURNING user_id, epoch, head, unread, expired_through
),
-- None where it has expired while it came here.
living AS MATERIALIZED (
    SELECT connections.user_id, connections.id, connections.connected_at, connections.token_expires_at
      FROM clock, send, recipients JOIN connections ON connections.user_id = recipients.user_id
     WHERE connections.token_expires_at > clock.now_ms AND coalesce(send.expires_at > clock.now_ms, true)
),
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, push_at)
    SELECT heads.user_id, heads.head, heads.head, recipients.id, $6, $4, clock.now_ms, send.expires_at,
           CASE WHEN EXISTS (SELECT FROM living WHERE living.user_id = heads.user_id) THEN clock.now_ms + $5 END
      FROM clock, send, heads JOIN recipients ON recipients.user_id = heads.user_id
)
-- Without those that expired since the inbox's last tombstones: its row is the present one, while notifications are seen
-- as they were before this statement waited for it.
SELECT heads.user_id, recipients.id AS notification_id, heads.epoch, heads.head, clock.now_ms,
       CASE WHEN living.id IS NOT NULL THEN heads.unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = heads.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at > heads.expired_through AND n.expires_at <= clock.now_ms)
       END AS unread, NULL::uuid[] AS replaces,
       living.id, living.connected_at, living.token_expires_at
  FROM clock, heads
  JOIN recipients ON recipients.user_id = heads.user_id
  LEFT JOIN living ON living.user_id = heads.user_id
 ORDER BY heads.user_id, living.connected_at, living.id
