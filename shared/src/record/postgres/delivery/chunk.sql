-- Materialises one chunk that this transaction has locked. Continues with recipients.sql, rings.sql, and materialise.sql
-- or collapse.sql.
-- $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id: as there
-- $7 number of the chunk
-- No `send`, and so no effect, unless the chunk is still waiting. A newer send may have been materialised while it
-- waited.
, send AS (
    UPDATE send_chunks AS c SET state = 'materialised' FROM sends
     WHERE c.send_id = $6 AND c.n = $7 AND c.state = 'waiting' AND sends.id = $6
    RETURNING sends.id, sends.created_at, sends.due_at, sends.expires_at, sends.collapse_key, sends.priority,
              sends.channels, true AS may_be_late
),
