-- Marks rows of users who were told to sync as offered, up to as many as one statement may change.
-- $2 users  $3 offsets up to which, in the order of the users  $4 the most rows
-- Locked rows are waited for: a skipped row would stay due.
, pending AS MATERIALIZED (
    SELECT user_rows.*
      FROM unnest($2::text[], $3::bigint[]) AS resynced (user_id, through),
           LATERAL (SELECT n.user_id, n."offset"
                      FROM notifications n
                     WHERE n.user_id = resynced.user_id AND n.push_at IS NOT NULL AND n."offset" <= resynced.through
                     LIMIT $4
                       FOR UPDATE) AS user_rows
     LIMIT $4
)
UPDATE notifications AS n
   SET push_at = NULL, offered_at = clock.now_ms
  FROM clock, pending
 WHERE n.user_id = pending.user_id AND n."offset" = pending."offset"
