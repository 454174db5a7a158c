-- Gives the notifications of sends to their copies. Offsets and versions stay, so no inbox changes.
-- $1 old ids  $2 new ids
-- One order for all, since a concurrent call may do the same with other sends of these inboxes.
WITH locked AS MATERIALIZED (
    SELECT n.user_id, n."offset", moved.new_id
      FROM unnest($1::uuid[], $2::uuid[]) AS moved (old_id, new_id) JOIN notifications n ON n.send_id = moved.old_id
     ORDER BY n.user_id, n."offset"
       FOR NO KEY UPDATE OF n
)
UPDATE notifications AS n SET send_id = locked.new_id
  FROM locked WHERE n.user_id = locked.user_id AND n."offset" = locked."offset"
