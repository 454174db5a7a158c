-- Creates the role of the functions, or gives the one that exists its password. The rights and settings of
-- migrations/roles.sql follow in the same transaction.
DO $$
BEGIN
    -- Two concurrent runs would create the same role.
    PERFORM pg_advisory_xact_lock(hashtext('carillon'), hashtext(current_database()));
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = :'functions') THEN
        ALTER ROLE :"functions" LOGIN PASSWORD :'password';
    ELSE
        CREATE ROLE :"functions" LOGIN PASSWORD :'password';
    END IF;
END
$$;
