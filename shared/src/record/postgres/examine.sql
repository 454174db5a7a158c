-- What the server, the database and our role are, for an operator.
-- $1 the names of our tables
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number,
       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS is_superuser,
       EXISTS (
           SELECT FROM pg_class
            WHERE oid = to_regclass('sends') AND pg_get_userbyid(relowner) = current_user
       ) AS is_owner,
       pg_is_in_recovery() AS is_replica,
       pg_encoding_to_char(encoding)::text AS encoding,
       -- A transaction of ours has not changed them here.
       '0' NOT IN (current_setting('statement_timeout'), current_setting('lock_timeout'),
                   current_setting('idle_in_transaction_session_timeout')) AS has_timeouts,
       -- Of tables that exist: others belong to migrations that are missing.
       ARRAY(
           SELECT needed.name || ' on ' || tables.name
             FROM unnest($1::text[]) AS tables (name)
            CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS needed (name)
            WHERE to_regclass(tables.name) IS NOT NULL
              AND NOT has_table_privilege(to_regclass(tables.name), needed.name)
            ORDER BY tables.name, needed.name
       ) AS missing_rights,
       -- Any role sees the user of each connection; background workers have none.
       (SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL) AS connections,
       current_setting('max_connections')::bigint AS max_connections,
       floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS time_ms
  FROM pg_database
 WHERE datname = current_database()
