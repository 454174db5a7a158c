-- Tombstones that are too old are gone, and cursors below them with it.
-- $2 retention_ms  $3 the most rows
, old AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.version
      FROM notifications n
     -- As a subquery: a join would look at all that is younger, too.
     WHERE n.deleted_at <= (SELECT now_ms FROM clock) - $2
     ORDER BY n.deleted_at LIMIT $3
       FOR UPDATE OF n SKIP LOCKED
),
-- In the order in which everybody locks them.
held AS MATERIALIZED (
    SELECT user_id FROM inboxes WHERE user_id IN (SELECT user_id FROM old) ORDER BY user_id FOR UPDATE
),
raised AS (
    UPDATE inboxes AS i
       SET purged_through = greatest(i.purged_through, newest.version)
      FROM held, (SELECT user_id, max(version) AS version FROM old GROUP BY user_id) AS newest
     WHERE i.user_id = held.user_id AND newest.user_id = held.user_id
)
DELETE FROM notifications AS n USING old WHERE n.user_id = old.user_id AND n."offset" = old."offset"
