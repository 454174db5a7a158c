-- Takes more due rows of users with a backlog, with the same effect as in take_due.sql. They are not returned: one
-- resync covers them all.
-- $2 users with a backlog  $3 grace_ms  $4 the longest delay in ms  $5 the most rows
-- Each user's rows are found by an index, and reading stops at the limit. Rows that another worker has locked are
-- skipped.
, backlog AS MATERIALIZED (
    SELECT user_rows.*
      FROM clock, unnest($2::text[]) AS backlogged (user_id),
           LATERAL (SELECT n.user_id, n."offset"
                      FROM notifications n
                     WHERE n.user_id = backlogged.user_id AND n.push_at <= clock.now_ms
                     LIMIT $5
                       FOR UPDATE SKIP LOCKED) AS user_rows
     LIMIT $5
)
-- A row that was read or deleted, has expired, or whose user has no connection is no longer due. For any other the
-- delay doubles with each attempt.
UPDATE notifications AS n
   SET push_attempts = n.push_attempts + 1,
       push_at = CASE
           WHEN n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
                AND EXISTS (SELECT FROM connections c WHERE c.user_id = n.user_id AND c.token_expires_at > clock.now_ms)
           THEN clock.now_ms + least($4, $3 * (1::bigint << least(n.push_attempts, 16)::integer))
       END
  FROM backlog, clock
 WHERE n.user_id = backlog.user_id AND n."offset" = backlog."offset"
