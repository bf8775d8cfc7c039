-- An import is a proposal first: every row with what it would change, decided by a person, written in parts, taken back as a whole. And what an
-- export said is kept, as fingerprints, so that a workbook that comes back is compared with what its author had seen, not with today's roll.
alter table roll_import
    -- proposed, applying, applied, undoing, undone, dropped. A release before this one writes none of these.
    add column status text not null default 'applied',
    add column username text not null default '',
    -- The sheet, its columns, what is doubtful beyond single rows, the grid of rows without one, and how columns are taken.
    add column plan jsonb not null default '{}',
    -- The street's head when it was proposed: what came later was not seen by whoever decides.
    add column base_seq bigint not null default 0;

alter table roll_import_row
    -- unchanged, update, new, likely_same, ambiguous, skipped.
    add column outcome text not null default 'new',
    -- open, chosen, written, unchanged, refused, undoing, undone, kept.
    add column state text not null default 'written',
    -- What the row says, what it would change, what stood there before; forgotten with the cells.
    add column content jsonb not null default '{}',
    -- The head of the export that the row came from; null: the sheet is from elsewhere.
    add column seen bigint,
    -- The change that wrote it.
    add column hash bytea,
    add column seq bigint;
create index roll_import_row_pending on roll_import_row (street, import, row_number) where state in ('chosen', 'undoing');
create index roll_import_row_by_hash on roll_import_row (street, record, hash) where hash is not null;

create table roll_export (
    street text not null references street,
    export uuid not null,
    -- The street's head that the file shows.
    head bigint not null,
    exported_at timestamptz not null,
    username text not null,
    -- [[key, heading], …] from the left.
    columns jsonb not null,
    primary key (street, export)
);
create table roll_export_row (
    street text not null,
    export uuid not null,
    record uuid not null,
    -- Six bytes a column: a fingerprint of what the cell said.
    said bytea not null,
    -- The contact persons in the order of their lines, sixteen bytes each, and six bytes for each of their columns.
    entries bytea not null,
    lines bytea not null,
    primary key (street, export, record),
    foreign key (street, export) references roll_export on delete cascade
);
create index roll_export_row_by_record on roll_export_row (street, record);
