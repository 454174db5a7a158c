-- Deletes old tombstones and raises `purged_through` of their inboxes, in one statement: a sync from a lower cursor
-- would miss the deletions, so such cursors are no longer accepted. Snoozed notifications are left alone.
-- $2 retention_ms  $3 the most rows
-- Locked tombstones are skipped, and deleted by another call.
, old AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.version
      FROM notifications n
     -- A subquery, since a join with the clock would also read all younger tombstones.
     WHERE n.deleted_at <= (SELECT now_ms FROM clock) - $2 AND n.snoozed_until IS NULL
     ORDER BY n.deleted_at LIMIT $3
       FOR UPDATE OF n SKIP LOCKED
),
-- In the order in which every statement locks inboxes, so that they cannot deadlock.
locked AS MATERIALIZED (
    SELECT user_id FROM inboxes WHERE user_id IN (SELECT user_id FROM old) ORDER BY user_id FOR UPDATE
),
raised AS (
    UPDATE inboxes AS i
       SET purged_through = greatest(i.purged_through, newest.version)
      FROM locked, (SELECT user_id, max(version) AS version FROM old GROUP BY user_id) AS newest
     WHERE i.user_id = locked.user_id AND newest.user_id = locked.user_id
)
DELETE FROM notifications AS n USING old WHERE n.user_id = old.user_id AND n."offset" = old."offset"
