-- Sends that are to be kept no longer are gone; those of which something is left are kept a while longer.
-- $2 retention_ms  $3 the most rows
, old AS MATERIALIZED (
    SELECT s.id,
           EXISTS (SELECT FROM notifications n WHERE n.send_id = s.id)
           OR EXISTS (SELECT FROM send_chunks c WHERE c.send_id = s.id AND c.state = 'waiting')
           OR EXISTS (SELECT FROM dead_letters d WHERE d.send_id = s.id AND d.recipients > 0) AS is_needed,
           -- Whoever held it kept it from expiring just now: the next run sees to it.
           EXISTS (SELECT FROM notifications n
                    WHERE n.send_id = s.id AND n.deleted_at IS NULL AND n.expires_at IS NULL) AS stands
      FROM sends s
     -- As a subquery: a join would look at all that is younger, too.
     WHERE s.keep_until <= (SELECT now_ms FROM clock)
     ORDER BY s.keep_until LIMIT $3
       FOR UPDATE OF s SKIP LOCKED
),
kept AS (
    UPDATE sends AS s SET keep_until = clock.now_ms + $2 FROM clock, old 
     WHERE s.id = old.id AND old.is_needed AND NOT old.stands
),
gone AS (
    DELETE FROM sends AS s USING old WHERE s.id = old.id AND NOT old.is_needed
)
SELECT count(*) AS examined FROM old
