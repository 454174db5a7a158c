-- Takes a ticket, whatever becomes of it, and registers its connection.
-- $2 hash of the ticket  $3 connection  $4 origin
, ticket AS (
    DELETE FROM tickets WHERE hash = $2 RETURNING user_id, origin, token_expires_at, expires_at
),
valid AS MATERIALIZED (
    SELECT ticket.user_id, ticket.origin, ticket.token_expires_at, clock.now_ms
      FROM ticket, clock
     WHERE ticket.expires_at > clock.now_ms AND ticket.token_expires_at > clock.now_ms
),
opened AS (
    INSERT INTO connections (id, user_id, origin, connected_at, token_expires_at)
    SELECT $3, user_id, origin, now_ms, token_expires_at FROM valid WHERE origin IS NOT DISTINCT FROM $4
    RETURNING user_id
)
SELECT (SELECT count(*) FROM valid) AS valid, (SELECT user_id FROM opened) AS user_id
