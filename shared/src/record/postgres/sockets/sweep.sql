-- Deletes expired tickets and old connections, and returns connections whose token has expired or was revoked. Those stay registered
-- until the caller has closed them, so that the next sweep finds them again if it does not.
-- $2 the longest age of a connection in ms  $3 the most rows of each kind
, old_tickets AS (
    DELETE FROM tickets
     -- An array, since for `IN` the planner may read all tickets.
     WHERE hash = ANY (ARRAY(SELECT hash FROM tickets WHERE expires_at <= (SELECT now_ms FROM clock) LIMIT $3))
    RETURNING 1
),
-- API Gateway closed these long ago, but their `$disconnect` was lost.
old_connections AS (
    DELETE FROM connections
     WHERE id = ANY (ARRAY(SELECT id FROM connections WHERE connected_at <= (SELECT now_ms FROM clock) - $2 LIMIT $3))
    RETURNING 1
),
expired AS (
    SELECT id, user_id, connected_at, token_expires_at FROM connections
     -- Subqueries, since a join with the clock would also read all live connections.
     WHERE token_expires_at <= (SELECT now_ms FROM clock)
       AND connected_at > (SELECT now_ms FROM clock) - $2
    UNION
    -- Those of revoked tokens that opened while these were revoked.
    SELECT c.id, c.user_id, c.connected_at, c.token_expires_at
      FROM revocations r JOIN connections c ON c.user_id = r.user_id
     -- Not the time of `clock`, which the planner does not know: it would expect a third of all revocations, and read all
     -- connections. The time of the transaction is no later.
     WHERE r.revoked_at >= coalesce($1, floor(extract(epoch FROM now()) * 1000)::bigint) - $2
       AND coalesce(c.token_issued_at <= r.revoked_at / 1000, true)
     ORDER BY token_expires_at LIMIT $3
)
-- At least one row, since each says how many were deleted: at the limit, the caller sweeps again.
SELECT expired.*,
       greatest((SELECT count(*) FROM old_tickets), (SELECT count(*) FROM old_connections)) AS forgotten
  FROM (SELECT) AS once LEFT JOIN expired ON true
