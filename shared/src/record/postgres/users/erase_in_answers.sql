-- Makes the user's id null in answers, in a page of all sends. Everything else of an answer stays byte for byte. Returns how
-- many were examined and how many of these are done with, and the last of those.
-- $1 how an answer names the user  $2 how it names one who was erased  $3 the send after which the page begins
-- $4 the most sends to examine  $5 the most to change
WITH page AS MATERIALIZED (
    SELECT id, strpos(answer, $1) > 0 AS names_user FROM sends WHERE id > $3 ORDER BY id LIMIT $4
),
done AS MATERIALIZED (
    SELECT * FROM (SELECT *, count(*) FILTER (WHERE names_user) OVER (ORDER BY id) AS named_so_far FROM page) AS counted
     WHERE named_so_far <= $5
),
locked AS MATERIALIZED (
    SELECT s.id FROM done JOIN sends s ON s.id = done.id WHERE done.names_user ORDER BY s.id FOR NO KEY UPDATE OF s
),
changed AS (
    UPDATE sends AS s SET answer = replace(s.answer, $1, $2) FROM locked WHERE s.id = locked.id
)
SELECT (SELECT count(*) FROM page) AS examined, (SELECT count(*) FROM done) AS done,
       (SELECT id FROM done ORDER BY id DESC LIMIT 1) AS last_id, 0::bigint AS last_n, NULL::uuid[] AS chats
