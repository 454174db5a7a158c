-- How the notifications of `recipients` (user_id, id, type, priority, channels, expires_at) ring.
-- `is_silent`: open devices do not, by the channels of the send or the preferences of the user.
-- `web_push_at`: null for users without a subscription. At once for users without a connection and for silent
-- notifications; otherwise it is the time until which a device may acknowledge the notification, 10 s or 60 s. Whether
-- the user wants it, and whether it waits for others, the drain decides then.
rings AS MATERIALIZED (
    SELECT rung.id, rung.is_silent,
           CASE WHEN rung.may_push THEN
               rung.now_ms + CASE WHEN rung.is_silent OR NOT EXISTS (
                                           SELECT FROM connections c
                                            WHERE c.user_id = rung.user_id AND c.token_expires_at > rung.now_ms) THEN 0
                                  WHEN rung.priority IN ('high', 'critical') THEN 10000
                                  ELSE 60000 END
           END AS web_push_at
      FROM (SELECT recipients.id, recipients.user_id, recipients.priority, clock.now_ms,
                   recipients.channels IS NOT DISTINCT FROM 'push'
                       OR recipients.priority <> 'critical'
                          AND NOT coalesce((p.types::json -> recipients.type ->> 'realtime')::boolean,
                                           (p.types::json -> '*' ->> 'realtime')::boolean, true) AS is_silent,
                   recipients.channels IS DISTINCT FROM 'realtime'
                       AND coalesce(recipients.expires_at > clock.now_ms, true)
                       AND EXISTS (SELECT FROM push_subscriptions s WHERE s.user_id = recipients.user_id) AS may_push
              FROM clock, recipients LEFT JOIN preferences p ON p.user_id = recipients.user_id) AS rung
),
