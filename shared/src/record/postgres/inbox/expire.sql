-- Makes tombstones of expired notifications in inboxes that this transaction has locked; each takes the next offset of
-- its inbox. Returns a row for each connection to notify, at least one for each inbox that changed.
-- $2 users  $3 the most rows
-- Those that expired first.
, due AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.id, n.expires_at, (n.read_at IS NULL)::integer AS was_unread
      FROM clock, notifications n
     WHERE n.user_id = ANY ($2) AND n.deleted_at IS NULL AND n.expires_at <= clock.now_ms
     ORDER BY n.expires_at, n.user_id, n."offset" LIMIT $3
),
-- Numbered from 1 in order of arrival, in each inbox.
expired AS MATERIALIZED (
    SELECT due.*, row_number() OVER (PARTITION BY user_id ORDER BY "offset") AS step FROM due
),
-- `expired_through` tells materialise.sql which expired notifications `unread` no longer counts. If the limit was
-- reached, some that expired at the last instant may be left, so it stops before that instant.
raised AS (
    UPDATE inboxes AS i
       SET head = i.head + totals.steps, unread = i.unread - totals.unread,
           expired_through =
               greatest(i.expired_through, CASE WHEN totals.are_all THEN clock.now_ms ELSE totals.last - 1 END)
      FROM clock,
           (SELECT user_id, count(*) AS steps, sum(was_unread) AS unread, max(expires_at) AS last,
                   (SELECT count(*) FROM due) < $3 AS are_all
              FROM expired GROUP BY user_id) AS totals
     WHERE i.user_id = totals.user_id
    RETURNING i.user_id, i.epoch, i.head, i.unread, totals.steps, totals.unread AS expired_unread
),
-- A tombstone is not pushed.
tombstones AS (
    UPDATE notifications AS n
       SET version = raised.head - raised.steps + expired.step, deleted_at = clock.now_ms, push_at = NULL, web_push_at = NULL
      FROM expired, raised, clock
     WHERE n.user_id = expired.user_id AND n."offset" = expired."offset" AND raised.user_id = expired.user_id
)
SELECT raised.user_id, raised.epoch, raised.head, raised.steps,
       (SELECT array_agg(expired.id ORDER BY expired.step) FROM expired WHERE expired.user_id = raised.user_id) AS ids,
       -- Excludes expired notifications that are left for the next call. The subquery sees the rows as they were before
       -- this statement, so it counts the new tombstones too: they are added back first.
       raised.unread + raised.expired_unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = raised.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at <= clock.now_ms
       ) AS unread,
       live_connections.id, live_connections.connected_at, live_connections.token_expires_at
  FROM clock CROSS JOIN raised
  LEFT JOIN connections AS live_connections
    ON live_connections.user_id = raised.user_id AND live_connections.token_expires_at > clock.now_ms
 ORDER BY raised.user_id, live_connections.connected_at, live_connections.id
