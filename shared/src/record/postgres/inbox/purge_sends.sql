-- Examines sends that need not be kept any longer: deletes those of which nothing is left, and keeps the others for
-- another retention period. Returns how many were examined.
-- $2 retention_ms  $3 the most rows
-- Sends with a notification that is about to arrive anew and to expire then: keeping them for another period would postpone
-- that, so another call examines them. No snooze lasts longer than its send is kept, and few are over and not ended yet.
, arriving AS MATERIALIZED (
    SELECT send_id FROM notifications WHERE snoozed_until <= (SELECT now_ms FROM clock)
),
-- Locked sends are skipped, and examined by another call.
old AS MATERIALIZED (
    SELECT s.id,
           EXISTS (SELECT FROM notifications n WHERE n.send_id = s.id)
           OR EXISTS (SELECT FROM send_chunks c WHERE c.send_id = s.id AND c.state = 'waiting')
           OR EXISTS (SELECT FROM dead_letters d WHERE d.send_id = s.id AND d.recipients > 0) AS is_needed,
           -- Expiring old notifications skips locked rows, so one may be left. Keeping its send would postpone its
           -- expiry by a whole period; the send stays as it is instead, and the next call expires the notification.
           EXISTS (SELECT FROM notifications n
                    WHERE n.send_id = s.id AND n.deleted_at IS NULL AND n.expires_at IS NULL) AS is_unexpired
      FROM sends s
     -- A subquery, since a join with the clock would also read all younger sends.
     WHERE s.keep_until <= (SELECT now_ms FROM clock)
       AND NOT EXISTS (SELECT FROM arriving WHERE arriving.send_id = s.id)
     ORDER BY s.keep_until LIMIT $3
       FOR UPDATE OF s SKIP LOCKED
),
kept AS (
    UPDATE sends AS s SET keep_until = clock.now_ms + $2 FROM clock, old
     WHERE s.id = old.id AND old.is_needed AND NOT old.is_unexpired
),
-- Their chunks are deleted with them, by a foreign key.
purged AS (
    DELETE FROM sends AS s USING old WHERE s.id = old.id AND NOT old.is_needed
)
SELECT count(*) AS examined FROM old
