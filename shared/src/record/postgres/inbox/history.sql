-- The end of a statement that begins with `clock` and `examined`: counts for each of these sends in which state its
-- notifications are, at one instant. `State` in shared/src/inbox/history.rs defines the states; the first that fits
-- counts.
SELECT examined.id, examined.type, examined.title, examined.created_at,
       materialised.settled, materialised.offered, materialised.dead + dead_lettered.recipients AS dead,
       -- Waiting chunks of an expired send can only expire.
       materialised.expired + in_chunks.expired
           + CASE WHEN examined.expires_at <= clock.now_ms THEN in_chunks.waiting ELSE 0 END AS expired,
       materialised.waiting + CASE WHEN examined.expires_at <= clock.now_ms THEN 0 ELSE in_chunks.waiting END AS waiting
  FROM clock, examined
 -- Recipients with a row. LATERAL, so that the rows of each send are found by an index.
 CROSS JOIN LATERAL (
     SELECT count(*) FILTER (WHERE state = 'settled') AS settled, count(*) FILTER (WHERE state = 'expired') AS expired,
            count(*) FILTER (WHERE state = 'dead') AS dead,
            count(*) FILTER (WHERE state = 'offered') AS offered, count(*) FILTER (WHERE state = 'waiting') AS waiting
       -- A deleted row is settled if its user deleted it, and expired if its tombstone was made because of its expiry,
       -- so that `deleted_at` is not before `expires_at`.
       FROM (SELECT CASE WHEN n.collapsed_at IS NOT NULL THEN 'expired'
                         WHEN n.read_at IS NOT NULL OR n.deleted_at < coalesce(n.expires_at, n.deleted_at + 1)
                           OR inboxes.acked >= n."offset" THEN 'settled'
                         WHEN n.expires_at <= clock.now_ms THEN 'expired'
                         WHEN dead.id IS NOT NULL THEN 'dead'
                         WHEN n.offered_at IS NOT NULL THEN 'offered'
                         ELSE 'waiting' END AS state
               FROM notifications n JOIN inboxes ON inboxes.user_id = n.user_id
                    LEFT JOIN dead_letters dead
                      ON dead.send_id = examined.id AND dead.user_id = n.user_id AND dead."offset" = n."offset"
              WHERE n.send_id = examined.id) AS recipient_states
 ) AS materialised
 -- Recipients that have no row yet, or never will.
 CROSS JOIN LATERAL (
     SELECT coalesce(sum(recipients) FILTER (WHERE state = 'waiting'), 0)::bigint AS waiting,
            coalesce(sum(recipients) FILTER (WHERE state = 'expired'), 0)::bigint AS expired
       FROM (SELECT json_array_length(c.recipients::json) AS recipients, c.state
               FROM send_chunks c
              WHERE c.send_id = examined.id AND c.state IN ('waiting', 'expired')) AS chunks
 ) AS in_chunks
 -- Recipients that were dead-lettered before they got a row. A dead-lettered push counts 0 here.
 CROSS JOIN LATERAL (
     SELECT coalesce(sum(d.recipients), 0)::bigint AS recipients FROM dead_letters d WHERE d.send_id = examined.id
 ) AS dead_lettered
 ORDER BY examined.created_at DESC, examined.id DESC
