-- Says what became of claimed digests.
-- $2 users  $3 tags  $4 fences  $5 arrivals
-- $6 ends: 'sent', 'dropped', 'failed', 'unwanted', 'later' or 'held'  $7 delays in ms, of 'later'
-- $8 subscriptions that are left, of 'later'  $9 whether others took it, of 'later'  $10 until when, of 'held';
-- all in the same order
-- $11 users, $12 tags and $13 arrival positions of the notifications that they tell of
, settled AS MATERIALIZED (
    SELECT *
      FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::text[],
                  $9::boolean[], $10::bigint[])
           AS settled (user_id, tag, fence, arrivals, result, delay_ms, push_left, has_sent, held_until)
),
-- After a wait, the lock returns the row as it is then: what arrived meanwhile is counted in it.
locked AS MATERIALIZED (
    SELECT settled.*, d.arrivals > settled.arrivals AS has_more, d.window_ms, d.is_held,
           -- That of a chat stays until it is read, so that it can be closed. One that was held is shown with others.
           NOT d.is_held AND (settled.result = 'sent' AND d.tag LIKE 'chat:%'
                              OR settled.result = 'unwanted' AND d.pushed_at IS NOT NULL) AS stays
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
           -- What is shown under its own tag keeps that.
           is_held = CASE locked.result WHEN 'held' THEN d.is_held OR d.pushed_at IS NULL
                                        WHEN 'later' THEN d.is_held
                                        ELSE false END,
           -- What has arrived meanwhile is new to every subscription.
           push_left = CASE WHEN locked.has_more THEN NULL
                            WHEN locked.result = 'held' THEN d.push_left
                            ELSE locked.push_left END,
           attempts = CASE locked.result WHEN 'later' THEN d.attempts ELSE 0 END,
           pushed_at = CASE WHEN locked.result = 'later' AND locked.has_sent THEN coalesce(d.pushed_at, clock.now_ms)
                            WHEN locked.result IN ('later', 'held') OR locked.result = 'unwanted' AND locked.stays
                            THEN d.pushed_at
                            WHEN locked.stays THEN clock.now_ms END
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
  FROM clock, locked, unnest($11::text[], $12::text[], $13::bigint[]) AS told (user_id, tag, "offset")
 WHERE told.user_id = locked.user_id AND told.tag = locked.tag AND locked.result IN ('sent', 'dropped', 'failed')
   AND n.user_id = told.user_id AND n."offset" = told."offset"
   AND n.web_push_digest = locked.tag AND n.web_pushed_at IS NULL
