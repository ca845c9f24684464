-- Runs once, on an empty volume: one role and one schema a service, with the passwords of .env.
-- After a change of passwords: docker compose exec postgres psql -U postgres optimizer -f /docker-entrypoint-initdb.d/10-roles.sql
\getenv gateway POSTGRES_GATEWAY_PASSWORD
\getenv router POSTGRES_ROUTER_PASSWORD
\getenv experiments POSTGRES_EXPERIMENTS_PASSWORD
\getenv metrics POSTGRES_METRICS_PASSWORD

-- \gset: psql would print the passwords otherwise
SELECT set_config('optimizer.gateway_password', :'gateway', false) AS gateway,
       set_config('optimizer.router_password', :'router', false) AS router,
       set_config('optimizer.experiments_password', :'experiments', false) AS experiments,
       set_config('optimizer.metrics_password', :'metrics', false) AS metrics \gset

\i /etc/optimizer/roles.sql
