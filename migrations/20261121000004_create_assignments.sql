-- Which grids a user works, as a history: `epoch` counts the changes of one user's scope in one street. A cursor names the scope epoch it
-- was issued under, so the difference between then and now (grids gained, grids lost) can be sent exactly.
create table scope (
    street text not null references street,
    username text not null references account,
    epoch bigint not null,
    primary key (street, username)
);
create table assignment (
    street text not null,
    username text not null references account,
    grid text not null,
    since_epoch bigint not null,
    until_epoch bigint,
    since timestamptz not null,
    until timestamptz,
    primary key (street, username, grid, since_epoch),
    foreign key (street, grid) references grid
);
