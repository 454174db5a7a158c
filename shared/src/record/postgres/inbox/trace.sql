-- Returns the steps of one notification. If it has no row and no user is given, returns the chunks that may contain its
-- recipient instead, with what is known of them: the caller looks into their recipients.
-- $2 notification id  $3 user, or null for any  $4 the most chunks of each kind
-- A collapsed notification is gone because it was replaced, even if it would have expired since.
, materialised AS MATERIALIZED (
    SELECT s.created_at AS accepted_at, n.created_at, n.offered_at, n.read_at,
           CASE WHEN n.snoozed_until IS NULL THEN n.deleted_at END AS deleted_at,
           CASE WHEN n.snoozed_until IS NOT NULL THEN n.deleted_at END AS snoozed_at, n.unsnoozed_at, n.collapsed_at,
           n.web_pushed_at, n.web_push_failed_at,
           CASE WHEN n.collapsed_at IS NULL THEN n.expires_at END AS expires_at
      FROM notifications n JOIN sends s ON s.id = n.send_id
     WHERE n.id = $2 AND ($3::text IS NULL OR n.user_id = $3)
),
-- This and `expired` are empty if there is a row, or if a user is given.
waiting AS (
    SELECT s.created_at AS accepted_at, s.expires_at, c.send_id, c.recipients
      FROM send_chunks c JOIN sends s ON s.id = c.send_id
     WHERE c.state = 'waiting' AND $3::text IS NULL AND NOT EXISTS (SELECT FROM materialised)
     ORDER BY c.due_at LIMIT $4
),
-- Their recipients never get a row.
expired AS (
    SELECT s.created_at AS accepted_at, s.expires_at, c.send_id, c.recipients
      FROM send_chunks c JOIN sends s ON s.id = c.send_id
     WHERE c.state = 'expired' AND $3::text IS NULL AND NOT EXISTS (SELECT FROM materialised)
     ORDER BY c.due_at DESC LIMIT $4
),
candidates AS (SELECT * FROM waiting UNION ALL SELECT * FROM expired)
SELECT accepted_at, created_at, offered_at, read_at, deleted_at, snoozed_at, unsnoozed_at,
       CASE WHEN expires_at <= now_ms THEN expires_at END AS expired_at, collapsed_at,
       web_pushed_at, web_push_failed_at,
       NULL::uuid AS send_id, NULL::text AS recipients
  FROM clock, materialised
UNION ALL
SELECT accepted_at, NULL, NULL, NULL, NULL, NULL, NULL, CASE WHEN expires_at <= now_ms THEN expires_at END, NULL,
       NULL, NULL, send_id, recipients
  FROM clock, candidates
