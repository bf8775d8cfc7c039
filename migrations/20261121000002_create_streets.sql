-- The tenant and its geography. `head_seq` is the street's log head: it is raised under the row lock inside the write transaction, so
-- sequence numbers are assigned in commit order.
create table street (
    street text primary key check (street ~ '^[0-9]{9}$'),
    name text not null,
    district text not null,
    head_seq bigint not null default 0,
    created_at timestamptz not null
);
create table grid (
    street text not null references street,
    grid text not null,
    name text not null,
    area text not null,
    primary key (street, grid)
);
create table road (
    street text not null references street,
    road text not null,
    primary key (street, road)
);
