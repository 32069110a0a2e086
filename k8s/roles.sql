-- Written by `make generate` from stack.yml. The migration makes these roles itself where it may (CREATEROLE).
-- Where it may not, an administrator applies this before, with the passwords that `python -m tools.install` made:
--   psql -v auth=... -v order=... ... -f k8s/roles.sql

SELECT 'CREATE ROLE "auth"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'auth') \gexec
ALTER ROLE "auth" LOGIN PASSWORD :'auth';
ALTER ROLE "auth" SET search_path = "auth";
ALTER ROLE "auth" SET statement_timeout = '5s';
ALTER ROLE "auth" SET lock_timeout = '2s';
ALTER ROLE "auth" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "order"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'order') \gexec
ALTER ROLE "order" LOGIN PASSWORD :'order';
ALTER ROLE "order" SET search_path = "order";
ALTER ROLE "order" SET statement_timeout = '5s';
ALTER ROLE "order" SET lock_timeout = '2s';
ALTER ROLE "order" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "pay"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pay') \gexec
ALTER ROLE "pay" LOGIN PASSWORD :'pay';
ALTER ROLE "pay" SET search_path = "pay";
ALTER ROLE "pay" SET statement_timeout = '5s';
ALTER ROLE "pay" SET lock_timeout = '2s';
ALTER ROLE "pay" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "billing"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'billing') \gexec
ALTER ROLE "billing" LOGIN PASSWORD :'billing';
ALTER ROLE "billing" SET search_path = "billing";
ALTER ROLE "billing" SET statement_timeout = '5s';
ALTER ROLE "billing" SET lock_timeout = '2s';
ALTER ROLE "billing" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "store"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'store') \gexec
ALTER ROLE "store" LOGIN PASSWORD :'store';
ALTER ROLE "store" SET search_path = "store";
ALTER ROLE "store" SET statement_timeout = '5s';
ALTER ROLE "store" SET lock_timeout = '2s';
ALTER ROLE "store" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "delivery"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'delivery') \gexec
ALTER ROLE "delivery" LOGIN PASSWORD :'delivery';
ALTER ROLE "delivery" SET search_path = "delivery";
ALTER ROLE "delivery" SET statement_timeout = '5s';
ALTER ROLE "delivery" SET lock_timeout = '2s';
ALTER ROLE "delivery" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "notification"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'notification') \gexec
ALTER ROLE "notification" LOGIN PASSWORD :'notification';
ALTER ROLE "notification" SET search_path = "notification";
ALTER ROLE "notification" SET statement_timeout = '5s';
ALTER ROLE "notification" SET lock_timeout = '2s';
ALTER ROLE "notification" SET idle_in_transaction_session_timeout = '15s';

SELECT 'CREATE ROLE "ops"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ops') \gexec
ALTER ROLE "ops" LOGIN PASSWORD :'ops';
ALTER ROLE "ops" SET search_path = "ops";
ALTER ROLE "ops" SET statement_timeout = '5s';
ALTER ROLE "ops" SET lock_timeout = '2s';
ALTER ROLE "ops" SET idle_in_transaction_session_timeout = '15s';
