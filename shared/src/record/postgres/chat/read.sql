-- Moves a member's read mark. Returns no row if the user is not a member; otherwise where the mark stands, and a row for
-- each connection to tell of it if it was moved, at least one.
-- $2 chat  $3 member  $4 the message to mark  $5 the most members of a chat that gets receipts
-- `web_push_is_due`: Web Push has shown messages that are read now, and closes them.
, before AS MATERIALIZED (
    SELECT m.member, m.read_seq, m.cleared_seq, m.involved, c.id, c.kind, c.status, c.last_seq,
           -- Here, so that they are counted once and not for each member.
           (SELECT count(*) FROM (SELECT FROM chat_members o WHERE o.chat_id = c.id LIMIT $5 + 1) AS counted) <= $5
               AS is_small
      FROM chat_members m JOIN chats c ON c.id = m.chat_id
     WHERE m.chat_id = $2 AND m.user_id = $3
       FOR UPDATE OF m
),
moved AS (
    UPDATE chat_members AS m SET read_seq = greatest(m.read_seq, least($4, before.last_seq)), involved = true
      FROM before
     WHERE m.member = before.member AND (m.read_seq < least($4, before.last_seq) OR NOT m.involved)
    RETURNING m.read_seq
),
-- One that is being sent, or will be sent again, comes back for that after its end: it counts as an arrival. The row is
-- locked whether it is shown or not, since it may have been taken a moment ago.
closed AS (
    UPDATE push_digests AS d
       SET due_at = CASE d.attempts WHEN 0 THEN clock.now_ms ELSE d.due_at END, arrivals = d.arrivals + 1
      FROM clock, before, moved
     WHERE d.user_id = $3 AND d.tag = 'chat:' || before.id
       AND moved.read_seq >= before.last_seq
    RETURNING d.pushed_at IS NOT NULL OR d.attempts > 0 AS is_shown
),
-- Who hears of it: the member's own devices, and in a small chat that was accepted the other members who are involved.
hearers AS (
    SELECT m.user_id, m.user_id = $3 AS is_own
      FROM chat_members m, before
     WHERE m.chat_id = before.id AND (SELECT moved.read_seq FROM moved) > before.read_seq
       AND (m.user_id = $3
            OR before.status = 'ACCEPTED' AND m.involved AND before.is_small)
)
SELECT coalesce(moved.read_seq, before.read_seq) AS read_seq, before.last_seq, before.cleared_seq,
       coalesce(moved.read_seq > before.read_seq, false) AS has_moved,
       EXISTS (SELECT FROM closed WHERE is_shown) AS web_push_is_due,
       hearers.is_own, c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM before CROSS JOIN clock
  LEFT JOIN moved ON true
  LEFT JOIN hearers ON true
  LEFT JOIN connections c ON c.user_id = hearers.user_id AND c.token_expires_at > clock.now_ms
 ORDER BY c.connected_at, c.id
