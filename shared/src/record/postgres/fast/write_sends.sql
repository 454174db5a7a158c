-- Stores sends to one user each, with their rows, in the order of the lists. Returns those that were stored already, with
-- their fingerprints.
-- $2 send ids, each once  $3 senders  $4 fingerprints  $5 answers  $6 types  $7 titles  $8 bodies  $9 data
-- $10 action_urls  $11 priorities  $12 when each was accepted  $13 when each expires, or null
-- $14 users  $15 notification ids  $16 how long each is kept, in ms  $17 channels, null for all  $18 digest_ms, or null
-- $19 traceparents, or null
-- Continues with rings.sql and write_rows.sql.
, logged AS MATERIALIZED (
    SELECT *
      FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                  $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::text[], $15::uuid[], $16::bigint[], $17::text[],
                  $18::bigint[], $19::text[]) WITH ORDINALITY
           AS l (id, sender, fingerprint, answer, type, title, body, data, action_url, priority, accepted_at, expires_at,
                 user_id, notification_id, retention_ms, channels, digest_ms, traceparent, n)
),
-- In the order of ids, so that two writers of the same sends cannot deadlock. The insert waits for a concurrent one of the
-- same id, and then inserts nothing.
send AS (
    INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority,
                       created_at, due_at, expires_at, keep_until, channels, digest_ms, traceparent)
    SELECT id, sender, fingerprint, answer, 'started', type, title, body, data, action_url, priority,
           accepted_at, accepted_at, expires_at, greatest(accepted_at + retention_ms, expires_at), channels, digest_ms,
           traceparent
      FROM logged ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
-- Numbered from 1 in each inbox, in the order in which they were accepted.
arrived AS MATERIALIZED (
    SELECT logged.*, row_number() OVER (PARTITION BY user_id ORDER BY n) AS step
      FROM logged WHERE id IN (SELECT id FROM send)
),
recipients AS MATERIALIZED (
    SELECT user_id, notification_id AS id, type, priority, channels, expires_at FROM arrived
),
