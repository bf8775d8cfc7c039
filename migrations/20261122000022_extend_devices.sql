-- What a phone last told of itself, whether it says that it has cleared itself, and how often two copies of it wrote under one name.
alter table device add column unsent integer;
alter table device add column held integer;
alter table device add column clock_skew_ms bigint;
alter table device add column wiped_reported_at timestamptz;
alter table device add column forks integer not null default 0;
