-- What was to be pushed to users who were told to sync is offered, as much of it as one statement may change.
-- $1 at  $2 users  $3 offsets  $4 the most rows
, told AS MATERIALIZED (
    SELECT theirs.*
      FROM unnest($2::text[], $3::bigint[]) AS told (user_id, through),
           LATERAL (SELECT n.user_id, n."offset"
                      FROM notifications n
                     WHERE n.user_id = told.user_id AND n.push_at IS NOT NULL AND n."offset" <= told.through
                     LIMIT $4
                       FOR UPDATE) AS theirs
     LIMIT $4
)
UPDATE notifications AS n
   SET push_at = NULL, offered_at = clock.now_ms
  FROM clock, told
 WHERE n.user_id = told.user_id AND n."offset" = told."offset"
