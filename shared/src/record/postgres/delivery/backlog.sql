-- Counts what waits. Settled rows and chunks are in neither of the two partial indexes that this reads, so they cost
-- nothing.
, pushes AS (
    SELECT count(*) AS waiting, min(push_at) AS due_at FROM notifications WHERE push_at IS NOT NULL
),
-- Recipients without a row. Those of due chunks wait; those of later chunks are delayed.
chunks AS (
    SELECT coalesce(sum(recipients) FILTER (WHERE due_at <= now_ms), 0)::bigint AS waiting,
           coalesce(sum(recipients) FILTER (WHERE due_at > now_ms), 0)::bigint AS delayed,
           min(due_at) AS due_at
      FROM clock,
           (SELECT json_array_length(recipients::json) AS recipients, due_at
              FROM send_chunks WHERE state = 'waiting') AS waiting_chunks
)
SELECT pushes.waiting + chunks.waiting AS waiting,
       chunks.delayed,
       (SELECT count(*) FROM dead_letters) AS dead_letters,
       -- `least` and `greatest` ignore nulls: without any due time this is 0.
       greatest(0, clock.now_ms - least(pushes.due_at, chunks.due_at)) AS oldest_ms
  FROM clock, pushes, chunks
