-- Stores sends to one user each, with their rows, in the order of the lists. Returns those that were stored already, with
-- their fingerprints.
-- $2 send ids, each once  $3 senders  $4 fingerprints  $5 answers  $6 types  $7 titles  $8 bodies  $9 data
-- $10 action_urls  $11 priorities  $12 when each was accepted  $13 when each expires, or null
-- $14 users  $15 notification ids  $16 how long each is kept, in ms
, logged AS MATERIALIZED (
    SELECT *
      FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                  $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[], $15::uuid[], $16::bigint[]) WITH ORDINALITY
           AS l (id, sender, fingerprint, answer, type, title, body, data, action_url, priority, accepted_at, expires_at,
                 user_id, notification_id, retention_ms, n)
),
-- In the order of ids, so that two writers of the same sends cannot deadlock. The insert waits for a concurrent one of the
-- same id, and then inserts nothing.
send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until)
    SELECT id, sender, fingerprint, answer, 'started', type, title, body, data, action_url, priority,
           accepted_at, accepted_at, expires_at, greatest(accepted_at + retention_ms, expires_at)
      FROM logged ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
-- Numbered from 1 in each inbox, in the order in which they were accepted.
arrived AS MATERIALIZED (
    SELECT logged.*, row_number() OVER (PARTITION BY user_id ORDER BY n) AS step
      FROM logged WHERE id IN (SELECT id FROM send)
),
totals AS MATERIALIZED (
    SELECT user_id, max(step) AS steps FROM arrived GROUP BY user_id
),
-- Assigns the next offsets of each inbox. Locks are taken in the order of the users, as everywhere.
heads AS (
    INSERT INTO inboxes AS inbox (user_id, epoch, head, unread)
    SELECT totals.user_id, epoch.epoch, totals.steps, totals.steps
      FROM totals, epoch ORDER BY totals.user_id COLLATE "C"
    ON CONFLICT (user_id) DO UPDATE SET head = inbox.head + excluded.head, unread = inbox.unread + excluded.unread
    RETURNING user_id, head
),
-- The rows of users with connections are due at once: the drain pushes them.
arrivals AS (
    INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, expires_at, push_at)
    SELECT arrived.user_id, heads.head - totals.steps + arrived.step, heads.head - totals.steps + arrived.step,
           arrived.notification_id, arrived.id, arrived.type, arrived.accepted_at, arrived.expires_at,
           CASE WHEN coalesce(arrived.expires_at > clock.now_ms, true)
                 AND EXISTS (SELECT FROM connections c
                              WHERE c.user_id = arrived.user_id AND c.token_expires_at > clock.now_ms)
                THEN clock.now_ms END
      FROM clock, arrived JOIN totals USING (user_id) JOIN heads USING (user_id)
)
-- The fingerprint of one that was committed while this waited for it is not visible yet, and so null.
SELECT logged.id, s.fingerprint
  FROM logged LEFT JOIN sends s ON s.id = logged.id
 WHERE logged.id NOT IN (SELECT id FROM send)
