-- Takes more of what is due of users who are told to sync, as take_due.sql does.
-- $2 users  $3 grace_ms  $4 the longest wait in ms  $5 the most rows
, rest AS MATERIALIZED (
    SELECT theirs.*
      FROM clock, unnest($2::text[]) AS behind (user_id),
           LATERAL (SELECT n.user_id, n."offset"
                      FROM notifications n
                     WHERE n.user_id = behind.user_id AND n.push_at <= clock.now_ms
                     LIMIT $5
                       FOR UPDATE SKIP LOCKED) AS theirs
     LIMIT $5
)
UPDATE notifications AS n
   SET push_attempts = n.push_attempts + 1,
       push_at = CASE
           WHEN n.read_at IS NULL AND n.deleted_at IS NULL AND coalesce(n.expires_at > clock.now_ms, true)
                AND EXISTS (SELECT FROM connections c WHERE c.user_id = n.user_id AND c.token_expires_at > clock.now_ms)
           THEN clock.now_ms + least($4, $3 * (1::bigint << least(n.push_attempts, 16)::integer))
       END
  FROM rest, clock
 WHERE n.user_id = rest.user_id AND n."offset" = rest."offset"
