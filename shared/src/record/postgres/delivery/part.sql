-- Materialises some recipients of a send that this transaction has stored, or of whose chunks it holds one.
-- $2 users  $3 notification ids  $4 type  $5 grace_ms  $6 send id: as in materialise.sql and collapse.sql
, send AS (
    SELECT *, true AS may_be_late FROM sends WHERE id = $6
),
