 SELECT chats.id, chats.kind, chats.status, chats.title, chats.created_by, chats.created_at, chats.active_at, chats.version,
       chats.last_seq, own.read_seq, greatest(chats.last_seq - greatest(own.read_seq, own.cleared_seq), 0) AS unread,
       own.hidden_seq >= chats.last_seq AS is_hidden,
       (SELECT count(*) FROM chat_members m WHERE m.chat_id = chats.id) AS member_count,
       -- The first by joining, the member itself among them.
       (SELECT json_agg(json_build_object('userId', m.user_id, 'isOwner', m.user_id = chats.owner, 'readSeq', m.read_seq)
                        ORDER BY m.member)::text
          FROM (SELECT * FROM chat_members m WHERE m.chat_id = chats.id
                 ORDER BY m.member = own.member DESC, m.member LIMIT 20) AS m) AS participants,
       last.seq, last.id AS message_id, last.sender_id, last.client_id, last.body, last.data,
       last.created_at AS message_created_at, last.erased_at
  FROM chats
  JOIN chat_members own ON own.chat_id = chats.id
  LEFT JOIN messages last ON last.chat_id = chats.id AND last.seq = chats.last_seq AND last.seq > own.cleared_seq
