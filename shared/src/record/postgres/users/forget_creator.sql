-- Forgets who created chats, in a page of all chats. Returns how many were examined and how many of these are done with, the
-- last of those, and the chats that have changed.
-- $1 user  $2 the chat after which the page begins  $3 the most chats to examine  $4 the most to change
WITH page AS MATERIALIZED (
    SELECT id, coalesce(created_by = $1, false) AS is_own FROM chats WHERE id > $2 ORDER BY id LIMIT $3
),
done AS MATERIALIZED (
    SELECT * FROM (SELECT *, count(*) FILTER (WHERE is_own) OVER (ORDER BY id) AS own_so_far FROM page) AS counted
     WHERE own_so_far <= $4
),
locked AS MATERIALIZED (
    SELECT c.id FROM done JOIN chats c ON c.id = done.id WHERE done.is_own ORDER BY c.id FOR UPDATE OF c
),
changed AS (
    UPDATE chats AS c SET created_by = NULL, version = c.version + 1 FROM locked WHERE c.id = locked.id RETURNING c.id
)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM done) AS done,
       (SELECT id FROM done ORDER BY id DESC LIMIT 1) AS last_id, 0::bigint AS last_n,
       (SELECT array_agg(id) FROM changed) AS chats
