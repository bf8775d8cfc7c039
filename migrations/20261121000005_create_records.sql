-- The store of record: register state (what MERGE folds), the snapshot a phone downloads, and the log of everything accepted.
create table record (
    street text not null references street,
    record uuid not null,
    kind text not null,
    grid text not null,
    generation integer not null,
    -- Sequence of the newest log entry that touched the record, and of the entry that brought it into its present grid.
    seq bigint not null,
    grid_seq bigint not null,
    -- sync-core's RegisterState, versioned by its first byte.
    state bytea not null,
    -- Automerge's own format; holds every change up to `snapshot_seq` and may lag behind the log.
    snapshot bytea,
    snapshot_seq bigint not null default 0,
    -- Set where Automerge's reading of the document differed from the register state: the record is not refreshed any more.
    disputed_at timestamptz,
    primary key (street, record),
    foreign key (street, grid) references grid
);
create index record_by_grid on record (street, grid, seq);
create index record_behind on record (street, seq) where seq > snapshot_seq and disputed_at is null;

create table change_log (
    street text not null references street,
    seq bigint not null,
    type text not null check (type in ('change', 'snapshot', 'leave', 'erase', 'wipe')),
    record uuid not null,
    generation integer not null,
    -- The grid whose phones see the entry: for `leave` the grid that the record left.
    grid text not null,
    hash bytea,
    device uuid,
    bytes bytea,
    received_at timestamptz not null,
    primary key (street, seq)
);
create unique index change_log_once on change_log (street, record, generation, hash) where type = 'change';
create index change_log_by_record on change_log (street, record, seq);
create index change_log_leaves on change_log (street, grid, seq) where type = 'leave';

-- Edits that arrived after their author lost the grid: kept, visible, waiting for a reviewer.
create table held_change (
    street text not null references street,
    held uuid not null,
    record uuid not null,
    kind text not null,
    generation integer not null,
    hash bytea not null,
    bytes bytea not null,
    device uuid not null,
    username text not null,
    reason text not null,
    received_at timestamptz not null,
    primary key (street, held)
);
create unique index held_change_once on held_change (street, record, generation, hash);
