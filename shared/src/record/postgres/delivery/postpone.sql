-- Moves the `push_at` of rows that were neither taken nor finished since their fence was read.
-- $2 users  $3 offsets, $4 fences and  $5 delays in ms, in the order of the users  $6 grace_ms
-- A row that another worker has locked is skipped: that worker takes or finishes it.
, locked AS MATERIALIZED (
    SELECT n.user_id, n."offset", key.delay_ms
      FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS key (user_id, "offset", fence, delay_ms)
      JOIN notifications n ON n.user_id = key.user_id AND n."offset" = key."offset" AND n.push_at = key.fence
       FOR UPDATE OF n SKIP LOCKED
)
UPDATE notifications AS n
   SET push_at = clock.now_ms + locked.delay_ms + $6
  FROM clock, locked
 WHERE n.user_id = locked.user_id AND n."offset" = locked."offset"
RETURNING n.user_id, n."offset", n.push_at
