-- Takes rows by their keys, due or not, unless they were taken or finished since their fence was read. Returns a row
-- for each connection to push to.
-- $2 users  $3 offsets and  $4 fences, in the order of the users  $5 grace_ms
-- A row that another worker has locked is skipped: that worker takes or finishes it.
, locked AS MATERIALIZED (
    SELECT n.user_id, n."offset"
      FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS key (user_id, "offset", fence)
      -- Not `=` for the fence, by whose index the planner might look for the rows: many have the same.
      JOIN notifications n
        ON n.user_id = key.user_id AND n."offset" = key."offset" AND n.push_at IS NOT DISTINCT FROM key.fence
       FOR UPDATE OF n SKIP LOCKED
),
live_connections AS MATERIALIZED (
    SELECT connections.*
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM locked) AND connections.token_expires_at > clock.now_ms
),
-- A row that was read or deleted, has expired, or whose user has no connection is no longer due. Any other comes back
-- after the grace and the longest backoff of its attempt, which `max_backoff_ms` computes too: not before the queue
-- would have retried it.
taken AS (
    UPDATE notifications AS n
       SET push_attempts = n.push_attempts + 1,
           push_at = CASE
               WHEN n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
                    AND EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = n.user_id)
               THEN clock.now_ms + $5 + 100 * least(600, 1::bigint << least(n.push_attempts + 1, 10)::integer)
           END
      FROM clock, locked
     WHERE n.user_id = locked.user_id AND n."offset" = locked."offset"
    RETURNING n.*
)
-- `unread` excludes expired notifications that are not tombstones yet.
SELECT n.user_id, n."offset", n.id, n.created_at, n.read_at, n.silent, n.push_at, n.push_attempts,
       coalesce(n.unsnoozed_at, n.created_at) AS arrived_at, inboxes.epoch,
       inboxes.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
       s.channels, s.digest_ms, s.traceparent,
       live_connections.id AS connection_id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock CROSS JOIN taken n
  JOIN inboxes ON inboxes.user_id = n.user_id
  JOIN sends s ON s.id = n.send_id
  JOIN live_connections ON live_connections.user_id = n.user_id
 WHERE n.push_at IS NOT NULL
 -- The connections of one row must be adjacent: the caller gathers them into one delivery.
 ORDER BY n.user_id, n."offset", live_connections.connected_at, live_connections.id
