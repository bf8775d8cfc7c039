-- What an export said of each tag: a cell lists several, and which of them somebody put in or took out is told by one at a time.
alter table roll_export_row
    -- Six bytes a tag, in the order in which the cell listed them.
    add column members bytea not null default '';
