-- The rights and settings of the role that functions use, if another role migrates the database. `migrate` runs it for the
-- role in FUNCTIONS_DATABASE_URL. By hand, for a role that exists, it is run as the role that migrates, after its first
-- migration; running it again changes nothing:
--
--   psql "$DATABASE_URL" -v functions=carillon_functions -f migrations/roles.sql

-- The functions read and change rows, and nothing else. Tables of later migrations too.
GRANT USAGE ON SCHEMA public TO :"functions";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"functions";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"functions";
-- Which migrations the database has is only read.
REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM :"functions";

-- A function may be frozen or killed at any time, so the server ends what it leaves behind. Milliseconds, far above
-- what any statement takes.
ALTER ROLE :"functions" IN DATABASE :"DBNAME" SET statement_timeout = 5000;
ALTER ROLE :"functions" IN DATABASE :"DBNAME" SET lock_timeout = 3000;
ALTER ROLE :"functions" IN DATABASE :"DBNAME" SET idle_in_transaction_session_timeout = 5000;
-- Compiling a statement takes a hundred times as long as running any statement of the functions.
ALTER ROLE :"functions" IN DATABASE :"DBNAME" SET jit = off;

-- A migration that found no other role has given these to its own.
ALTER ROLE CURRENT_USER IN DATABASE :"DBNAME" RESET statement_timeout;
ALTER ROLE CURRENT_USER IN DATABASE :"DBNAME" RESET lock_timeout;
ALTER ROLE CURRENT_USER IN DATABASE :"DBNAME" RESET idle_in_transaction_session_timeout;
ALTER ROLE CURRENT_USER IN DATABASE :"DBNAME" RESET jit;
