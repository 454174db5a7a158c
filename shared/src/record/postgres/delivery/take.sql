-- Takes rows by their keys: those that nobody took or finished since their `push_at` was read.
-- $2 users  $3 offsets  $4 fences  $5 grace_ms
-- What another holds he takes or finishes.
, found AS MATERIALIZED (
    SELECT n.user_id, n."offset"
      FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS key (user_id, "offset", fence)
      JOIN notifications n ON n.user_id = key.user_id AND n."offset" = key."offset" AND n.push_at = key.fence
       FOR UPDATE OF n SKIP LOCKED
),
living AS MATERIALIZED (
    SELECT connections.*
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM found) AND connections.token_expires_at > clock.now_ms
),
-- What was read or deleted or has expired, and what has nowhere to go, is no longer due. Otherwise it comes back after the grace and
-- the longest that it may wait for its next try, as `retry_within_ms` says it.
taken AS (
    UPDATE notifications AS n
       SET push_attempts = n.push_attempts + 1,
           push_at = CASE
               WHEN n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
                    AND EXISTS (SELECT FROM living WHERE living.user_id = n.user_id)
               THEN clock.now_ms + $5 + 100 * least(600, 1::bigint << least(n.push_attempts + 1, 10)::integer)
           END
      FROM clock, found
     WHERE n.user_id = found.user_id AND n."offset" = found."offset"
    RETURNING n.*
)
SELECT n.user_id, n."offset", n.id, n.created_at, n.read_at, n.push_at, n.push_attempts,
       inboxes.epoch,
       inboxes.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
       living.id AS connection_id, living.connected_at, living.token_expires_at
  FROM clock CROSS JOIN taken n
  JOIN inboxes ON inboxes.user_id = n.user_id
  JOIN sends s ON s.id = n.send_id
  JOIN living ON living.user_id = n.user_id
 WHERE n.push_at IS NOT NULL
 ORDER BY n.user_id, n."offset", living.connected_at, living.id
