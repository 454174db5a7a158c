-- Stores messages at the ends of their chats, in the order of the lists. The transaction has locked the chats and the members
-- who wrote, so no other message takes a `seq` meanwhile. Returns the ids that other messages have.
-- $2 message ids, each once  $3 chats  $4 senders  $5 client ids  $6 bodies  $7 data  $8 when each was accepted
-- $9 how long messages are collected for Web Push in ms  $10 traceparents, or null
, logged AS MATERIALIZED (
    SELECT *
      FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
                  $10::text[]) WITH ORDINALITY
           AS l (id, chat_id, sender_id, client_id, body, data, accepted_at, traceparent, n)
),
fresh AS MATERIALIZED (
    SELECT logged.*, chats.last_seq + row_number() OVER (PARTITION BY chat_id ORDER BY n) AS seq
      FROM logged
      -- A chat that has ended takes its messages with it.
      JOIN chats ON chats.id = logged.chat_id
     WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = logged.id)
),
-- Due at once, if a member is connected: the drain pushes them.
stored AS (
    INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, traceparent, created_at, push_at)
    SELECT chat_id, seq, id, sender_id, client_id, body, data, traceparent, accepted_at,
           CASE WHEN EXISTS (SELECT FROM chat_members m JOIN connections c ON c.user_id = m.user_id
                              WHERE m.chat_id = fresh.chat_id AND c.token_expires_at > clock.now_ms)
                THEN clock.now_ms END
      FROM fresh, clock
),
raised AS (
    UPDATE chats AS c
       SET last_seq = last.seq, active_at = greatest(c.active_at, last.accepted_at)
      FROM (SELECT chat_id, max(seq) AS seq, max(accepted_at) AS accepted_at FROM fresh GROUP BY chat_id) AS last
     WHERE c.id = last.chat_id
),
-- Members who are not connected are told by Web Push, and that of who wrote is closed, as in append.sql. What others wrote
-- after that is told with the close.
absent AS (
    INSERT INTO push_digests AS d (user_id, tag, due_at, window_ms, arrivals)
    SELECT m.user_id, 'chat:' || m.chat_id, clock.now_ms + CASE WHEN bool_or(m.user_id = fresh.sender_id) THEN 0 ELSE $9 END,
           $9, count(*)
      FROM clock, fresh JOIN chats ON chats.id = fresh.chat_id JOIN chat_members m ON m.chat_id = fresh.chat_id
     WHERE CASE m.user_id
           WHEN fresh.sender_id
           THEN EXISTS (SELECT FROM push_digests o WHERE o.user_id = m.user_id AND o.tag = 'chat:' || m.chat_id)
           ELSE (m.involved OR chats.kind = 'direct')
                AND EXISTS (SELECT FROM push_subscriptions s WHERE s.user_id = m.user_id)
                AND NOT EXISTS (SELECT FROM connections c
                                 WHERE c.user_id = m.user_id AND c.token_expires_at > clock.now_ms) END
     GROUP BY m.user_id, m.chat_id, clock.now_ms
     ORDER BY m.user_id, m.chat_id
    ON CONFLICT (user_id, tag) DO UPDATE
       SET arrivals = d.arrivals + excluded.arrivals,
           due_at = CASE WHEN d.attempts = 0 AND excluded.due_at = (SELECT now_ms FROM clock) THEN excluded.due_at
                    ELSE coalesce(d.due_at, excluded.due_at) END,
           push_left = NULL
),
-- A message moves the read mark of its sender.
marked AS (
    UPDATE chat_members AS m SET read_seq = greatest(m.read_seq, last.seq), involved = true
      FROM (SELECT chat_id, sender_id, max(seq) AS seq FROM fresh GROUP BY chat_id, sender_id) AS last
     WHERE m.chat_id = last.chat_id AND m.user_id = last.sender_id
)
SELECT logged.id
  FROM logged JOIN messages m ON m.id = logged.id
 WHERE m.erased_at IS NULL AND (m.body, m.data) IS DISTINCT FROM (logged.body, logged.data)
