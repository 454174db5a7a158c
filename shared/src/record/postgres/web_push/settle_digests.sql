-- Says what became of claimed digests.
-- $2 users  $3 tags  $4 fences  $5 arrivals  $6 up to which arrival each tells of notifications
-- $7 ends: 'sent', 'dropped', 'later' or 'held'  $8 delays in ms, of 'later'  $9 subscriptions that are left, of 'later'
-- $10 until when, of 'held'; all in the same order
, settled AS MATERIALIZED (
    SELECT *
      FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::text[],
                  $10::bigint[])
           AS settled (user_id, tag, fence, arrivals, through, result, delay_ms, push_left, held_until)
),
-- After a wait, the lock returns the row as it is then: what arrived meanwhile is counted in it.
locked AS MATERIALIZED (
    SELECT settled.*, d.arrivals > settled.arrivals AS has_more, d.window_ms
      FROM push_digests d JOIN settled ON d.user_id = settled.user_id AND d.tag = settled.tag
     WHERE d.due_at = settled.fence
     ORDER BY d.user_id, d.tag
       FOR UPDATE OF d
),
-- That of a chat stays until it is read, so that it can be closed.
ended AS (
    DELETE FROM push_digests AS d USING locked
     WHERE d.user_id = locked.user_id AND d.tag = locked.tag AND NOT locked.has_more
       AND (locked.result = 'dropped' OR locked.result = 'sent' AND locked.tag NOT LIKE 'chat:%')
),
kept AS (
    UPDATE push_digests AS d
       SET due_at = CASE locked.result WHEN 'later' THEN clock.now_ms + locked.delay_ms
                                       WHEN 'held' THEN locked.held_until
                    ELSE CASE WHEN locked.has_more THEN clock.now_ms + locked.window_ms END END,
           is_held = locked.result = 'held' OR locked.result = 'later' AND d.is_held,
           push_left = locked.push_left,
           attempts = CASE locked.result WHEN 'later' THEN d.attempts ELSE 0 END,
           pushed_at = CASE locked.result WHEN 'sent' THEN clock.now_ms WHEN 'dropped' THEN NULL ELSE d.pushed_at END
      FROM clock, locked
     WHERE d.user_id = locked.user_id AND d.tag = locked.tag
       AND (locked.has_more OR locked.result IN ('later', 'held')
            OR locked.result = 'sent' AND locked.tag LIKE 'chat:%')
)
-- What it told of was sent.
UPDATE notifications AS n
   SET web_pushed_at = CASE locked.result WHEN 'sent' THEN clock.now_ms END,
       web_push_digest = CASE locked.result WHEN 'sent' THEN n.web_push_digest END,
       -- It was read while it was sent: it is closed.
       web_push_at = CASE WHEN locked.result = 'sent' AND (n.read_at IS NOT NULL OR n.deleted_at IS NOT NULL)
                          THEN clock.now_ms END
  FROM clock, locked
 WHERE n.user_id = locked.user_id AND n.web_push_digest = locked.tag AND n.web_pushed_at IS NULL
   AND n."offset" <= locked.through AND locked.result IN ('sent', 'dropped')
