-- Examines sends that need not be kept any longer: deletes those of which nothing is left, and keeps the others for
-- another retention period. Returns how many were examined.
-- $2 retention_ms  $3 the most rows
-- Locked sends are skipped, and examined by another call.
, old AS MATERIALIZED (
    SELECT s.id
      FROM sends s
     -- A subquery, since a join with the clock would also read all younger sends.
     WHERE s.keep_until <= (SELECT now_ms FROM clock)
       -- Not those with a notification that is about to arrive anew and to expire then: keeping them for another period
       -- would postpone that, so another call examines them. No snooze lasts longer than its send is kept, and few are over
       -- and not ended yet. An array, since a join would read all old sends before the first is taken.
       AND s.id <> ALL (ARRAY(SELECT send_id FROM notifications WHERE snoozed_until <= (SELECT now_ms FROM clock)))
     ORDER BY s.keep_until LIMIT $3
       FOR UPDATE OF s SKIP LOCKED
),
-- Aggregates and limits in lateral subqueries leave the planner one way: to look into the indexes once for each send. For
-- an `EXISTS` it may make a hash of the whole table.
examined AS MATERIALIZED (
    SELECT old.id,
           inboxes.notifications > 0 OR chunk.is_left IS NOT NULL OR letter.is_left IS NOT NULL AS is_needed,
           -- Expiring old notifications skips locked rows, so one may be left. Keeping its send would postpone its
           -- expiry by a whole period; the send stays as it is instead, and the next call expires the notification.
           inboxes.unexpired > 0 AS is_unexpired
      FROM old
     CROSS JOIN LATERAL (
           SELECT count(*) AS notifications,
                  count(*) FILTER (WHERE n.deleted_at IS NULL AND n.expires_at IS NULL) AS unexpired
             FROM notifications n WHERE n.send_id = old.id
     ) AS inboxes
      LEFT JOIN LATERAL (
           SELECT TRUE AS is_left FROM send_chunks c WHERE c.send_id = old.id AND c.state = 'waiting' LIMIT 1
     ) AS chunk ON TRUE
      LEFT JOIN LATERAL (
           SELECT TRUE AS is_left FROM dead_letters d WHERE d.send_id = old.id AND d.recipients > 0 LIMIT 1
     ) AS letter ON TRUE
),
kept AS (
    UPDATE sends AS s SET keep_until = clock.now_ms + $2 FROM clock, examined
     WHERE s.id = examined.id AND examined.is_needed AND NOT examined.is_unexpired
),
-- Their chunks are deleted with them, by a foreign key.
purged AS (
    DELETE FROM sends AS s USING examined WHERE s.id = examined.id AND NOT examined.is_needed
)
SELECT count(*) AS examined FROM examined
