SELECT chats.id, chats.kind, chats.status, chats.title, chats.created_by, chats.created_at, chats.active_at, chats.version,
       chats.last_seq, own.read_seq, max(chats.last_seq - max(own.read_seq, own.cleared_seq), 0) AS unread,
       own.hidden_seq >= chats.last_seq AS is_hidden,
       (SELECT count(*) FROM chat_members m WHERE m.chat_id = chats.id) AS member_count,
       -- The first by joining, the member itself among them. A column, since an ORDER BY sees nothing of the outer query.
       (SELECT json_group_array(
                   json_object('userId', m.user_id, 'role', iif(m.user_id = chats.owner, 'owner', 'member'),
                               'readSeq', m.read_seq)
                   ORDER BY m.member)
          FROM (SELECT m.*, m.member = own.member AS is_own FROM chat_members m WHERE m.chat_id = chats.id
                 ORDER BY is_own DESC, m.member LIMIT 20) AS m) AS participants,
       last.seq, last.id AS message_id, last.sender_id, last.client_id, last.body, last.data,
       last.created_at AS message_created_at, last.erased_at
  FROM chats
  JOIN chat_members own ON own.chat_id = chats.id
  LEFT JOIN messages last ON last.chat_id = chats.id AND last.seq = chats.last_seq AND last.seq > own.cleared_seq
