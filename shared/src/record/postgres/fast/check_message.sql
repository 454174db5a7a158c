-- What decides on a message. Returns no row if the sender is not a member; otherwise the chat's state, the message that has
-- this id already, and a row for each connection to tell, at least one.
-- $2 chat  $3 sender  $4 message id  $5 the most members of a small chat  $6 the most members to push to
, chat AS MATERIALIZED (
    SELECT chats.id, chats.status,
           (SELECT count(*) FROM (SELECT FROM chat_members m WHERE m.chat_id = chats.id LIMIT $5 + 1) AS counted) > $5
               AS is_large
      FROM chats WHERE id = $2 AND EXISTS (SELECT FROM chat_members m WHERE m.chat_id = $2 AND m.user_id = $3)
),
-- The members to push to: those who are connected, the sender first.
connected AS MATERIALIZED (
    SELECT m.user_id
      FROM chat, chat_members m, clock
     WHERE m.chat_id = chat.id
       AND EXISTS (SELECT FROM connections c WHERE c.user_id = m.user_id AND c.token_expires_at > clock.now_ms)
     ORDER BY m.user_id = $3 DESC, m.member LIMIT $6
)
SELECT chat.status, chat.is_large,
       first.seq, first.id AS message_id, first.sender_id, first.client_id, first.body, first.data, first.created_at,
       first.erased_at,
       c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM clock CROSS JOIN chat
  LEFT JOIN messages first ON first.id = $4
  LEFT JOIN connected ON true
  LEFT JOIN connections c ON c.user_id = connected.user_id AND c.token_expires_at > clock.now_ms
