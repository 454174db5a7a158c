-- Gives the role that has just migrated the settings that functions rely on: in this database, and only as far as
-- neither the server nor the database nor the role sets them. Left to the operator where another role may write:
-- migrations/roles.sql. Settings of a role cost no round trip, and hold behind any pooler.
DO $$
DECLARE
    setting record;
BEGIN
    IF EXISTS (
        SELECT FROM pg_class AS tables, aclexplode(tables.relacl) AS granted
         WHERE tables.oid = 'sends'::regclass AND granted.privilege_type = 'INSERT'
           AND granted.grantee <> tables.relowner
    ) THEN
        RETURN;
    END IF;
    -- Two concurrent runs would change the same row of the catalogue.
    PERFORM pg_advisory_xact_lock(hashtext('carillon'), hashtext(current_database()));
    FOR setting IN
        SELECT wanted.name, wanted.value
          FROM pg_settings, (VALUES
                   -- Milliseconds far above what any statement here takes: a longer one waits for a client that hangs.
                   ('statement_timeout', '0', '5000'),
                   ('lock_timeout', '0', '3000'),
                   ('idle_in_transaction_session_timeout', '0', '5000'),
                   -- Compiling a statement takes a hundred times as long as running any statement here.
                   ('jit', 'on', 'off')
               ) AS wanted (name, unless_set, value)
         WHERE pg_settings.name = wanted.name AND pg_settings.reset_val = wanted.unless_set
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %I = %L',
                       session_user, current_database(), setting.name, setting.value);
    END LOOP;
END
$$
