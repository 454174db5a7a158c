-- Takes messages whose time to be pushed has come, and returns a row for each connection to push to. A message that no
-- connected member waits for is settled and not returned.
-- $2 the most messages  $3 the grace period in ms  $4 the longest delay in ms  $5 the most members to push to
-- $6 the most members of a small chat  $7 the least time in ms between two pushed messages of a larger one
, due AS MATERIALIZED (
    SELECT chat_id, seq, pushed_through FROM messages
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
       taken.created_at, taken.erased_at, connected.member, connected.place,
       c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM clock, taken
  JOIN connected ON connected.chat_id = taken.chat_id AND connected.seq = taken.seq
  JOIN connections c ON c.user_id = connected.user_id
 WHERE c.token_expires_at > clock.now_ms
 ORDER BY taken.chat_id, taken.seq, connected.place, c.connected_at, c.id
