-- Imported rolls: what the office's own sheet said, cell by cell, beside the card it became. A second import finds its rows by `identity`.
create table custom_field (
    street text not null references street,
    name text not null,
    label text not null,
    type text not null check (type in ('text', 'date', 'number', 'choice')),
    class text not null check (class in ('P0', 'P1')),
    primary key (street, name)
);
create table roll_import (
    street text not null references street,
    import uuid not null,
    file_name text not null,
    file_hash bytea not null,
    device uuid not null,
    imported_at timestamptz not null,
    rows integer not null,
    created integer not null,
    primary key (street, import)
);
create table roll_import_row (
    street text not null,
    import uuid not null,
    row_number integer not null,
    -- Hash of what makes two rows the same row: see sync-core or the server's roll import.
    identity bytea not null,
    record uuid,
    -- Every cell as it stood in the sheet: [[heading, text], …].
    cells jsonb not null,
    problems jsonb not null,
    primary key (street, import, row_number),
    foreign key (street, import) references roll_import
);
create index roll_import_row_by_identity on roll_import_row (street, identity);
create index roll_import_row_by_record on roll_import_row (street, record);
