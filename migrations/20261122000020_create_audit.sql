-- Who did what, as one hash chain for every street and one for the deployment (`street` = 'deployment'): a row that is changed, removed,
-- inserted or moved breaks the chain behind it. The head stands apart, so that a cut-off end shows, and is the row that writers lock.
-- `detail` is text and not jsonb: the hash covers these very bytes.
create table audit_event (
    street text not null,
    no bigint not null,
    at timestamptz not null,
    username text,
    device uuid,
    action text not null,
    record uuid,
    detail text not null,
    previous bytea not null,
    hash bytea not null,
    primary key (street, no)
);
create index audit_event_by_time on audit_event (street, at);
create index audit_event_by_record on audit_event (street, record, no) where record is not null;
create table audit_head (
    street text primary key,
    no bigint not null,
    hash bytea not null
);
-- Signed checkpoints: the deployment's key signs street, number, hash and time. Events are pruned only up to one, and it stays.
create table audit_seal (
    street text not null,
    no bigint not null,
    hash bytea not null,
    at timestamptz not null,
    kid text not null,
    public_key bytea not null,
    signature bytea not null,
    primary key (street, no)
);
