-- How much waits: what is settled stands in neither index.
, pushes AS (
    SELECT count(*) AS waiting, min(push_at) AS due_at FROM notifications WHERE push_at IS NOT NULL
),
chunks AS (
    SELECT coalesce(sum(recipients) FILTER (WHERE due_at <= now_ms), 0)::bigint AS waiting,
           coalesce(sum(recipients) FILTER (WHERE due_at > now_ms), 0)::bigint AS delayed,
           min(due_at) AS due_at
      FROM clock,
           (SELECT json_array_length(recipients::json) AS recipients, due_at
              FROM send_chunks WHERE state = 'waiting') AS waiting
)
SELECT pushes.waiting + chunks.waiting AS waiting,
       chunks.delayed,
       (SELECT count(*) FROM dead_letters) AS dead_letters,
       -- `least` skips what is null, `greatest` too.
       greatest(0, clock.now_ms - least(pushes.due_at, chunks.due_at)) AS oldest_ms
  FROM clock, pushes, chunks
