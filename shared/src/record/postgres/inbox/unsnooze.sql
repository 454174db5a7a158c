-- Ends snoozes that are over, in inboxes that this transaction has locked: each notification arrives anew and takes the
-- next offset of its inbox. Continues with rings.sql and unsnooze_rows.sql, and returns how many snoozes ended, with a row
-- for each connection to push to, at least one.
-- $2 users  $3 the most snoozes  $4 grace_ms
-- Those that ended first. A row that is being deleted or snoozed again is skipped: the next call finds what is left of it.
, due AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.version, n.snoozed_until, n.expires_at, n.collapse_key, n.send_due_at,
           n.send_accepted_at
      FROM notifications n
     WHERE n.user_id = ANY ($2) AND n.snoozed_until <= (SELECT now_ms FROM clock)
     ORDER BY n.snoozed_until, n.user_id, n."offset" LIMIT $3
       FOR UPDATE OF n SKIP LOCKED
),
-- `replaced_at`: when a newer one of the same collapse key arrived that came after the snooze.
ended AS MATERIALIZED (
    SELECT due.*, coalesce(due.expires_at <= clock.now_ms, false) AS has_expired,
           (SELECT coalesce(newer.unsnoozed_at, newer.created_at)
              FROM notifications newer
             WHERE newer.user_id = due.user_id AND newer.collapse_key = due.collapse_key
               AND (newer.send_due_at, newer.send_accepted_at) >= (due.send_due_at, due.send_accepted_at)
               AND newer."offset" > due.version
             ORDER BY newer.send_due_at, newer.send_accepted_at LIMIT 1) AS replaced_at
      FROM clock, due
),
-- Numbered from 1 in each inbox, in the order in which their snoozes ended.
arriving AS MATERIALIZED (
    SELECT user_id, "offset", row_number() OVER (PARTITION BY user_id ORDER BY snoozed_until, "offset") AS step
      FROM ended WHERE NOT has_expired AND replaced_at IS NULL
),
recipients AS MATERIALIZED (
    SELECT n.user_id, n.id, n.type, s.priority, s.channels, n.expires_at
      FROM arriving
      JOIN notifications n ON n.user_id = arriving.user_id AND n."offset" = arriving."offset"
      JOIN sends s ON s.id = n.send_id
),
