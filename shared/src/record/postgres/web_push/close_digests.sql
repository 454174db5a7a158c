-- Lets digests of users be closed, if what they tell of is read or lost to them. One that is being sent, or will be sent again,
-- comes back for that after its end: it counts as an arrival.
-- $2 tag  $3 users
, locked AS MATERIALIZED (
    SELECT user_id FROM push_digests WHERE user_id = ANY ($3) AND tag = $2 ORDER BY user_id FOR UPDATE
)
UPDATE push_digests AS d
   SET due_at = CASE d.attempts WHEN 0 THEN clock.now_ms ELSE d.due_at END, arrivals = d.arrivals + 1
  FROM clock, locked
 WHERE d.user_id = locked.user_id AND d.tag = $2
