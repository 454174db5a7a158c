-- Those of these sends that are in no inbox any more, and in none to come.
-- $1 send ids
SELECT s.id FROM sends s
 WHERE s.id = ANY ($1)
   AND NOT EXISTS (SELECT FROM notifications n WHERE n.send_id = s.id)
   AND NOT EXISTS (SELECT FROM send_chunks c WHERE c.send_id = s.id AND c.state = 'waiting' AND c.recipients <> '[]')
   AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.send_id = s.id AND d.recipients > 0)
