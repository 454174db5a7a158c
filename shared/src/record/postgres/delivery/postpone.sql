-- Moves when rows come back by themselves: those that nobody took or finished since their `push_at` was read.
-- $2 users  $3 offsets  $4 fences  $5 waits_ms  $6 grace_ms
-- What another holds he takes or finishes.
, found AS MATERIALIZED (
    SELECT n.user_id, n."offset", key.wait_ms
      FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS key (user_id, "offset", fence, wait_ms)
      JOIN notifications n ON n.user_id = key.user_id AND n."offset" = key."offset" AND n.push_at = key.fence
       FOR UPDATE OF n SKIP LOCKED
)
UPDATE notifications AS n
   SET push_at = clock.now_ms + found.wait_ms + $6
  FROM clock, found
 WHERE n.user_id = found.user_id AND n."offset" = found."offset"
RETURNING n.user_id, n."offset", n.push_at
