-- One shop entered twice: under which keys cards meet, which pairs the office has looked at, and which cards were merged into which.
alter table shop_card add column merged_into uuid;

-- A read model: what a card is recognised by (see sync-core's duplicate module). Cards that are there already get theirs with the next change
-- of such a field, or by `lianka rebuild`.
create table shop_key (
    street text not null,
    record uuid not null,
    key text not null,
    primary key (street, record, key),
    foreign key (street, record) references record on delete cascade
);
create index shop_key_by_key on shop_key (street, key);

-- Two cards that are two shops. The reasons that were looked at stand beside it: a new one brings the pair back.
create table duplicate_dismissal (
    street text not null,
    pair uuid not null,
    first_record uuid not null,
    second_record uuid not null,
    reasons text[] not null,
    note text not null,
    username text not null,
    dismissed_at timestamptz not null,
    primary key (street, pair),
    foreign key (street, first_record) references record on delete cascade,
    foreign key (street, second_record) references record on delete cascade
);

create table card_merge (
    street text not null,
    merge uuid not null,
    winner uuid not null,
    loser uuid not null,
    reasons text[] not null,
    note text not null,
    username text not null,
    device uuid not null,
    -- Epoch of the actors that write for this merge and for nothing else: so an undo finds what it wrote, whatever was renumbered since.
    epoch bigint not null,
    -- Contact persons of the loser who stood on the winner already: {entry of the loser: entry of the winner}.
    entries jsonb not null,
    merged_at timestamptz not null,
    undone_by text,
    undone_note text,
    undone_at timestamptz,
    primary key (street, merge),
    -- Not to the winner: a card must come back from one that was erased.
    foreign key (street, loser) references record on delete cascade
);
-- A card goes on in one other card, or in none.
create unique index card_merge_of_loser on card_merge (street, loser) where undone_at is null;
create index card_merge_of_winner on card_merge (street, winner);
