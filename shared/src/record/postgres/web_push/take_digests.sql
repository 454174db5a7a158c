-- Takes the digests that are due, of the users whose first has been due longest. Returns a row for each subscription to
-- push to, and one for a digest that nobody needs any longer, so that the caller settles it.
-- $2 the most users  $3 how long the first claim lasts in ms, doubled with each further one  $4 the longest claim in ms
-- $5 the most notifications to count  $6 the most messages to look at  $7 the most digests of a user
, users AS MATERIALIZED (
    SELECT DISTINCT user_id
      FROM (SELECT d.user_id FROM push_digests d
             WHERE d.due_at <= (SELECT now_ms FROM clock) ORDER BY d.due_at LIMIT $2) AS first
),
-- A digest that another worker has locked is skipped: that worker takes or finishes it.
due AS MATERIALIZED (
    SELECT d.user_id, d.tag
      FROM users CROSS JOIN LATERAL (
          SELECT o.user_id, o.tag
            FROM push_digests o
           WHERE o.user_id = users.user_id AND o.due_at <= (SELECT now_ms FROM clock)
           ORDER BY o.due_at
           LIMIT $7
             FOR UPDATE OF o SKIP LOCKED) AS d
),
taken AS (
    UPDATE push_digests AS d
       SET attempts = d.attempts + 1,
           due_at = clock.now_ms + least($4, $3 * (1::bigint << least(d.attempts, 10)::integer))
      FROM clock, due
     WHERE d.user_id = due.user_id AND d.tag = due.tag
    RETURNING d.*
)
SELECT d.user_id, d.tag, d.due_at AS fence, d.arrivals, d.attempts - 1 AS attempt, d.is_held,
       d.pushed_at IS NOT NULL AS is_shown,
       coalesce(told.count, said.count, 0) AS count, told.offsets AS told,
       -- What tells nothing is closed everywhere.
       CASE WHEN coalesce(told.count, said.count, 0) > 0 THEN d.push_left END AS push_left,
       -- The newest notification.
       n."offset", n.id, n.created_at, n.read_at, n.silent, inboxes.epoch,
       inboxes.unread - (
           SELECT count(*) FROM notifications e
            WHERE e.user_id = d.user_id AND e.deleted_at IS NULL AND e.read_at IS NULL AND e.expires_at <= clock.now_ms
       ) AS unread,
       s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key, s.channels, s.digest_ms,
       s.traceparent,
       -- The newest message.
       m.body AS message_body, said.senders, said.chat_title,
       EXISTS (SELECT FROM connections c
                WHERE c.user_id = d.user_id AND c.token_expires_at > clock.now_ms) AS is_connected,
       p.types, p.quiet_hours, p.muted_chats,
       subscriptions.endpoint, subscriptions.p256dh, subscriptions.auth
  FROM clock CROSS JOIN taken d
  -- What is unread and was not sent, of a digest of notifications.
  LEFT JOIN LATERAL (
      SELECT count(*) AS count, max("offset") AS newest, array_agg("offset") AS offsets
        FROM (SELECT t."offset" FROM notifications t
               WHERE t.user_id = d.user_id AND t.web_push_digest = d.tag AND t.web_pushed_at IS NULL
                 AND t.read_at IS NULL AND t.deleted_at IS NULL AND coalesce(t.expires_at > clock.now_ms, true)
               ORDER BY t."offset" DESC LIMIT $5) AS counted
  ) AS told ON d.tag NOT LIKE 'chat:%'
  LEFT JOIN notifications n ON n.user_id = d.user_id AND n."offset" = told.newest
  LEFT JOIN inboxes ON inboxes.user_id = d.user_id
  LEFT JOIN sends s ON s.id = n.send_id
  -- What is unread of a chat, and who wrote it. One who left the chat, or declined it, is not told.
  LEFT JOIN LATERAL (
      SELECT greatest(0, chats.last_seq - greatest(member.read_seq, member.cleared_seq)) AS count,
             chats.id AS chat_id, chats.last_seq, chats.title AS chat_title,
             (SELECT array_agg(sender_id ORDER BY seq DESC)
                FROM (SELECT r.sender_id, r.seq FROM messages r
                       WHERE r.chat_id = chats.id AND r.seq > greatest(member.read_seq, member.cleared_seq)
                       ORDER BY r.seq DESC LIMIT $6) AS recent) AS senders
        FROM chat_members member JOIN chats ON chats.id = member.chat_id
       -- A condition of its own could be computed after the cast.
       WHERE member.chat_id = CASE WHEN d.tag LIKE 'chat:%' THEN substr(d.tag, 6)::uuid END AND member.user_id = d.user_id
         AND chats.status <> 'DECLINED'
  ) AS said ON true
  LEFT JOIN messages m ON m.chat_id = said.chat_id AND m.seq = said.last_seq AND said.count > 0
  LEFT JOIN preferences p ON p.user_id = d.user_id
  LEFT JOIN push_subscriptions subscriptions ON subscriptions.user_id = d.user_id
 -- The subscriptions of one digest, and the digests of one user, must be adjacent: the caller gathers them.
 ORDER BY d.user_id, d.tag, subscriptions.number
