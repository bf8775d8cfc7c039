-- What was forgotten, when and by whom: the receipt that stays when the data is gone. It holds ids, codes and counts, and nothing about
-- anybody. `seq` is the log entry that told phones, so that they drop what they still have of it; `hash` is the SHA-256 of the receipt's text.
create table erasure (
    street text not null references street,
    erasure uuid not null,
    seq bigint not null,
    kind text not null check (kind in ('erase', 'redact')),
    record uuid not null,
    -- For `redact`: the contact person's entry, and every entry that went with it.
    entry uuid,
    entries uuid[] not null default '{}',
    -- Whether the note went as well.
    note boolean not null default false,
    reason text not null,
    username text not null,
    at timestamptz not null,
    generation_before integer not null,
    generation_after integer,
    what jsonb not null,
    hash bytea not null,
    primary key (street, erasure)
);
-- The id of an erased record is never used again.
create unique index erasure_of_record on erasure (street, record) where kind = 'erase';
create index erasure_by_seq on erasure (street, seq);
