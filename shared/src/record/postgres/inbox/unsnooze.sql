-- Ends snoozes that are over, in inboxes that this transaction has locked: each notification arrives anew and takes the
-- next offset of its inbox. Returns how many snoozes ended, with a row for each connection to push to, at least one.
-- $2 users  $3 the most snoozes  $4 grace_ms
-- Those that ended first. A row that is being deleted or snoozed again is skipped: the next call finds what is left of it.
, due AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.version, n.snoozed_until, n.expires_at, n.collapse_key, n.send_due_at,
           n.send_accepted_at
      FROM notifications n
     WHERE n.user_id = ANY ($2) AND n.snoozed_until <= (SELECT now_ms FROM clock)
     ORDER BY n.snoozed_until, n.user_id, n."offset" LIMIT $3
       FOR UPDATE OF n SKIP LOCKED
),
-- `replaced_at`: when a newer one of the same collapse key arrived that came after the snooze.
ended AS MATERIALIZED (
    SELECT due.*, coalesce(due.expires_at <= clock.now_ms, false) AS has_expired,
           (SELECT coalesce(newer.unsnoozed_at, newer.created_at)
              FROM notifications newer
             WHERE newer.user_id = due.user_id AND newer.collapse_key = due.collapse_key
               AND (newer.send_due_at, newer.send_accepted_at) >= (due.send_due_at, due.send_accepted_at)
               AND newer."offset" > due.version
             ORDER BY newer.send_due_at, newer.send_accepted_at LIMIT 1) AS replaced_at
      FROM clock, due
),
-- Numbered from 1 in each inbox, in the order in which their snoozes ended.
arriving AS MATERIALIZED (
    SELECT user_id, "offset", row_number() OVER (PARTITION BY user_id ORDER BY snoozed_until, "offset") AS step
      FROM ended WHERE NOT has_expired AND replaced_at IS NULL
),
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
           push_at = CASE WHEN EXISTS (SELECT FROM live_connections WHERE live_connections.user_id = n.user_id)
                          THEN clock.now_ms + $4 END
      FROM clock, arriving JOIN heads ON heads.user_id = arriving.user_id
     WHERE n.user_id = arriving.user_id AND n."offset" = arriving."offset"
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
       n.user_id, n."offset", n.id, n.created_at, n.read_at, n.push_at, n.push_attempts, n.unsnoozed_at AS arrived_at,
       n.epoch,
       n.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = n.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
       live_connections.id AS connection_id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock CROSS JOIN (SELECT count(*) AS snoozes FROM ended) AS counted
  LEFT JOIN arrived n ON true
  LEFT JOIN sends s ON s.id = n.send_id
  LEFT JOIN live_connections ON live_connections.user_id = n.user_id
 -- The connections of one row must be adjacent: the caller gathers them into one delivery.
 ORDER BY n.user_id, n."offset", live_connections.connected_at, live_connections.id
