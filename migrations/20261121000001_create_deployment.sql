-- One row that says which history this database holds. A phone's cursor names the epoch; after a restore the epoch is a new one,
-- so that phones notice, pull from the start and send again what the restored server lost.
create table deployment (
    only_row boolean primary key default true check (only_row),
    store_epoch uuid not null,
    -- Identifier of the Postgres cluster the epoch was made on: a dump restored elsewhere is noticed without a hand.
    cluster_id text
);
insert into deployment (store_epoch) values (gen_random_uuid());
