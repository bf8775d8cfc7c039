-- Where several servers share a database, one of them runs each background pass for all: whoever holds its lease, which is short and renewed
-- while the pass runs, so that a server that died is followed soon. It also tells when a pass last succeeded, whichever server ran it.
create table pass_lease (
    pass text primary key,
    holder uuid not null,
    held_until timestamptz not null,
    succeeded_at timestamptz
);
