-- Materialises several chunks that this transaction holds, of sends without a collapse key.
-- $1 at, or null for the server's clock  $2 users  $3 notification ids  $4 their sends  $5 grace_ms
-- $6 sends of the chunks  $7 numbers of the chunks
, chunks AS (
    UPDATE send_chunks AS c SET state = 'materialised'
      FROM unnest($6::uuid[], $7::integer[]) AS chunk (send_id, n)
     WHERE c.send_id = chunk.send_id AND c.n = chunk.n
),
-- In the order in which they are due; one user may get several.
recipients AS MATERIALIZED (
    SELECT recipient.user_id, recipient.id, recipient.send_id, recipient.place, sends.type, sends.expires_at,
           row_number() OVER (PARTITION BY recipient.user_id ORDER BY recipient.place)
               - count(*) OVER (PARTITION BY recipient.user_id) AS before_last
      FROM unnest($2::text[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS recipient (user_id, id, send_id, place)
      JOIN sends ON sends.id = recipient.send_id
),
-- In the order of their users: two statements to the same users never wait for each other in a circle.
heads AS (
    INSERT INTO inboxes AS inbox (user_id, epoch, head, unread)
    SELECT new.user_id, epoch.epoch, new.rows, new.rows
      FROM (SELECT user_id, count(*) AS rows FROM recipients GROUP BY user_id) AS new, epoch
     ORDER BY new.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET head = inbox.head + excluded.head, unread = inbox.unread + excluded.unread
    RETURNING user_id, epoch, head, unread, expired_through
),
living AS MATERIALIZED (
    SELECT connections.user_id, connections.id, connections.connected_at, connections.token_expires_at
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM recipients) AND connections.token_expires_at > clock.now_ms
),
-- Nothing is pushed of what has expired while it came here.
arriving AS MATERIALIZED (
    SELECT recipients.*, heads.epoch, heads.head + before_last AS "offset", heads.unread + before_last AS unread,
           heads.expired_through, coalesce(recipients.expires_at > clock.now_ms, true) AS is_pushed
      FROM clock, heads JOIN recipients ON recipients.user_id = heads.user_id
),
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, push_at)
    SELECT user_id, "offset", "offset", id, send_id, type, clock.now_ms, expires_at,
           CASE WHEN is_pushed AND EXISTS (SELECT FROM living WHERE living.user_id = arriving.user_id)
                THEN clock.now_ms + $5 END
      FROM clock, arriving
)
-- Unread as in materialise.sql.
SELECT arriving.user_id, arriving.id AS notification_id, arriving.send_id, arriving.epoch, arriving."offset" AS head,
       clock.now_ms,
       CASE WHEN living.id IS NOT NULL THEN arriving.unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = arriving.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at > arriving.expired_through AND n.expires_at <= clock.now_ms)
       END AS unread, NULL::uuid[] AS replaces,
       living.id, living.connected_at, living.token_expires_at
  FROM clock, arriving
  LEFT JOIN living ON living.user_id = arriving.user_id AND arriving.is_pushed
 ORDER BY arriving.place, living.connected_at, living.id
