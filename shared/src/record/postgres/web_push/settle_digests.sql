-- Says what became of claimed digests.
-- $2 users  $3 tags  $4 fences  $5 arrivals  $6 up to which arrival each tells of notifications
-- $7 ends: 'sent', 'dropped', 'failed', 'unwanted', 'later' or 'held'  $8 delays in ms, of 'later'
-- $9 subscriptions that are left, of 'later'  $10 whether others took it, of 'later'  $11 until when, of 'held';
-- all in the same order
, settled AS MATERIALIZED (
    SELECT *
      FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::text[],
                  $10::boolean[], $11::bigint[])
           AS settled (user_id, tag, fence, arrivals, through, result, delay_ms, push_left, has_sent, held_until)
),
-- After a wait, the lock returns the row as it is then: what arrived meanwhile is counted in it.
locked AS MATERIALIZED (
    SELECT settled.*, d.arrivals > settled.arrivals AS has_more, d.window_ms, d.is_held,
           -- That of a chat stays until it is read, so that it can be closed. One that was held is shown under another tag.
           settled.result = 'sent' AND d.tag LIKE 'chat:%' AND (NOT d.is_held OR d.pushed_at IS NOT NULL)
           OR settled.result = 'unwanted' AND d.pushed_at IS NOT NULL AS stays
      FROM push_digests d JOIN settled ON d.user_id = settled.user_id AND d.tag = settled.tag
     WHERE d.due_at = settled.fence
     ORDER BY d.user_id, d.tag
       FOR UPDATE OF d
),
ended AS (
    DELETE FROM push_digests AS d USING locked
     WHERE d.user_id = locked.user_id AND d.tag = locked.tag AND NOT locked.has_more AND NOT locked.stays
       AND locked.result IN ('sent', 'dropped', 'failed', 'unwanted')
),
kept AS (
    UPDATE push_digests AS d
       SET due_at = CASE locked.result WHEN 'later' THEN clock.now_ms + locked.delay_ms
                                       WHEN 'held' THEN locked.held_until
                    ELSE CASE WHEN locked.has_more THEN clock.now_ms + locked.window_ms END END,
           is_held = locked.result = 'held' OR locked.result = 'later' AND d.is_held,
           -- What has arrived meanwhile is new to every subscription.
           push_left = CASE WHEN locked.has_more THEN NULL
                            WHEN locked.result = 'held' THEN d.push_left
                            ELSE locked.push_left END,
           attempts = CASE locked.result WHEN 'later' THEN d.attempts ELSE 0 END,
           pushed_at = CASE WHEN locked.result = 'later' AND locked.has_sent THEN coalesce(d.pushed_at, clock.now_ms)
                            WHEN locked.result IN ('dropped', 'failed') OR locked.result = 'sent' AND NOT locked.stays
                            THEN NULL
                            WHEN locked.result = 'sent' AND NOT locked.is_held THEN clock.now_ms
                            ELSE d.pushed_at END
      FROM clock, locked
     WHERE d.user_id = locked.user_id AND d.tag = locked.tag
       AND (locked.has_more OR locked.stays OR locked.result IN ('later', 'held'))
)
-- What it told of was sent, or not.
UPDATE notifications AS n
   SET web_pushed_at = CASE locked.result WHEN 'sent' THEN clock.now_ms END,
       web_push_digest = CASE WHEN locked.result <> 'sent' THEN NULL
                              WHEN locked.is_held THEN 'quiet'
                              ELSE n.web_push_digest END,
       web_push_failed_at = CASE locked.result WHEN 'failed' THEN clock.now_ms ELSE n.web_push_failed_at END,
       -- It was read while it was sent: it is closed.
       web_push_at = CASE WHEN locked.result = 'sent' AND (n.read_at IS NOT NULL OR n.deleted_at IS NOT NULL)
                          THEN clock.now_ms END
  FROM clock, locked
 WHERE n.user_id = locked.user_id AND n.web_push_digest = locked.tag AND n.web_pushed_at IS NULL
   AND n."offset" <= locked.through AND locked.result IN ('sent', 'dropped', 'failed')
