-- Appends a message to a chat, if its sender may write there. Returns no row if the sender is not a member; otherwise the
-- chat's state, the message's place (null if nothing was stored), and a row for each connection to push to, at least one.
-- $2 chat  $3 sender  $4 message id  $5 client id  $6 body  $7 data
-- $8 the most messages of a pending chat  $9 the grace period of pushes in ms  $10 the most members to push to
-- $11 the most members of a small chat  $12 the least time in ms between two pushed messages of a larger one
-- $13 how long messages are collected for Web Push in ms  $14 traceparent, or null
-- The sender's membership first, then the chat: every statement locks in this order. A lock that was waited for returns
-- the row as it is then, so a removal that committed meanwhile is seen.
, sender AS MATERIALIZED (
    SELECT member, chat_id FROM chat_members WHERE chat_id = $2 AND user_id = $3 FOR UPDATE
),
chat AS MATERIALIZED (
    SELECT id, kind, status, created_by, last_seq, pushed_at,
           (SELECT count(*) FROM (SELECT FROM chat_members m WHERE m.chat_id = chats.id LIMIT $11 + 1) AS counted) > $11
               AS is_large
      FROM chats WHERE id IN (SELECT chat_id FROM sender) FOR UPDATE
),
-- The members to push to: those who are connected, the sender first. One more than asked for, to see whether more follow.
connected AS MATERIALIZED (
    SELECT m.member, m.user_id, row_number() OVER (ORDER BY m.user_id = $3 DESC, m.member) AS place
      FROM chat_members m, chat, clock
     WHERE m.chat_id = chat.id
       AND EXISTS (SELECT FROM connections c WHERE c.user_id = m.user_id AND c.token_expires_at > clock.now_ms)
     ORDER BY place LIMIT $10 + 1
),
-- In a large chat the message waits if another was pushed just now. A time that is far ahead comes from a clock that was
-- set back since, and holds nothing up.
pace AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM connected) AS has_hearers, chat.is_large AND abs(clock.now_ms - chat.pushed_at) < $12 AS waits
      FROM chat, clock
),
-- The chat's lock makes the `seq` free. A message with this id was stored before, and then nothing takes one.
stored AS (
    INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, traceparent, created_at, push_at)
    SELECT chat.id, chat.last_seq + 1, $4, $3, $5, $6, $7, $14, clock.now_ms,
           CASE WHEN NOT pace.has_hearers THEN NULL
                WHEN pace.waits THEN chat.pushed_at + $12
                ELSE clock.now_ms + $9 END
      FROM chat, pace, clock
     WHERE chat.status = 'ACCEPTED' OR chat.status = 'PENDING' AND chat.created_by = $3 AND chat.last_seq < $8
    ON CONFLICT (id) DO NOTHING
    RETURNING chat_id, seq, created_at
),
raised AS (
    UPDATE chats AS c
       SET last_seq = stored.seq,
           active_at = greatest(c.active_at, stored.created_at),
           pushed_at = CASE WHEN chat.is_large AND pace.has_hearers AND NOT pace.waits THEN stored.created_at
                       ELSE c.pushed_at END
      FROM stored, chat, pace WHERE c.id = stored.chat_id
),
-- Members who are not connected are told by Web Push, in a group only those who are involved. The first message opens the
-- digest. That of the sender, who has read everything, is closed as in read.sql, here because the rows must be locked in the
-- order of their users.
absent AS (
    INSERT INTO push_digests AS d (user_id, tag, due_at, window_ms)
    SELECT m.user_id, 'chat:' || stored.chat_id, stored.created_at + CASE m.user_id WHEN $3 THEN 0 ELSE $13 END, $13
      FROM stored, chat, clock, chat_members m
     WHERE m.chat_id = stored.chat_id
       AND CASE m.user_id
           WHEN $3 THEN EXISTS (SELECT FROM push_digests o WHERE o.user_id = $3 AND o.tag = 'chat:' || stored.chat_id)
           ELSE (m.involved OR chat.kind = 'direct')
                AND EXISTS (SELECT FROM push_subscriptions s WHERE s.user_id = m.user_id)
                AND NOT EXISTS (SELECT FROM connections c
                                 WHERE c.user_id = m.user_id AND c.token_expires_at > clock.now_ms) END
     ORDER BY m.user_id
    ON CONFLICT (user_id, tag) DO UPDATE
       SET arrivals = d.arrivals + 1,
           due_at = CASE WHEN d.user_id = $3 AND d.attempts = 0 THEN excluded.due_at
                    ELSE coalesce(d.due_at, excluded.due_at) END,
           push_left = NULL
    RETURNING user_id
),
-- A message moves the read mark of its sender.
marked AS (
    UPDATE chat_members AS m SET read_seq = greatest(m.read_seq, stored.seq), involved = true
      FROM stored, sender WHERE m.member = sender.member
)
SELECT chat.status, chat.created_by, stored.seq, stored.created_at, pace.has_hearers AND pace.waits AS waits,
       EXISTS (SELECT FROM absent) AS web_push_is_due,
       connected.member, connected.place, c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM chat CROSS JOIN pace CROSS JOIN clock
  LEFT JOIN stored ON true
  LEFT JOIN connected ON stored.seq IS NOT NULL AND NOT pace.waits
  LEFT JOIN connections c ON c.user_id = connected.user_id AND c.token_expires_at > clock.now_ms
 ORDER BY connected.place, c.connected_at, c.id
