-- Copies sends to new ids, without what made their old ones: sender, request and answer. A column that a later migration adds
-- to `sends` belongs here too.
-- $1 old ids  $2 new ids  $3 a fingerprint of nothing
INSERT INTO sends (id, sender, fingerprint, answer, state, type, title, body, data, action_url, priority, collapse_key,
                   created_at, due_at, expires_at, keep_until, channels, digest_ms)
SELECT moved.new_id, '', $3, '{}', s.state, s.type, s.title, s.body, s.data, s.action_url, s.priority, s.collapse_key,
       s.created_at, s.due_at, s.expires_at, s.keep_until, s.channels, s.digest_ms
  FROM unnest($1::uuid[], $2::uuid[]) AS moved (old_id, new_id) JOIN sends s ON s.id = moved.old_id
