-- What decides on a send to one user: the first answer, if it is stored, whether the user's preferences let open devices
-- ring, and a row for each connection of the user, at least one.
-- $2 send  $3 user  $4 type
SELECT s.fingerprint, s.answer,
       coalesce((p.types::json -> $4::text ->> 'realtime')::boolean, (p.types::json -> '*' ->> 'realtime')::boolean, true)
           AS rings,
       c.id, c.user_id, c.connected_at, c.token_expires_at
  FROM clock
  LEFT JOIN sends s ON s.id = $2
  LEFT JOIN preferences p ON p.user_id = $3
  LEFT JOIN connections c ON c.user_id = $3 AND c.token_expires_at > clock.now_ms
