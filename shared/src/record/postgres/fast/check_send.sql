-- What decides on a send to one user: the first answer, if it is stored, and a row for each connection of the user, at
-- least one.
-- $2 send  $3 user
SELECT s.fingerprint, s.answer, c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM clock
  LEFT JOIN sends s ON s.id = $2
  LEFT JOIN connections c ON c.user_id = $3 AND c.token_expires_at > clock.now_ms
