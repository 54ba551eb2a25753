-- The roles, with the passwords that are mounted now. The image runs it on an empty volume; a
-- person runs it again after a rotation. Any number of times.
\set ON_ERROR_STOP on
\set owner `cat /run/secrets/postgres/auditflow_owner`
\set app `cat /run/secrets/postgres/auditflow_app`
\set archive `cat /run/secrets/postgres/auditflow_archive`
\set reader `cat /run/secrets/postgres/auditflow_reader`
\set monitor `cat /run/secrets/postgres/auditflow_monitor`

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY['auditflow_owner', 'auditflow_app', 'auditflow_archive', 'auditflow_reader',
    'auditflow_monitor']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec

-- The owner makes and migrates; the application gets from the migration what it may touch; the
-- reader is for backups and for people who ask; the monitor sees how the server is, and no data.
ALTER ROLE auditflow_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner';
ALTER ROLE auditflow_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app';
ALTER ROLE auditflow_archive LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'archive';
ALTER ROLE auditflow_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'reader';
ALTER ROLE auditflow_monitor LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 5 PASSWORD :'monitor';
GRANT pg_read_all_data TO auditflow_reader;
GRANT pg_monitor TO auditflow_monitor;

ALTER DATABASE auditflow OWNER TO auditflow_owner;
REVOKE ALL ON DATABASE auditflow FROM PUBLIC;
GRANT CONNECT ON DATABASE auditflow TO auditflow_app, auditflow_archive, auditflow_reader, auditflow_monitor;
-- The archive process creates and migrates the tables of its own schema.
CREATE SCHEMA IF NOT EXISTS archive AUTHORIZATION auditflow_archive;
