-- A record that goes with its import leaves phones, and what they send of it later stays with its author as a draft. That it went so was told by the
-- state of its import's row alone; whoever saves a street's writes notes it here, whatever asked for it.
create table unmade_record (
    street text not null references street,
    record uuid not null,
    primary key (street, record)
);
insert into unmade_record (street, record)
select distinct street, record from roll_import_row i
where state = 'undone' and record is not null
  and not exists (select from record r where r.street = i.street and r.record = i.record);
