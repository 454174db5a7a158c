-- Says what became of claimed notifications.
-- $2 users  $3 offsets  $4 fences  $5 ends: 'sent', 'dropped', 'failed', 'later' or 'digest'  $6 whether some
-- subscription took it  $7 delays in ms, of 'later'  $8 subscriptions that are left, of 'later'  $9 tags, $10 when they
-- are due and $11 windows in ms, of 'digest'; all in the same order
, settled AS MATERIALIZED (
    SELECT *
      FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::boolean[], $7::bigint[], $8::text[], $9::text[],
                  $10::bigint[], $11::bigint[])
           AS settled (user_id, "offset", fence, result, has_sent, delay_ms, push_left, tag, due_at, window_ms)
),
locked AS MATERIALIZED (
    SELECT n.user_id, n."offset"
      FROM notifications n JOIN settled ON n.user_id = settled.user_id AND n."offset" = settled."offset"
     ORDER BY n.user_id, n."offset"
       FOR UPDATE OF n
),
-- What was sent counts as sent even if the claim has lapsed or ended by a reading; then it is due to be closed.
updated AS (
    UPDATE notifications AS n
       SET web_push_at = CASE
               WHEN settled.has_sent AND n.web_pushed_at IS NULL AND (n.read_at IS NOT NULL OR n.deleted_at IS NOT NULL)
               THEN clock.now_ms
               WHEN n.web_push_at IS DISTINCT FROM settled.fence THEN n.web_push_at
               WHEN settled.result = 'later' THEN clock.now_ms + settled.delay_ms
           END,
           web_push_left = CASE WHEN n.web_push_at = settled.fence THEN settled.push_left ELSE n.web_push_left END,
           web_push_digest = CASE WHEN n.web_push_at = settled.fence AND settled.result = 'digest' THEN settled.tag
                             ELSE n.web_push_digest END,
           web_pushed_at = CASE WHEN settled.has_sent THEN coalesce(n.web_pushed_at, clock.now_ms)
                           ELSE n.web_pushed_at END,
           web_push_failed_at = CASE WHEN n.web_push_at = settled.fence AND settled.result = 'failed' THEN clock.now_ms
                                ELSE n.web_push_failed_at END
      FROM clock, settled, locked
     WHERE n.user_id = settled.user_id AND n."offset" = settled."offset"
       AND locked.user_id = n.user_id AND locked."offset" = n."offset"
       AND (n.web_push_at = settled.fence OR settled.has_sent)
    RETURNING n.user_id, n.web_push_digest, settled.result, settled.due_at, settled.window_ms
)
-- The first opens the digest. Locks are taken in one order, so that two workers cannot deadlock.
INSERT INTO push_digests AS d (user_id, tag, due_at, window_ms, arrivals)
SELECT user_id, web_push_digest, min(due_at), min(window_ms), count(*)
  FROM updated
 WHERE result = 'digest' AND web_push_digest IS NOT NULL
 GROUP BY user_id, web_push_digest
 ORDER BY user_id, web_push_digest
ON CONFLICT (user_id, tag) DO UPDATE
   SET arrivals = d.arrivals + excluded.arrivals, due_at = coalesce(d.due_at, excluded.due_at), push_left = NULL
