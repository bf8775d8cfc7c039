-- What a reviewer decided about a held change: it stays as a row, so that the phone that sends it again gets the final word. Once it is decided
-- the bytes are of use to nobody: the log or the author's draft has them.
alter table held_change add column status text not null default 'held' check (status in ('held', 'accepted', 'refused'));
alter table held_change add column decided_by text;
alter table held_change add column decided_at timestamptz;
alter table held_change add column note text;
alter table held_change add column seq bigint;
-- In the order of arrival: of two changes of one request the first may be what the second builds on.
alter table held_change add column position bigint generated always as identity;
create index held_change_open on held_change (street, received_at) where status = 'held';
create index held_change_of_device on held_change (street, device) where status = 'held';
