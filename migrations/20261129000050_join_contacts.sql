-- One person who stood twice on one card: which entries became one, and who undid that. Values stay in the record's history, so that nothing about a
-- person stands here that the record has not. That two entries are two people is a duplicate_dismissal whose two records are the card.
create table contact_join (
    street text not null,
    join_id uuid not null,
    record uuid not null,
    -- The entry that goes on, and the one that went.
    kept uuid not null,
    gone uuid not null,
    reasons text[] not null,
    note text not null,
    username text not null,
    device uuid not null,
    -- Epoch of the actors that write for this joining and for nothing else.
    epoch bigint not null,
    joined_at timestamptz not null,
    undone_by text,
    undone_note text,
    undone_at timestamptz,
    primary key (street, join_id),
    foreign key (street, record) references record on delete cascade
);
create index contact_join_of_record on contact_join (street, record);
