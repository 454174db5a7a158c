-- Empties what the user said, in a page of all messages: an index by sender would cost every message something. Returns how
-- many were examined and how many of these are done with, the last of those, and the chats that have changed.
-- $2 user  $3 the chat and $4 the `seq` after which the page begins  $5 the most messages to examine  $6 the most to change
, page AS MATERIALIZED (
    SELECT chat_id, seq, coalesce(sender_id = $2, false) AS is_own
      FROM messages WHERE (chat_id, seq) > ($3, $4) ORDER BY chat_id, seq LIMIT $5
),
done AS MATERIALIZED (
    SELECT * FROM (SELECT *, count(*) FILTER (WHERE is_own) OVER (ORDER BY chat_id, seq) AS own_so_far FROM page) AS counted
     WHERE own_so_far <= $6
),
locked AS MATERIALIZED (
    SELECT m.chat_id, m.seq FROM done JOIN messages m ON m.chat_id = done.chat_id AND m.seq = done.seq
     WHERE done.is_own ORDER BY m.chat_id, m.seq FOR NO KEY UPDATE OF m
),
-- What was not pushed yet says nothing any more.
changed AS (
    UPDATE messages AS m
       SET sender_id = NULL, client_id = NULL, body = '', data = '{}', traceparent = NULL, erased_at = clock.now_ms,
           push_at = NULL
      FROM locked, clock
     WHERE m.chat_id = locked.chat_id AND m.seq = locked.seq
    RETURNING m.chat_id
),
-- Tells devices that what they have of these chats is outdated.
raised AS (
    UPDATE chats AS c SET version = c.version + 1
      FROM (SELECT DISTINCT chat_id FROM changed) AS emptied WHERE c.id = emptied.chat_id
)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM done) AS done,
       (SELECT chat_id FROM done ORDER BY chat_id DESC, seq DESC LIMIT 1) AS last_id,
       coalesce((SELECT seq FROM done ORDER BY chat_id DESC, seq DESC LIMIT 1), 0) AS last_n,
       (SELECT array_agg(DISTINCT chat_id) FROM changed) AS chats
