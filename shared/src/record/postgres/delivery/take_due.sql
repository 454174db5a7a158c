-- Takes the rows that have been due longest. Of a user with a backlog it takes all due rows instead, up to as many as
-- one statement may change. Returns a row for each connection to push to, and those of users with a backlog without an
-- offset.
-- $2 limit  $3 grace_ms  $4 the longest delay in ms  $5 the most frames of a user  $6 the most rows beyond `limit`
-- A row that another worker has locked is skipped: that worker takes or finishes it.
, due AS MATERIALIZED (
    SELECT notifications.user_id, notifications."offset", notifications.push_at AS due_at
      FROM notifications
     -- A subquery, since a join with the clock would also read all rows that are due later.
     WHERE notifications.push_at <= (SELECT now_ms FROM clock)
     ORDER BY notifications.push_at
     LIMIT $2
       FOR UPDATE OF notifications SKIP LOCKED
),
-- Users with more due rows than may get a frame each, including rows that another worker has locked. Counting stops at
-- the first row too many.
backlogged AS MATERIALIZED (
    SELECT users.user_id
      FROM (SELECT DISTINCT user_id FROM due) AS users
     WHERE $5 < (SELECT count(*)
                   FROM (SELECT FROM notifications n
                          WHERE n.user_id = users.user_id AND n.push_at <= (SELECT now_ms FROM clock)
                          LIMIT $5 + 1) AS counted)
),
backlog AS MATERIALIZED (
    -- User by user, so that no due rows of other users are read.
    SELECT user_rows.*
      FROM clock, backlogged,
           LATERAL (SELECT n.user_id, n."offset", n.push_at AS due_at
                      FROM notifications n
                     WHERE n.user_id = backlogged.user_id AND n.push_at <= clock.now_ms
                     LIMIT $6
                       FOR UPDATE SKIP LOCKED) AS user_rows
     LIMIT $6
),
live_connections AS MATERIALIZED (
    SELECT connections.*
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM due) AND connections.token_expires_at > clock.now_ms
),
-- A row that was read or deleted, has expired, or whose user has no connection is no longer due. For any other the
-- delay doubles with each attempt; the shift is bounded, since a bigint would overflow.
taken AS (
    UPDATE notifications AS n
       SET push_attempts = n.push_attempts + 1,
           push_at = CASE
               WHEN n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
                    AND EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = n.user_id)
               THEN clock.now_ms + least($4, $3 * (1::bigint << least(n.push_attempts, 16)::integer))
           END
      -- A row may be in both: it must be updated, and its attempt counted, once.
      FROM clock, (SELECT * FROM due UNION SELECT * FROM backlog) AS selected
     WHERE n.user_id = selected.user_id AND n."offset" = selected."offset"
    RETURNING n.*, selected.due_at
),
-- One for each row to push, and one without an offset for each user with a backlog. These are returned even without a
-- connection, so that the caller takes the rest of their backlog.
frames AS (
    SELECT user_id, "offset", id, send_id, created_at, read_at, silent, coalesce(unsnoozed_at, created_at) AS arrived_at,
           due_at, push_at, push_attempts
      FROM taken
     WHERE push_at IS NOT NULL AND user_id NOT IN (SELECT user_id FROM backlogged)
    UNION ALL
    SELECT user_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM backlogged
)
-- `unread` excludes expired notifications that are not tombstones yet.
SELECT n.user_id, n."offset", n.id, n.created_at, n.read_at, n.silent, n.push_at, n.push_attempts, n.arrived_at,
       inboxes.epoch, inboxes.head,
       inboxes.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
       s.channels, s.digest_ms, s.traceparent,
       live_connections.id AS connection_id, live_connections.connected_at, live_connections.token_expires_at,
       (SELECT count(*) FROM backlog) AS backlog_rows
  FROM clock CROSS JOIN frames n
  JOIN inboxes ON inboxes.user_id = n.user_id
  LEFT JOIN sends s ON s.id = n.send_id
  LEFT JOIN live_connections ON live_connections.user_id = n.user_id
 -- The connections of one row or user must be adjacent: the caller gathers them into one delivery or resync.
 ORDER BY n.due_at, n.user_id, n."offset", live_connections.connected_at, live_connections.id
