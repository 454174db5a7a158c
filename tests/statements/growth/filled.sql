-- A database that has grown: 100,000 users, each connected, with three notifications and a few chats each. All times are
-- around 1,800,000,000,000. Some of everything is due, most is due later or done.
-- Each of the 100,000 sends has three recipients; 2,000 of them need not be kept any longer.
INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, priority, created_at, due_at, keep_until)
SELECT lpad(n::text, 32, '0')::uuid, 'shop ' || n % 100, '', repeat('answer ', 50), 'started', 'T' || n % 20, 'Hi',
       repeat('body ', 20), '{}', 'normal', 1799900000000 + n, 1799900000000 + n, 1800000000000 + (n - 2000) * 1000
  FROM generate_series(1::bigint, 100000) n;
INSERT INTO inboxes (user_id, epoch, head, unread) SELECT 'user ' || n, epoch, 3, 2 FROM epoch, generate_series(1, 100000) n;
-- The numbers 0 to 299,999: a third of them for each user's first notification, and so on. Each is due, or was
-- changed, in one of ten ways; some of it is due already.
INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, read_at, deleted_at, expires_at,
                           snoozed_until, push_at, web_push_at, collapse_key, send_due_at, send_accepted_at)
SELECT 'user ' || 1 + k % 100000, 1 + k / 100000, 1 + k / 100000, lpad(k::text, 32, '0')::uuid,
       lpad((1 + k / 3)::text, 32, '0')::uuid, 'T' || (1 + k / 3) % 20, 1799900000000 + k,
       CASE WHEN x % 10 = 1 THEN 1799950000000 END,
       CASE WHEN x % 10 = 2 OR k < 6000 AND x % 10 <> 5 THEN 1797000000000 + k * 1000 WHEN x % 100 = 13 THEN 1799950000000 END,
       CASE WHEN x % 10 = 4 THEN 1800000000000 + (k - 20000) * 1000 END,
       CASE WHEN x % 100 = 13 THEN 1800000000000 + (k - 100000) * 1000 END,
       CASE WHEN x % 100 = 5 THEN 1800000000000 + (k - 100000) END,
       CASE WHEN x % 100 = 6 THEN 1800000000000 + (k - 100000) END,
       CASE WHEN x % 10 = 7 THEN 'door' END, CASE WHEN x % 10 = 7 THEN 0 END, CASE WHEN x % 10 = 7 THEN 0 END
  FROM (SELECT k, k + k / 100000 AS x FROM generate_series(0::bigint, 299999) k) AS numbers;
-- One user with a backlog, and with a long inbox.
INSERT INTO inboxes (user_id, epoch, head, unread) SELECT 'busy', epoch, 5000, 5000 FROM epoch;
INSERT INTO notifications (user_id, "offset", version, id, send_id, type, created_at, push_at)
SELECT 'busy', n, n, gen_random_uuid(), lpad((n + 50000)::text, 32, '0')::uuid, 'T' || n % 20, n, CASE WHEN n < 3000 THEN n END
  FROM generate_series(1, 5000) n;
-- One chunk of each send is left over from its start; of every tenth it waits, and of 1,000 of these it is due.
INSERT INTO send_chunks (send_id, n, recipients, due_at, state)
SELECT lpad(n::text, 32, '0')::uuid, 1, '["user ' || n || '"]', 1800000000000 + n - 10000,
       CASE WHEN n % 10 = 0 THEN 'waiting' WHEN n % 10 = 1 THEN 'expired' ELSE 'materialised' END
  FROM generate_series(1, 100000) n;
-- Sockets. The tokens of 100 have expired; 1,000 tickets have, and 100 tokens were revoked lately.
INSERT INTO connections (id, user_id, connected_at, token_expires_at)
SELECT 'connection ' || n, 'user ' || n, 1800000000000 - n * 10, 1800000000000 + (n - 100) * 1000
  FROM generate_series(1::bigint, 100000) n;
INSERT INTO connections (id, user_id, connected_at, token_expires_at) VALUES ('busy', 'busy', 1799999999999, 1900000000000);
INSERT INTO tickets (hash, user_id, token_expires_at, expires_at)
SELECT sha256(n::text::bytea), 'user ' || n, 1900000000000, 1800000000000 + (n - 1000) FROM generate_series(1, 100000) n;
INSERT INTO revocations (user_id, revoked_at)
SELECT 'revoked ' || n, 1800000000000 - n * 60000 FROM generate_series(1::bigint, 100000) n;
INSERT INTO last_seen (user_id, at) SELECT 'user ' || n, 0 FROM generate_series(1, 100000) n;
-- Web Push. 1,000 digests are due.
INSERT INTO preferences (user_id, types, muted_chats) SELECT 'user ' || n, '{}', '{}' FROM generate_series(1, 100000) n;
INSERT INTO push_subscriptions (id, user_id, endpoint, p256dh, auth)
SELECT gen_random_uuid(), 'user ' || n, 'https://push.example.net/' || n, '', '' FROM generate_series(1, 100000) n;
INSERT INTO push_digests (user_id, tag, due_at, window_ms)
SELECT 'user ' || n, 'type:T1', 1800000000000 + (n - 1000), 1 FROM generate_series(1, 100000) n;
-- Groups of four, one of them with 50,000 messages, and one with 500 members. In ten of them a message is due.
INSERT INTO chats (id, kind, status, owner, fingerprint, created_at, active_at, last_seq)
SELECT lpad(n::text, 32, '0')::uuid, 'group', 'ACCEPTED', 'user 1', '', n, n, CASE n WHEN 1 THEN 50000 ELSE 3 END
  FROM generate_series(1, 50000) n;
INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
SELECT lpad(n::text, 32, '0')::uuid, 'user ' || 1 + (n * 7 + m * 1999) % 100000, 0, true
  FROM generate_series(1, 50000) n, generate_series(1, 4) m;
INSERT INTO chat_members (chat_id, user_id, joined_at, involved)
SELECT lpad('2', 32, '0')::uuid, 'user ' || n, 0, true FROM generate_series(1, 500) n ON CONFLICT DO NOTHING;
INSERT INTO messages (chat_id, seq, id, sender_id, client_id, body, data, created_at, push_at)
SELECT lpad(n::text, 32, '0')::uuid, seq, gen_random_uuid(), 'user 1', seq::text, repeat('body ', 20), '{}', 0,
       CASE WHEN n > 49990 THEN 1799999999999 END
  FROM generate_series(1, 50000) n, generate_series(1, CASE n WHEN 1 THEN 50000 ELSE 3 END) seq;
ANALYZE;
