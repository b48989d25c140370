-- Databases and roles of the platform. Every statement may run again.
\set ON_ERROR_STOP on
\set nessie_password `cat "$NESSIE_PASSWORD_FILE"`
\set exporter_password `cat "$EXPORTER_PASSWORD_FILE"`

-- A statement that fails is written to the server's log, with the password in it.
SET log_min_error_statement = panic;

SELECT 'CREATE ROLE nessie LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'nessie') \gexec
ALTER ROLE nessie PASSWORD :'nessie_password';

SELECT 'CREATE DATABASE nessie OWNER nessie'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'nessie') \gexec

SELECT 'CREATE ROLE exporter LOGIN'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'exporter') \gexec
ALTER ROLE exporter PASSWORD :'exporter_password';
GRANT pg_monitor TO exporter;
