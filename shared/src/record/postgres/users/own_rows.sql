-- Deletes what is the user's own in small tables. Returns how many digests were deleted, of which more may be left, and the
-- connections.
-- $1 user  $2 the most digests
WITH digests AS (
    DELETE FROM push_digests
     WHERE user_id = $1 AND tag IN (SELECT tag FROM push_digests WHERE user_id = $1 ORDER BY tag LIMIT $2)
    RETURNING tag
),
unwanted AS (
    DELETE FROM preferences WHERE user_id = $1
),
unsubscribed AS (
    DELETE FROM push_subscriptions WHERE user_id = $1
),
spent AS (
    DELETE FROM tickets WHERE user_id = $1
),
unseen AS (
    DELETE FROM last_seen WHERE user_id = $1
),
closed AS (
    DELETE FROM connections WHERE user_id = $1 RETURNING id
)
SELECT (SELECT count(*) FROM digests) AS digests, (SELECT array_agg(id) FROM closed) AS connections
