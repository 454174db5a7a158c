-- The end of a statement that begins with unsnooze.sql and rings.sql: moves the rows.
heads AS (
    UPDATE inboxes AS i
       SET head = i.head + totals.steps, unread = i.unread + totals.steps
      FROM (SELECT user_id, count(*) AS steps FROM arriving GROUP BY user_id) AS totals
     WHERE i.user_id = totals.user_id
    RETURNING i.user_id, i.epoch, i.head - totals.steps AS head_before, i.unread - totals.steps AS unread_before
),
live_connections AS MATERIALIZED (
    SELECT connections.*
      FROM clock, connections
     WHERE connections.user_id IN (SELECT user_id FROM arriving) AND connections.token_expires_at > clock.now_ms
),
-- Nothing of its first arrival counts any more. A row without connections is never due: the user syncs after connecting.
arrived AS (
    UPDATE notifications AS n
       SET "offset" = heads.head_before + arriving.step, version = heads.head_before + arriving.step,
           deleted_at = NULL, snoozed_until = NULL, unsnoozed_at = clock.now_ms, offered_at = NULL, push_attempts = 0,
           silent = rings.is_silent, web_push_at = rings.web_push_at, web_push_attempts = 0, web_push_left = NULL,
           web_push_digest = NULL, web_pushed_at = NULL, web_push_failed_at = NULL,
           push_at = CASE WHEN EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = n.user_id)
                          THEN clock.now_ms + $4 END
      FROM clock, rings, arriving JOIN heads ON heads.user_id = arriving.user_id
     WHERE n.user_id = arriving.user_id AND n."offset" = arriving."offset" AND n.id = rings.id
    RETURNING n.*, heads.epoch, heads.unread_before + arriving.step AS unread
),
-- These stay tombstones, from now on as if deleted, expired or replaced now.
buried AS (
    UPDATE notifications AS n
       SET snoozed_until = NULL, deleted_at = clock.now_ms, collapsed_at = ended.replaced_at
      FROM clock, ended
     WHERE n.user_id = ended.user_id AND n."offset" = ended."offset"
       AND (ended.has_expired OR ended.replaced_at IS NOT NULL)
)
-- `unread` excludes expired notifications that are not tombstones yet.
SELECT counted.snoozes,
       n.user_id, n."offset", n.id, n.created_at, n.read_at, n.silent, n.web_push_at, n.push_at, n.push_attempts, n.unsnoozed_at AS arrived_at,
       n.epoch,
       n.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
       s.channels, s.digest_ms, s.traceparent,
       live_connections.id AS connection_id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock CROSS JOIN (SELECT count(*) AS snoozes FROM ended) AS counted
  LEFT JOIN arrived n ON true
  LEFT JOIN sends s ON s.id = n.send_id
  LEFT JOIN live_connections ON live_connections.user_id = n.user_id
 -- The connections of one row must be adjacent: the caller gathers them into one delivery.
 ORDER BY n.user_id, n."offset", live_connections.connected_at, live_connections.id
