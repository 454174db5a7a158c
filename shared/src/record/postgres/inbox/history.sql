-- The rest of a statement that begins with `clock` and `examined`: what became of these sends. `State` of history.rs
-- says what the states mean and which comes first.
SELECT examined.id, examined.type, examined.title, examined.created_at,
       arrived.settled, arrived.offered, arrived.dead + aside.recipients AS dead,
       arrived.expired + later.expired + CASE WHEN examined.expires_at <= clock.now_ms THEN later.waiting ELSE 0 END
           AS expired,
       arrived.waiting + CASE WHEN examined.expires_at <= clock.now_ms THEN 0 ELSE later.waiting END AS waiting
  FROM clock, examined
 CROSS JOIN LATERAL (
     SELECT count(*) FILTER (WHERE state = 'settled') AS settled, count(*) FILTER (WHERE state = 'expired') AS expired,
            count(*) FILTER (WHERE state = 'dead') AS dead,
            count(*) FILTER (WHERE state = 'offered') AS offered, count(*) FILTER (WHERE state = 'waiting') AS waiting
       FROM (SELECT CASE WHEN n.collapsed_at IS NOT NULL THEN 'expired'
                         WHEN n.read_at IS NOT NULL OR n.deleted_at < coalesce(n.expires_at, n.deleted_at + 1)
                           OR inboxes.acked >= n."offset" THEN 'settled'
                         WHEN n.expires_at <= clock.now_ms THEN 'expired'
                         WHEN letters.id IS NOT NULL THEN 'dead'
                         WHEN n.offered_at IS NOT NULL THEN 'offered'
                         ELSE 'waiting' END AS state
               FROM notifications n JOIN inboxes ON inboxes.user_id = n.user_id
                    LEFT JOIN dead_letters letters
                      ON letters.send_id = examined.id AND letters.user_id = n.user_id AND letters."offset" = n."offset"
              WHERE n.send_id = examined.id) AS states
 ) AS arrived
 -- Recipients without a row, yet or for ever.
 CROSS JOIN LATERAL (
     SELECT coalesce(sum(recipients) FILTER (WHERE state = 'waiting'), 0)::bigint AS waiting,
            coalesce(sum(recipients) FILTER (WHERE state = 'expired'), 0)::bigint AS expired
       FROM (SELECT json_array_length(c.recipients::json) AS recipients, c.state
               FROM send_chunks c
              WHERE c.send_id = examined.id AND c.state IN ('waiting', 'expired')) AS kept
 ) AS later
 -- Recipients who were set aside before they got one.
 CROSS JOIN LATERAL (
     SELECT coalesce(sum(d.recipients), 0)::bigint AS recipients FROM dead_letters d WHERE d.send_id = examined.id
 ) AS aside
 ORDER BY examined.created_at DESC, examined.id DESC
