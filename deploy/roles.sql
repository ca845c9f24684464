-- One role and one schema a service: a service sees its own tables and nobody else's.
--
-- Run it on the product's database, as a superuser or as a role with CREATEROLE that owns the
-- database. Running it again changes nothing but the passwords. A password comes as the setting
-- `optimizer.<role>_password` of the session; none leaves that role's password as it is:
--
--   SELECT set_config('optimizer.router_password', :'router_password', false);  -- psql -v
--   \i roles.sql

DO $roles$
DECLARE
    role_name  text;
    password   text;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC;

    FOREACH role_name IN ARRAY ARRAY['gateway', 'router', 'experiments', 'metrics'] LOOP
        IF to_regrole(role_name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', role_name);
        END IF;
        password := current_setting(format('optimizer.%s_password', role_name), true);
        IF coalesce(password, '') <> '' THEN
            EXECUTE format('ALTER ROLE %I PASSWORD %L', role_name, password);
        END IF;
        IF NOT pg_has_role(current_user, role_name, 'SET') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name); -- to give it a schema below
        END IF;

        -- A client that is gone holds nothing for long: an open write transaction holds back
        -- every reader of the ledger. The services have shorter limits of their own.
        EXECUTE format('ALTER ROLE %I SET statement_timeout = ''10min''', role_name);
        EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''60s''', role_name);
        EXECUTE format('ALTER ROLE %I SET client_connection_check_interval = ''5s''', role_name);

        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role_name);
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', role_name, role_name);
        EXECUTE format('ALTER SCHEMA %I OWNER TO %I', role_name, role_name);
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', role_name);
    END LOOP;
END
$roles$;
