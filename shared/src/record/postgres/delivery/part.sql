-- Materialises some recipients of a send that this transaction has stored, or one of whose chunks it has locked.
-- Continues with recipients.sql, rings.sql, and materialise.sql or collapse.sql.
-- $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id: as there
, send AS (
    SELECT *, true AS may_be_late FROM sends WHERE id = $6
),
