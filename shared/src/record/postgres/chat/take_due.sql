-- Takes messages whose time to be pushed has come, and returns a row for each connection to push to. A message that no
-- connected member waits for is settled and not returned.
-- $2 the most messages  $3 the grace period in ms  $4 the longest delay in ms  $5 the most members to push to
-- $6 the most members of a small chat  $7 the least time in ms between two pushed messages of a larger one
-- $8 how long messages are collected for Web Push in ms
, due AS MATERIALIZED (
    SELECT chat_id, seq, pushed_through, created_at FROM messages
     WHERE push_at <= (SELECT now_ms FROM clock)
     ORDER BY push_at LIMIT $2
       FOR UPDATE SKIP LOCKED
),
-- The large chats among theirs, each locked so that one worker at a time decides what is pushed next there. A lock that
-- was waited for returns the row as it is then.
large AS MATERIALIZED (
    SELECT id, last_seq, pushed_at FROM chats
     WHERE id IN (SELECT chat_id FROM due)
       AND (SELECT count(*) FROM (SELECT FROM chat_members m WHERE m.chat_id = chats.id LIMIT $6 + 1) AS counted) > $6
     ORDER BY id
       FOR NO KEY UPDATE
),
ranked AS (
    SELECT due.*, large.id IS NOT NULL AS is_large, large.last_seq, large.pushed_at,
           row_number() OVER furthest_first AS place, first_value(due.seq) OVER furthest_first AS furthest_seq
      FROM due LEFT JOIN large ON large.id = due.chat_id
    WINDOW furthest_first AS (PARTITION BY due.chat_id ORDER BY due.pushed_through DESC, due.seq DESC)
),
-- In a large chat, a message that some members got goes on, so that all get one however many follow. Otherwise the last
-- message is next, once the interval has passed. Earlier ones are settled by it; a later one waits.
decided AS MATERIALIZED (
    SELECT ranked.*,
           CASE WHEN NOT is_large THEN 'push'
                WHEN seq < furthest_seq OR pushed_through = 0 AND seq < last_seq THEN 'settle'
                WHEN place = 1 AND (pushed_through > 0 OR abs(clock.now_ms - pushed_at) >= $7) THEN 'push'
                ELSE 'wait' END AS step
      FROM ranked, clock
),
-- The members of each who are connected and were not pushed to. One more than is pushed to, to see whether more follow.
connected AS MATERIALIZED (
    SELECT decided.chat_id, decided.seq, m.member, m.user_id, m.place
      FROM decided CROSS JOIN clock CROSS JOIN LATERAL (
          SELECT m.member, m.user_id, row_number() OVER (ORDER BY m.member) AS place
            FROM chat_members m
           WHERE m.chat_id = decided.chat_id AND m.member > decided.pushed_through
             AND EXISTS (SELECT FROM connections c WHERE c.user_id = m.user_id AND c.token_expires_at > clock.now_ms)
           ORDER BY m.member LIMIT $5 + 1) AS m
     WHERE decided.step = 'push'
),
-- Of the members before the first connected one who is left for later: those who were connected when the message came and are
-- not now, so that nothing has reached them. They are told by Web Push as in append.sql, unless a digest waits already or was
-- shown since.
absent AS (
    INSERT INTO push_digests AS d (user_id, tag, due_at, window_ms)
    SELECT m.user_id, 'chat:' || m.chat_id, min(decided.created_at) + $8, $8
      FROM clock CROSS JOIN decided JOIN chats ON chats.id = decided.chat_id JOIN chat_members m ON m.chat_id = chats.id
      LEFT JOIN connected AS last ON last.chat_id = decided.chat_id AND last.seq = decided.seq AND last.place = $5 + 1
     WHERE decided.step = 'push' AND m.member > decided.pushed_through AND coalesce(m.member < last.member, true)
       AND greatest(m.read_seq, m.cleared_seq) < decided.seq AND (m.involved OR chats.kind = 'direct')
       AND EXISTS (SELECT FROM push_subscriptions s WHERE s.user_id = m.user_id)
       AND NOT EXISTS (SELECT FROM connections c WHERE c.user_id = m.user_id AND c.token_expires_at > clock.now_ms)
       AND NOT EXISTS (SELECT FROM push_digests o
                        WHERE o.user_id = m.user_id AND o.tag = 'chat:' || m.chat_id
                          AND (o.due_at IS NOT NULL AND o.attempts = 0 OR o.pushed_at >= decided.created_at))
     GROUP BY m.user_id, m.chat_id
     ORDER BY m.user_id, m.chat_id
    ON CONFLICT (user_id, tag) DO UPDATE
       SET arrivals = d.arrivals + 1, due_at = coalesce(d.due_at, excluded.due_at), push_left = NULL
),
taken AS (
    UPDATE messages AS m
       SET push_attempts = m.push_attempts + CASE decided.step WHEN 'push' THEN 1 ELSE 0 END,
           push_at = CASE
               WHEN decided.step = 'wait' THEN CASE decided.place WHEN 1 THEN decided.pushed_at ELSE clock.now_ms END + $7
               WHEN EXISTS (SELECT FROM connected WHERE connected.chat_id = m.chat_id AND connected.seq = m.seq)
               THEN clock.now_ms + least($3 * power(2, least(m.push_attempts, 20))::bigint, $4) END
      FROM decided, clock
     WHERE m.chat_id = decided.chat_id AND m.seq = decided.seq
    RETURNING m.*
),
paced AS (
    UPDATE chats SET pushed_at = clock.now_ms
      FROM decided, clock
     WHERE chats.id = decided.chat_id AND decided.is_large AND decided.step = 'push'
)
SELECT taken.chat_id, taken.seq, taken.id AS message_id, taken.sender_id, taken.client_id, taken.body, taken.data,
       taken.created_at, taken.erased_at, taken.traceparent, connected.member, connected.place,
       c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM clock, taken
  JOIN connected ON connected.chat_id = taken.chat_id AND connected.seq = taken.seq
  JOIN connections c ON c.user_id = connected.user_id
 WHERE c.token_expires_at > clock.now_ms
 ORDER BY taken.chat_id, taken.seq, connected.place, c.connected_at, c.id
