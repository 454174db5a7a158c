-- Snoozes a notification of one user: it becomes a tombstone, which takes the next offset as its version and arrives anew
-- later. One that is snoozed already only gets the new time. Returns the position before, what was found, the new head and
-- unread count (null if no offset was taken), and a row for each connection to notify, at least one. If the inbox changes
-- concurrently, nothing has happened: there is neither a new head nor was a snooze moved, and the caller retries.
-- $2 user  $3 notification id  $4 until when, in ms
-- The position in the snapshot of this statement. A user who never received anything has no row here.
, inbox AS MATERIALIZED (
    SELECT epoch, head, acked, purged_through, unread FROM inboxes WHERE user_id = $2
),
-- Expired notifications that are not tombstones yet: they still count in `inboxes.unread`, but are reported as gone.
expired AS MATERIALIZED (
    SELECT count(*) AS expired, count(*) FILTER (WHERE n.read_at IS NULL) AS unread
      FROM notifications n
     -- A subquery, since for a join with the clock the planner expects all of the user's rows.
     WHERE n.user_id = $2 AND n.deleted_at IS NULL AND n.expires_at <= (SELECT now_ms FROM clock)
),
-- A past time means now. Without an expiry, a notification is kept for as long as its send.
found AS MATERIALIZED (
    SELECT n."offset", n.snoozed_until IS NOT NULL AS is_snoozed, (n.read_at IS NULL)::integer AS was_unread,
           greatest($4, clock.now_ms) AS until,
           greatest($4, clock.now_ms) < coalesce(n.expires_at, s.keep_until) AS is_kept
      FROM clock, notifications n JOIN sends s ON s.id = n.send_id
     WHERE n.id = $3 AND n.user_id = $2 AND (n.deleted_at IS NULL OR n.snoozed_until IS NOT NULL)
       AND coalesce(n.expires_at > clock.now_ms, true)
),
-- Every change of an inbox raises its head. If the head is no longer that of the snapshot, what was found may be stale:
-- this updates nothing, and `snoozed` does nothing either.
raised AS (
    UPDATE inboxes AS i
       SET head = i.head + 1, unread = i.unread - found.was_unread
      FROM inbox, found
     WHERE i.user_id = $2 AND i.head = inbox.head AND found.is_kept AND NOT found.is_snoozed
    RETURNING i.head, i.unread
),
-- It arrives anew as unread, and is no longer due; what Web Push has shown of it is closed.
snoozed AS (
    UPDATE notifications AS n
       SET version = raised.head, deleted_at = clock.now_ms, snoozed_until = found.until, read_at = NULL, push_at = NULL,
           web_push_at = CASE WHEN n.web_pushed_at IS NOT NULL THEN clock.now_ms END
      FROM found, raised, clock
     WHERE n.user_id = $2 AND n."offset" = found."offset"
    RETURNING n.web_push_at
),
-- Nothing if the snooze has ended meanwhile.
moved AS (
    UPDATE notifications AS n SET snoozed_until = found.until
      FROM found
     WHERE n.user_id = $2 AND n."offset" = found."offset" AND n.snoozed_until IS NOT NULL
       AND found.is_kept AND found.is_snoozed
    RETURNING n.id
)
SELECT coalesce(inbox.epoch, epoch.epoch) AS epoch, coalesce(inbox.head, 0) AS head, coalesce(inbox.acked, 0) AS acked,
       coalesce(inbox.purged_through, 0) AS purged_through, coalesce(inbox.unread, 0) - expired.unread AS unread,
       expired.expired, found.is_kept, EXISTS (SELECT FROM moved) AS is_moved,
       EXISTS (SELECT FROM snoozed WHERE snoozed.web_push_at IS NOT NULL) AS web_push_is_due,
       raised.head AS new_head, raised.unread - expired.unread AS new_unread,
       connections.id, connections.user_id, connections.connected_at, connections.token_expires_at
  FROM epoch CROSS JOIN clock CROSS JOIN expired
  LEFT JOIN inbox ON true
  LEFT JOIN found ON true
  LEFT JOIN raised ON true
  LEFT JOIN connections ON connections.user_id = $2 AND connections.token_expires_at > clock.now_ms
                           AND raised.head IS NOT NULL
 ORDER BY connections.connected_at, connections.id
