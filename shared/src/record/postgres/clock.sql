-- The present time as `clock.now_ms`, in milliseconds since 1970. The macro `sql!` puts this in front of most
-- statements, so
-- $1 is always the time, and files of statements begin with `, name AS (`.
-- $1 a fixed time, or null for the server's clock
-- The clock is materialised so that the whole statement sees one time. `now()` would be when the transaction began,
-- which may be before it waited for locks.
WITH clock AS MATERIALIZED (
    SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
)
