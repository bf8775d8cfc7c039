-- What a street's admin imported of the yearly notices of public holidays: terms of transfers count working days by it. The program ships the
-- years that it knew; a row here goes before what is shipped, and `ordinary` takes a shipped day back.
create table calendar_day (
    street text not null references street,
    day date not null,
    kind text not null check (kind in ('holiday', 'workday', 'ordinary')),
    primary key (street, day)
);
