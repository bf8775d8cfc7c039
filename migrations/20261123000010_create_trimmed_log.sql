-- The log's older changes are trimmed once the record's stored document holds them: their bytes are not kept twice. What the document does not
-- tell stays here, a few numbers a change: under which sequence it stood, and whether the server wrote it in a desk's name. In the log one
-- `snapshot` entry stands where the newest trimmed change stood, so that a phone that has not been that far takes the record whole; a server
-- that knows nothing of trimming answers the same.
create table trimmed_log (
    street text not null references street,
    record uuid not null,
    -- Three arrays of one length, one place a change.
    seqs bigint[] not null,
    hashes bytea[] not null,
    composed boolean[] not null,
    primary key (street, record),
    foreign key (street, record) references record on delete cascade
);

-- A compacted record's changes have other hashes in the new generation, and some are gone. Those that were accepted before are known by these, so
-- that a phone whose answer was lost on the way hears “duplicate” and does not write its edit a second time.
create table earlier_change (
    street text not null references street,
    record uuid not null,
    hashes bytea[] not null,
    primary key (street, record),
    foreign key (street, record) references record on delete cascade
);
