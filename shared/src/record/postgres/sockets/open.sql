-- Takes a ticket and registers its connection, atomically. A refused ticket is spent too. Returns one row: `valid` is 1
-- if the ticket was in time and its token was not revoked, and `user_id` is null unless the connection is registered.
-- $2 hash of the ticket  $3 connection id  $4 origin, or null  $5 whether any ticket fits if it is null
-- Of concurrent deletions only one returns the row, so a ticket opens one connection.
, ticket AS (
    DELETE FROM tickets WHERE hash = $2 RETURNING user_id, origin, token_issued_at, token_expires_at, expires_at
),
valid AS MATERIALIZED (
    SELECT ticket.user_id, ticket.origin, ticket.token_issued_at, ticket.token_expires_at, clock.now_ms
      FROM ticket, clock
     WHERE ticket.expires_at > clock.now_ms AND ticket.token_expires_at > clock.now_ms
       AND NOT EXISTS (
           SELECT FROM revocations r
            -- Its index has the collation of the database, unlike the user ids of other tables.
            WHERE r.user_id = ticket.user_id COLLATE "default"
              AND coalesce(ticket.token_issued_at <= r.revoked_at / 1000, true))
),
-- A ticket without an origin is for clients that send none, hence not `=`, which is never true for nulls.
opened AS (
    INSERT INTO connections (id, user_id, origin, connected_at, token_expires_at, token_issued_at)
    SELECT $3, user_id, origin, now_ms, token_expires_at, token_issued_at FROM valid
     WHERE origin IS NOT DISTINCT FROM $4 OR ($4 IS NULL AND $5)
    RETURNING user_id
)
SELECT (SELECT count(*) FROM valid) AS valid, (SELECT user_id FROM opened) AS user_id
