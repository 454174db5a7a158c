-- What a user does to his own inbox. Every row that changes takes the next offset.
-- $2 user  $3 'read', 'unread' or 'delete'  $4 ids, or null for all  $5 type, or null
-- $6 epoch and $7 offset up to which, or null
, inbox AS MATERIALIZED (
    SELECT epoch, head, acked, purged_through, unread FROM inboxes WHERE user_id = $2
),
-- What has expired is gone, though no tombstone yet.
expired AS MATERIALIZED (
    SELECT count(*) AS expired, count(*) FILTER (WHERE n.read_at IS NULL) AS unread
      FROM clock, notifications n
     WHERE n.user_id = $2 AND n.deleted_at IS NULL AND n.expires_at <= clock.now_ms
),
-- The rows that become different, in the order of their arrival; none where the cursor is of another history.
target AS MATERIALIZED (
    SELECT n."offset", n.id, (n.read_at IS NULL)::integer AS was_unread, row_number() OVER (ORDER BY n."offset") AS step
      FROM notifications n, inbox, clock
     WHERE n.user_id = $2 AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
       AND ($4::uuid[] IS NULL OR n.id = ANY ($4))
       AND ($5::text IS NULL OR n.type = $5)
       AND ($7::bigint IS NULL
            OR n."offset" <= $7 AND inbox.epoch = $6 AND $7 BETWEEN inbox.purged_through AND inbox.head)
       AND CASE $3 WHEN 'read' THEN n.read_at IS NULL WHEN 'unread' THEN n.read_at IS NOT NULL ELSE true END
),
-- Whoever changed this inbox since the snapshot also raised its head: then nothing happens, and the caller repeats.
raised AS (
    UPDATE inboxes AS i
       SET head = i.head + whole.steps, unread = i.unread + whole.more_unread
      FROM inbox,
           (SELECT count(*) AS steps,
                   coalesce(sum((CASE $3 WHEN 'unread' THEN 1 ELSE 0 END) - was_unread), 0)::bigint AS more_unread
              FROM target) AS whole
     WHERE i.user_id = $2 AND i.head = inbox.head AND whole.steps > 0
    RETURNING i.head, i.unread
),
-- What somebody has read or deleted needs no push any more.
changed AS (
    UPDATE notifications AS n
       SET version = inbox.head + target.step,
           read_at = CASE $3 WHEN 'read' THEN clock.now_ms WHEN 'unread' THEN NULL ELSE n.read_at END,
           deleted_at = CASE $3 WHEN 'delete' THEN clock.now_ms END,
           push_at = CASE $3 WHEN 'unread' THEN n.push_at END
      FROM target, inbox, clock
     WHERE n.user_id = $2 AND n."offset" = target."offset" AND EXISTS (SELECT FROM raised)
)
SELECT coalesce(inbox.epoch, epoch.epoch) AS epoch, coalesce(inbox.head, 0) AS head, coalesce(inbox.acked, 0) AS acked,
       coalesce(inbox.purged_through, 0) AS purged_through, coalesce(inbox.unread, 0) - expired.unread AS unread,
       expired.expired, raised.head AS new_head, raised.unread - expired.unread AS new_unread,
       (SELECT array_agg(target.id ORDER BY target.step) FROM target) AS ids,
       (SELECT count(*) FROM notifications n
         WHERE n.user_id = $2 AND n.id = ANY ($4)
           AND ($3 = 'delete' OR n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true))) AS known,
       connections.id, connections.user_id, connections.connected_at, connections.token_expires_at
  FROM epoch CROSS JOIN clock CROSS JOIN expired
  LEFT JOIN inbox ON true
  LEFT JOIN raised ON true
  LEFT JOIN connections ON connections.user_id = $2 AND connections.token_expires_at > clock.now_ms
                           AND raised.head IS NOT NULL
 ORDER BY connections.connected_at, connections.id
