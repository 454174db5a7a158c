-- Makes tombstones of what has expired in inboxes that this transaction holds.
-- $2 users  $3 the most rows
, due AS MATERIALIZED (
    SELECT n.user_id, n."offset", n.id, n.expires_at, (n.read_at IS NULL)::integer AS was_unread
      FROM clock, notifications n
     WHERE n.user_id = ANY ($2) AND n.deleted_at IS NULL AND n.expires_at <= clock.now_ms
     ORDER BY n.expires_at, n.user_id, n."offset" LIMIT $3
),
target AS MATERIALIZED (
    SELECT due.*, row_number() OVER (PARTITION BY user_id ORDER BY "offset") AS step FROM due
),
-- Where not all of them fit, those that expire at the last instant may be among the rest.
raised AS (
    UPDATE inboxes AS i
       SET head = i.head + whole.steps, unread = i.unread - whole.unread,
           expired_through = greatest(i.expired_through, CASE WHEN whole.is_all THEN clock.now_ms ELSE whole.last - 1 END)
      FROM clock,
           (SELECT user_id, count(*) AS steps, sum(was_unread) AS unread, max(expires_at) AS last,
                   (SELECT count(*) FROM due) < $3 AS is_all
              FROM target GROUP BY user_id) AS whole
     WHERE i.user_id = whole.user_id
    RETURNING i.user_id, i.epoch, i.head, i.unread, whole.steps, whole.unread AS expired_unread
),
changed AS (
    UPDATE notifications AS n
       SET version = raised.head - raised.steps + target.step, deleted_at = clock.now_ms, push_at = NULL
      FROM target, raised, clock
     WHERE n.user_id = target.user_id AND n."offset" = target."offset" AND raised.user_id = target.user_id
)
SELECT raised.user_id, raised.epoch, raised.head, raised.steps,
       (SELECT array_agg(target.id ORDER BY target.step) FROM target WHERE target.user_id = raised.user_id) AS ids,
       -- Those that are left for the next time are gone all the same.
       raised.unread + raised.expired_unread - (
           SELECT count(*) FROM notifications n
            WHERE n.user_id = raised.user_id AND n.deleted_at IS NULL AND n.read_at IS NULL
              AND n.expires_at <= clock.now_ms
       ) AS unread,
       living.id, living.connected_at, living.token_expires_at
  FROM clock CROSS JOIN raised
  LEFT JOIN connections AS living ON living.user_id = raised.user_id AND living.token_expires_at > clock.now_ms
 ORDER BY raised.user_id, living.connected_at, living.id
