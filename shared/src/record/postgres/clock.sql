-- What statements begin with that need the present time: `clock.now_ms`, in milliseconds since 1970.
-- $1 a fixed time, or null for the server's clock
WITH clock AS MATERIALIZED (
    SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
)
