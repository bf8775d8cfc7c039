-- A choice between concurrent values is remembered with the values that were not chosen, whoever made it and wherever: so that it can be undone,
-- so that nobody's value goes without a word, and so that "why does this row say that?" has an answer. These rows hold personal values:
-- whatever forgets a record, an entry or a field deletes them by `record` and `field`.
create table resolution (
    street text not null references street,
    resolution uuid not null,
    record uuid not null,
    field text not null,
    -- The change that settled it, and its operation as counter@actor; both hold within this generation only.
    seq bigint not null,
    generation integer not null,
    hash bytea not null,
    op text not null,
    -- Null: the field was cleared.
    chosen jsonb,
    -- An array: every value that was replaced, with operation, author, device and both clocks, and after an undo the operation that put it back.
    replaced jsonb not null,
    note text not null,
    source text not null check (source in ('phone', 'desk', 'server')),
    username text,
    device uuid not null,
    at timestamptz not null,
    -- Settled together with others, and of which class they were.
    bulk uuid,
    class text,
    undone_at timestamptz,
    undone_by text,
    primary key (street, resolution),
    foreign key (street, record) references record on delete cascade
);
create index resolution_newest on resolution (street, seq desc);
create index resolution_by_record on resolution (street, record, field);
create index resolution_by_bulk on resolution (street, bulk) where bulk is not null;

-- What a user is to know and no record says; sent with the next synchronisation of each of their phones whose cursor lies before `seq`.
create table notice (
    street text not null references street,
    notice uuid not null,
    seq bigint not null,
    username text not null,
    kind text not null,
    record uuid not null,
    field text,
    -- The change that brought it about, the role of whoever acted, and a remark; never a value.
    detail jsonb not null,
    created_at timestamptz not null,
    primary key (street, notice)
);
create index notice_by_user on notice (street, username, seq);
create index notice_by_record on notice (street, record);

-- The class of a harmless conflict and the value that loses nothing, so that the inbox can be filtered and paged by class. Rows that are there
-- already get theirs with the record's next change, or by `lianka rebuild`.
alter table field_conflict add column class text, add column suggestion jsonb;
create index field_conflict_by_class on field_conflict (street, class, field) where class is not null;
