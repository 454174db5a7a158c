-- The end of a statement that begins with `examined`: counts for each of these sends in which state its notifications
-- are. `State` in shared/src/inbox/history.rs defines the states; the first that fits counts.
-- ?1 the time
-- One row for each recipient with a row, or for several without one.
, recipient_states AS (
    -- Recipients with a row. A deleted row is settled if its user deleted it, and expired if its tombstone was made
    -- because of its expiry, so that `deleted_at` is not before `expires_at`.
    SELECT n.send_id,
           CASE WHEN n.collapsed_at IS NOT NULL THEN 'expired'
                WHEN n.read_at IS NOT NULL OR n.deleted_at < coalesce(n.expires_at, n.deleted_at + 1)
                  OR inboxes.acked >= n."offset" THEN 'settled'
                WHEN n.expires_at <= ?1 THEN 'expired'
                WHEN dead.id IS NOT NULL THEN 'dead'
                WHEN n.offered_at IS NOT NULL THEN 'offered'
                ELSE 'waiting' END AS state, 1 AS recipients
      FROM examined JOIN notifications n ON n.send_id = examined.id JOIN inboxes ON inboxes.user_id = n.user_id
           LEFT JOIN dead_letters dead
             ON dead.send_id = n.send_id AND dead.user_id = n.user_id AND dead."offset" = n."offset"
    UNION ALL
    -- Recipients that have no row yet, or never will. Waiting chunks of an expired send can only expire.
    SELECT c.send_id, CASE WHEN c.state = 'expired' OR examined.expires_at <= ?1 THEN 'expired' ELSE 'waiting' END,
           json_array_length(c.recipients)
      FROM examined JOIN send_chunks c ON c.send_id = examined.id
     WHERE c.state IN ('waiting', 'expired')
    UNION ALL
    -- Recipients that were dead-lettered before they got a row. A dead-lettered push counts 0 here.
    SELECT d.send_id, 'dead', d.recipients FROM examined JOIN dead_letters d ON d.send_id = examined.id
),
states AS (
    SELECT send_id, coalesce(sum(recipients) FILTER (WHERE state = 'settled'), 0) AS settled,
           coalesce(sum(recipients) FILTER (WHERE state = 'expired'), 0) AS expired,
           coalesce(sum(recipients) FILTER (WHERE state = 'dead'), 0) AS dead,
           coalesce(sum(recipients) FILTER (WHERE state = 'offered'), 0) AS offered,
           coalesce(sum(recipients) FILTER (WHERE state = 'waiting'), 0) AS waiting
      FROM recipient_states GROUP BY send_id
)
-- A send without recipients in any state, as a cancelled one, is listed with zeros.
SELECT examined.id, examined.type, examined.title, examined.created_at, coalesce(settled, 0) AS settled,
       coalesce(expired, 0) AS expired, coalesce(dead, 0) AS dead, coalesce(offered, 0) AS offered,
       coalesce(waiting, 0) AS waiting
  FROM examined LEFT JOIN states ON states.send_id = examined.id
 ORDER BY examined.created_at DESC, examined.id DESC
