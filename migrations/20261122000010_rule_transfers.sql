-- Where every transfer stands, its events with their rulings, and what only the office may know of it. `transfer` and `transfer_event` are read
-- models like the others; `transfer_personal` is not: what it holds has left the record for good.
alter table transfer add column state text not null default 'draft';
alter table transfer add column state_since timestamptz;
alter table transfer add column open boolean not null default false;
-- When the term of the state is over, and when the server's clock has something to do about it (null: nothing, or it has done it).
alter table transfer add column due_at timestamptz;
alter table transfer add column clock_at timestamptz;
alter table transfer add column submitted_at timestamptz;
alter table transfer add column revision integer not null default 0;
alter table transfer add column responsible text not null default 'origin' check (responsible in ('origin', 'target'));
-- Who has to act next: secretary, officer, second_officer, origin, member, nobody.
alter table transfer add column acting text not null default 'secretary';
alter table transfer add column letter_no text;
alter table transfer add column letter_expires_on date;
alter table transfer add column branch text;
alter table transfer add column accepted_on date;
alter table transfer add column expiry_proposed boolean not null default false;
alter table transfer add column open_tasks integer not null default 0;
alter table transfer add column pending integer not null default 0;
create index transfer_queue on transfer (street, state, due_at);
create index transfer_clock on transfer (clock_at) where clock_at is not null;
create index transfer_letter on transfer (street, letter_no) where open;

create table transfer_event (
    street text not null,
    record uuid not null,
    event uuid not null,
    -- Order of the ruling, from 1; null: not ruled on yet.
    no integer,
    type text not null,
    seen uuid,
    -- The fields of the event's form.
    fields jsonb not null,
    device uuid not null,
    device_time timestamptz,
    received_at timestamptz not null,
    outcome text,
    code text,
    state text,
    ruled_at timestamptz,
    username text,
    primary key (street, record, event),
    foreign key (street, record) references record on delete cascade
);
create index transfer_event_by_type on transfer_event (street, type);

-- Sensitive fields (P3) of submitted requests, one row a revision: `fields` holds for each name the values there were, the chosen one last.
-- They leave the record, its history and every phone when the submission is ruled on; an officer reads them here, and the audit trail says so.
create table transfer_personal (
    street text not null,
    record uuid not null,
    revision integer not null,
    fields jsonb not null,
    sealed_at timestamptz not null,
    primary key (street, record, revision),
    foreign key (street, record) references record on delete cascade
);
