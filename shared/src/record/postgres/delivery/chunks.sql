-- Materialises several plain chunks, which this transaction has locked, of sends without a collapse key. Continues with
-- rings.sql and chunk_rows.sql.
-- $2 users  $3 notification ids and  $4 send ids, in the order of the users  $5 grace_ms
-- $6 sends of the chunks  $7 numbers of the chunks
, chunks AS (
    UPDATE send_chunks AS c SET state = 'materialised'
      FROM unnest($6::uuid[], $7::integer[]) AS chunk (send_id, n)
     WHERE c.send_id = chunk.send_id AND c.n = chunk.n
),
-- In the order in which they are due. One user may be a recipient of several sends: the last takes the head that the
-- inbox gets here, the others the offsets before it.
recipients AS MATERIALIZED (
    SELECT recipient.user_id, recipient.id, recipient.send_id, recipient.ordinal, sends.type, sends.priority,
           sends.channels, sends.expires_at,
           row_number() OVER (PARTITION BY recipient.user_id ORDER BY recipient.ordinal)
               - count(*) OVER (PARTITION BY recipient.user_id) AS from_head
      FROM unnest($2::text[], $3::uuid[], $4::uuid[]) WITH ORDINALITY AS recipient (user_id, id, send_id, ordinal)
      JOIN sends ON sends.id = recipient.send_id
),
