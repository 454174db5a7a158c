-- The recipients of one send, if there is one, with what decides how their notifications ring.
-- $2 users  $3 notification ids, in the order of the users  $4 type
recipients AS MATERIALIZED (
    SELECT recipient.user_id, recipient.id, $4::text AS type, send.priority, send.channels, send.expires_at
      FROM send, unnest($2::text[], $3::uuid[]) AS recipient (user_id, id)
),
