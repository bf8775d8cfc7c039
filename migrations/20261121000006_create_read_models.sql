-- What a street office queries. Everything here can be rebuilt from `record` (`lianka rebuild`) and equals the rebuild at any time.
create table shop_card (
    street text not null,
    record uuid not null,
    grid text not null,
    generation integer not null,
    seq bigint not null,
    sign_name text,
    legal_name text,
    credit_code text,
    category text,
    road text,
    number text,
    number_suffix text,
    lane text,
    unit text,
    address_raw text,
    -- Walking order along the road: house number as a number, and the side of the street it stands on.
    number_order integer,
    side text check (side in ('odd', 'even')),
    point_lat double precision,
    point_lon double precision,
    point_crs text,
    point_accuracy_m double precision,
    occupancy text,
    occupancy_observed_on date,
    opening_hours text,
    note text,
    last_confirmed_on date,
    custom jsonb not null default '{}',
    conflict_count integer not null,
    -- Names, address and their pinyin, folded for lookup by substring; see sync-core's search module.
    search text not null,
    primary key (street, record),
    foreign key (street, record) references record on delete cascade
);
create index shop_card_by_road on shop_card (street, road, side, number_order);
create index shop_card_by_grid on shop_card (street, grid);

create table shop_contact (
    street text not null,
    record uuid not null,
    entry uuid not null,
    name text,
    phones text,
    role text,
    preferred_time text,
    party_status text,
    primary key (street, record, entry),
    foreign key (street, record) references record on delete cascade
);
create table shop_consent (
    street text not null,
    record uuid not null,
    entry uuid not null,
    contact uuid,
    scope text,
    wording text,
    channel text,
    decision text,
    given_on date,
    primary key (street, record, entry),
    foreign key (street, record) references record on delete cascade
);
create table shop_tag (
    street text not null,
    record uuid not null,
    tag text not null,
    primary key (street, record, tag),
    foreign key (street, record) references record on delete cascade
);
create table transfer (
    street text not null,
    record uuid not null,
    grid text not null,
    generation integer not null,
    seq bigint not null,
    transfer_kind text,
    member_alias text,
    member_name text,
    member_status text,
    origin_organisation text,
    phone text,
    target_branch text,
    conflict_count integer not null,
    primary key (street, record),
    foreign key (street, record) references record on delete cascade
);
-- One row for every value of a field that has more than one: nothing is hidden behind the winner.
create table field_conflict (
    street text not null,
    record uuid not null,
    field text not null,
    -- Operation id as counter@actor: the highest is the value that the read models show.
    op text not null,
    value jsonb not null,
    device uuid not null,
    device_time timestamptz,
    received_at timestamptz not null,
    primary key (street, record, field, op),
    foreign key (street, record) references record on delete cascade
);
