-- Empties those of these sends that are in no inbox any more, and in none to come. They stay, for their keys.
-- $1 send ids
-- In the order of the ids, as everything locks sends.
WITH unneeded AS MATERIALIZED (
    SELECT s.id FROM sends s
     WHERE s.id = ANY ($1)
       AND NOT EXISTS (SELECT FROM notifications n WHERE n.send_id = s.id)
       AND NOT EXISTS (SELECT FROM send_chunks c WHERE c.send_id = s.id AND c.state = 'waiting')
       AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.send_id = s.id AND d.recipients > 0)
     ORDER BY s.id
       FOR NO KEY UPDATE OF s
)
UPDATE sends AS s SET title = '', body = NULL, data = '{}', action_url = NULL FROM unneeded WHERE s.id = unneeded.id
