-- Passwords grow old, and one that an admin gave must be changed by its owner. Null: as old as the account.
alter table account add column password_changed_at timestamptz;
alter table account add column password_must_change boolean not null default false;
-- Tries of passwords, counted for all servers together. Usernames that do not exist are counted in a fixed number of buckets, so that
-- nobody can fill the table and an answer tells nothing about who exists.
create table sign_in_try (
    key text primary key,
    tries integer not null,
    last_at timestamptz not null,
    locked_until timestamptz
);
