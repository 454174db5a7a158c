-- The end of a statement that begins with `clock`, `send`, recipients.sql and rings.sql: if there is a send, each
-- recipient gets a row. Returns a row for each connection to push to, and one without a connection for each user who has
-- none.
-- $2 users  $3 notification ids, in the order of the users  $4 type  $5 grace_ms  $6 send id
-- Assigns the next offset of each inbox. Locks are taken in the order of the users, so that two sends to the same users
-- cannot deadlock.
heads AS (
    INSERT INTO inboxes AS inbox (user_id, epoch, head, unread)
    SELECT recipients.user_id, epoch.epoch, 1, 1 FROM recipients, epoch ORDER BY recipients.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET head = inbox.head + 1, unread = inbox.unread + 1
    RETURNING user_id, epoch, head, unread, expired_through
),
-- Empty if the send has expired meanwhile: its rows are stored, but not pushed.
live_connections AS MATERIALIZED (
    SELECT connections.user_id, connections.id, connections.connected_at, connections.token_expires_at
      FROM clock, send, recipients JOIN connections ON connections.user_id = recipients.user_id
     WHERE connections.token_expires_at > clock.now_ms AND coalesce(send.expires_at > clock.now_ms, true)
),
-- A row without connections is never due: the user syncs after connecting.
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, push_at,
                               silent, web_push_at)
    SELECT heads.user_id, heads.head, heads.head, recipients.id, $6, $4, clock.now_ms, send.expires_at,
           CASE WHEN EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = heads.user_id)
                THEN clock.now_ms + $5 END,
           rings.is_silent, rings.web_push_at
      FROM clock, send, heads JOIN recipients ON recipients.user_id = heads.user_id JOIN rings ON rings.id = recipients.id
)
-- `unread` excludes expired notifications that are not tombstones yet. If this statement waited for an inbox, it sees
-- the current row of the inbox but its notifications as they were before, so those that became tombstones meanwhile, up
-- to `expired_through`, would be subtracted twice.
SELECT heads.user_id, recipients.id AS notification_id, heads.epoch, heads.head, clock.now_ms,
       CASE WHEN live_connections.id IS NOT NULL THEN heads.unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = heads.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at > heads.expired_through AND n.expires_at <= clock.now_ms)
       END AS unread, NULL::uuid[] AS replaces, rings.is_silent AS silent, rings.web_push_at,
       live_connections.id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock, heads
  JOIN recipients ON recipients.user_id = heads.user_id
  JOIN rings ON rings.id = recipients.id
  LEFT JOIN live_connections ON live_connections.user_id = heads.user_id
 -- The connections of one user must be adjacent: the caller gathers them into one delivery.
 ORDER BY heads.user_id, live_connections.connected_at, live_connections.id
