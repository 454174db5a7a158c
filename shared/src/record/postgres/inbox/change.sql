-- Changes rows of one user's inbox. Each row that changes takes the next offset as its version. Returns the position
-- before the change, the new head and unread count (null if nothing changed), the ids that changed, and a row for each
-- connection to notify, at least one. If the inbox changes concurrently, there are ids but no new head, or no ids and
-- snoozes were missed; then nothing has changed for anyone, and the caller retries.
-- $2 user  $3 'read', 'unread' or 'delete'  $4 ids, or null for all  $5 type, or null
-- $6 epoch and $7 offset of the cursor up to which, or null
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
-- The rows that the change makes different, numbered from 1 in order of arrival; none if the cursor is not part of the
-- inbox's history, as `Position::knows` decides. Rows that are already as wanted are left out, so repeating a change
-- takes no offsets.
affected AS MATERIALIZED (
    SELECT n."offset", n.id, (n.read_at IS NULL)::integer AS was_unread, row_number() OVER (ORDER BY n."offset") AS step
      FROM notifications n, inbox, clock
     WHERE n.user_id = $2 AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
       AND ($4::uuid[] IS NULL OR n.id = ANY ($4))
       AND ($5::text IS NULL OR n.type = $5)
       AND ($7::bigint IS NULL
            OR n."offset" <= $7 AND inbox.epoch = $6 AND $7 BETWEEN inbox.purged_through AND inbox.head)
       AND CASE $3 WHEN 'read' THEN n.read_at IS NULL WHEN 'unread' THEN n.read_at IS NOT NULL ELSE true END
),
-- Every change of an inbox raises its head. If the head is no longer that of the snapshot, the affected rows may be
-- stale: this updates nothing, and `changed` does nothing either.
raised AS (
    UPDATE inboxes AS i
       SET head = i.head + totals.steps, unread = i.unread + totals.more_unread
      FROM inbox,
           (SELECT count(*) AS steps,
                   coalesce(sum((CASE $3 WHEN 'unread' THEN 1 ELSE 0 END) - was_unread), 0)::bigint AS more_unread
              FROM affected) AS totals
     WHERE i.user_id = $2 AND i.head = inbox.head AND totals.steps > 0
    RETURNING i.head, i.unread
),
-- A notification that is read or deleted is no longer due; what Web Push has shown of it is closed.
changed AS (
    UPDATE notifications AS n
       SET version = inbox.head + affected.step,
           read_at = CASE $3 WHEN 'read' THEN clock.now_ms WHEN 'unread' THEN NULL ELSE n.read_at END,
           deleted_at = CASE $3 WHEN 'delete' THEN clock.now_ms END,
           push_at = CASE $3 WHEN 'unread' THEN n.push_at END,
           web_push_at = CASE WHEN $3 = 'unread' THEN n.web_push_at
                              WHEN n.web_pushed_at IS NOT NULL THEN clock.now_ms END
      FROM affected, inbox, clock
     WHERE n.user_id = $2 AND n."offset" = affected."offset" AND EXISTS (SELECT FROM raised)
    RETURNING n.web_push_at
),
-- Snoozed notifications that are deleted. They are tombstones already, which take no offset.
snoozed AS MATERIALIZED (
    SELECT n."offset" FROM notifications n
     WHERE $3 = 'delete' AND n.user_id = $2 AND n.id = ANY ($4) AND n.snoozed_until IS NOT NULL
),
-- After the head is raised, if it is to be: locks are taken in this order everywhere. A snooze that has ended meanwhile is
-- missed.
ended AS (
    UPDATE notifications AS n SET snoozed_until = NULL, deleted_at = clock.now_ms
      FROM snoozed, clock
     WHERE n.user_id = $2 AND n."offset" = snoozed."offset" AND n.snoozed_until IS NOT NULL
       AND (NOT EXISTS (SELECT FROM affected) OR EXISTS (SELECT FROM raised))
    RETURNING n.id
)
-- `known` counts the given ids that are this user's. Connections are returned only if something changed.
SELECT coalesce(inbox.epoch, epoch.epoch) AS epoch, coalesce(inbox.head, 0) AS head, coalesce(inbox.acked, 0) AS acked,
       coalesce(inbox.purged_through, 0) AS purged_through, coalesce(inbox.unread, 0) - expired.unread AS unread,
       expired.expired, raised.head AS new_head, raised.unread - expired.unread AS new_unread,
       (SELECT array_agg(affected.id ORDER BY affected.step) FROM affected) AS ids,
       (SELECT count(*) FROM ended) < (SELECT count(*) FROM snoozed) AS misses_snoozes,
       (SELECT count(*) FROM notifications n
         WHERE n.user_id = $2 AND n.id = ANY ($4)
           AND ($3 = 'delete' OR n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true))) AS known,
       EXISTS (SELECT FROM changed WHERE changed.web_push_at IS NOT NULL) AS web_push_is_due,
       connections.id, connections.user_id, connections.connected_at, connections.token_expires_at
  FROM epoch CROSS JOIN clock CROSS JOIN expired
  LEFT JOIN inbox ON true
  LEFT JOIN raised ON true
  LEFT JOIN connections ON connections.user_id = $2 AND connections.token_expires_at > clock.now_ms
                           AND raised.head IS NOT NULL
 ORDER BY connections.connected_at, connections.id
