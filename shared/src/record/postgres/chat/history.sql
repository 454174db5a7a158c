-- Reads the messages of a page as a member sees them, except those that the caller knows. Returns no row if the user is not a
-- member; otherwise where the chat stands for it, and a row for each message, at least one.
-- $1 chat  $2 member  $3 only before this seq  $4 only after this seq  $5 the most messages  $6 the most bytes
-- $7 whether they are the first of these, instead of the last
-- $8 $9 the first and the last seq that the caller knows, without gaps between  $10 $11 the last one's id and time
-- $12 how many of those that the caller knows are erased
WITH own AS MATERIALIZED (
    SELECT m.cleared_seq, c.last_seq,
           -- Only then are those before it stored as well.
           EXISTS (SELECT FROM messages WHERE chat_id = $1 AND seq = $9 AND id = $10 AND created_at = $11)
           -- None of them was erased since. Erased messages stay so, which is why comparing the numbers is enough.
           AND (SELECT count(*) FROM messages
                 WHERE chat_id = $1 AND seq BETWEEN $8 AND $9 AND erased_at IS NOT NULL) = $12 AS is_known,
           greatest($4, m.cleared_seq) + 1 AS first, least($3 - 1, c.last_seq) AS last
      FROM chat_members m JOIN chats c ON c.id = m.chat_id
     WHERE m.chat_id = $1 AND m.user_id = $2
),
-- `seq` has no gaps, so the ends of the page follow from numbers.
page AS MATERIALIZED (
    SELECT CASE WHEN $7 THEN first ELSE greatest(first, last - $5 + 1) END AS first,
           CASE WHEN $7 THEN least(last, first + $5 - 1) ELSE last END AS last,
           CASE WHEN is_known THEN $8 ELSE 0 END AS known_first,
           CASE WHEN is_known THEN $9 ELSE 0 END AS known_last
      FROM own
),
-- What is before the known ones, and what is after them: two ranges of the key.
missing AS (
    SELECT m.* FROM page JOIN messages m
        ON m.chat_id = $1 AND m.seq BETWEEN page.first AND least(page.last, page.known_first - 1)
    UNION ALL
    SELECT m.* FROM page JOIN messages m
        ON m.chat_id = $1 AND m.seq BETWEEN greatest(page.first, page.known_last + 1) AND page.last
),
-- Rows end with the one whose size, at least, exceeds the bytes, but not with the first, so that there is a further row if
-- some were left out.
sized AS (
    SELECT *, sum(least_bytes) OVER earlier - least_bytes AS bytes_before, row_number() OVER earlier AS place
      FROM (SELECT *, 200 + octet_length(body) + octet_length(data) AS least_bytes FROM missing) AS missing
    WINDOW earlier AS (ORDER BY CASE WHEN $7 THEN seq ELSE -seq END)
)
SELECT own.cleared_seq, own.last_seq, own.is_known,
       m.seq, m.id AS message_id, m.sender_id, m.client_id, m.body, m.data, m.created_at, m.erased_at
  FROM own LEFT JOIN sized m ON m.bytes_before <= $6 OR m.place <= 2
