-- One row a generation that ended, never written again: a compaction adds to what is known, and does not write all of it anew. What a phone can
-- no longer send is forgotten by age.
alter table earlier_change
    add column generation integer not null default 0,
    add column ended_at timestamptz not null default now(),
    drop constraint earlier_change_pkey,
    add primary key (street, record, generation);
alter table earlier_change
    alter column generation drop default,
    alter column ended_at drop default;
