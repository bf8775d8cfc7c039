-- Visits to shops: who went when, how, and whom they met. Written once; what replaces or voids one is in the row that says so.
create table shop_visit (
    street text not null,
    record uuid not null,
    grid text not null,
    generation integer not null,
    seq bigint not null,
    shop uuid,
    -- Day and time in China by the device's clock, YYYY-MM-DDTHH:MM: as a text it sorts and stays what was written.
    at text,
    channel text,
    outcome text,
    companions text[] not null default '{}',
    topics text[] not null default '{}',
    remark text,
    card_version text,
    replaces uuid,
    void_reason text,
    device uuid not null,
    conflict_count integer not null,
    primary key (street, record),
    foreign key (street, record) references record on delete cascade
);
create index shop_visit_by_shop on shop_visit (street, shop, at);
create index shop_visit_replaced on shop_visit (street, replaces) where replaces is not null;
