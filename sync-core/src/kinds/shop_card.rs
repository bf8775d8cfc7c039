//! 沿街商铺联系卡: one door on one street, tying premises, business and contact persons together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    crdt::view::{Value, View},
    id::{EntryId, RecordId},
    key,
    kinds::{
        consent,
        duplicate::{Recognised, Traits},
        kind::{
            ALL_EDITORS, AddressPart, Alike, Class, Days, Derived, Description, Field, GRID, KIND,
            Meaning, MergeRule, NOBODY, NOTE, Personal, Rows, Rule, STREET, Shape, Table, entry,
            log, register,
        },
        row::{ConflictRow, Row, Stored, Tables, conflicts, row},
        transfer::calendar::day_of,
    },
    search::SearchKey,
    values::{
        address::{Address, Side, WalkOrder},
        date,
        geo::GeoPoint,
        phone,
    },
};

pub(super) const NAME: &str = "shop_card";
/// What people call the shop by.
pub const SIGN_NAME: &str = "sign_name";
/// Its contact persons.
pub const CONTACTS: &str = "contacts";
/// What they consented to.
pub const CONSENT: &str = "consent";
/// Sensitive: written only with consent, whose scope it is.
pub const PARTY_STATUS: &str = "party_status";
/// Written when the office finds two cards of one shop; the record it names is the one that goes on.
pub const MERGED_INTO: &str = "merged_into";
/// Days on which somebody confirmed the card.
pub const CONFIRMATIONS: &str = "confirmations";
const TAGS: &str = "tags";
/// The road of its door.
pub const ROAD: &str = "road";
/// The number of its door.
pub const NUMBER: &str = "number";
const ADDRESS_RAW: &str = "address_raw";
/// A contact's name.
pub const PERSON_NAME: &str = "name";
/// A contact's telephone numbers.
pub const PHONES: &str = "phones";
/// What a contact is to the shop.
pub const ROLE: &str = "role";
/// When a contact is best reached.
pub const PREFERRED_TIME: &str = "preferred_time";

/// 营业、装修、空置、关闭
pub(crate) const OCCUPANCY: &[&str] = &["营业", "装修", "空置", "关闭"];

/// What a kind is.
pub static DESCRIPTION: Description = Description {
    name: NAME,
    label_zh: "沿街商铺联系卡",
    label_en: "shop card",
    fields: FIELDS,
    tables: &[&CARD, &CONTACT, &CONSENTS, &TAG, &KEY],
    personal: Personal::Entries {
        list: CONTACTS,
        consents: CONSENT,
    },
    belongs_to: None,
    check: |writing| consent::check(FIELDS, CONTACTS, CONSENT, writing),
};

const fn table(name: &'static str, of: Rows) -> Table {
    Table {
        name,
        of,
        derived: &[],
        elsewhere: &[],
    }
}

static CARD: Table = Table {
    derived: &[
        Derived::new("number_order"),
        Derived::new("side"),
        Derived::new("point_lat")
            .of("point")
            .export(200, "纬度", "latitude"),
        Derived::new("point_lon")
            .of("point")
            .export(201, "经度", "longitude"),
        Derived::new("point_crs")
            .of("point")
            .export(202, "坐标系", "coordinate system"),
        Derived::new("point_accuracy_m").of("point"),
        Derived::new("last_confirmed_on").of(CONFIRMATIONS).export(
            210,
            "最近确认日期",
            "last confirmed on",
        ),
        Derived::new("search"),
    ],
    elsewhere: &[TAGS, CONTACTS, "consents", "conflicts"],
    ..table(NAME, Rows::Record)
};
static CONTACT: Table = table("shop_contact", Rows::Entries(CONTACTS));
static CONSENTS: Table = table("shop_consent", Rows::Entries(CONSENT));
static TAG: Table = table("shop_tag", Rows::Members(TAGS));
static KEY: Table = table("shop_key", Rows::Computed);

const FIELDS: &[Field] = &[
    KIND,
    STREET,
    GRID,
    register(SIGN_NAME, "店招", "sign name", Class::P0, Rule::Text(100))
        .means(Meaning::TradeName)
        .alike(Alike::Name)
        .export(10)
        .headings(
            &[
                "店招",
                "店招名称",
                "店名",
                "店铺名称",
                "商铺名称",
                "商户名称",
                "门店名称",
                "店铺名",
                "商铺名",
                "商户名",
                "门店名",
                "招牌",
                "招牌名称",
                "商铺",
                "店铺",
                "商户",
                "沿街商铺名称",
                "店招店名",
                "字号",
                "signname",
                "sign",
                "shopname",
                "shop",
                "storename",
                "shopsign",
                "tradingname",
            ],
            &[&[
                "店招",
                "招牌",
                "店名",
                "店铺名",
                "商铺名",
                "商户名",
                "门店名",
                "shopname",
                "signname",
            ]],
            4,
        ),
    register(
        "legal_name",
        "登记名称",
        "registered name",
        Class::P0,
        Rule::Text(200),
    )
    .means(Meaning::LegalName)
    .export(20)
    .headings(
        &[
            "登记名称",
            "企业名称",
            "单位名称",
            "公司名称",
            "营业执照名称",
            "执照名称",
            "市场主体名称",
            "主体名称",
            "经营主体",
            "经营主体名称",
            "注册名称",
            "工商登记名称",
            "营业执照",
            "法人名称",
            "legalname",
            "registeredname",
            "companyname",
            "company",
            "businessname",
        ],
        &[&[
            "登记名",
            "企业名",
            "公司名",
            "执照名",
            "单位名",
            "主体名",
            "注册名",
            "legalname",
            "registeredname",
        ]],
        5,
    ),
    // The check character (GB 32100-2015) warns and never blocks, so any text of sane length is stored.
    register(
        "credit_code",
        "统一社会信用代码",
        "credit code",
        Class::P1,
        Rule::Text(40),
    )
    .means(Meaning::CreditCode)
    .alike(Alike::Code)
    .export(30)
    .headings(
        &[
            "统一社会信用代码",
            "社会信用代码",
            "信用代码",
            "统一信用代码",
            "统一代码",
            "营业执照号",
            "营业执照编号",
            "营业执照号码",
            "注册号",
            "creditcode",
            "uscc",
            "usci",
            "unifiedsocialcreditcode",
            "licenceno",
            "licenseno",
        ],
        &[&["信用代码", "creditcode"]],
        1,
    ),
    Field {
        merge: MergeRule::LastWriter,
        ..register("category", "业态", "category", Class::P0, Rule::Text(40))
            .export(40)
            .headings(
                &[
                    "业态",
                    "业态类型",
                    "行业",
                    "行业类别",
                    "行业类型",
                    "类别",
                    "类型",
                    "经营类别",
                    "经营类型",
                    "经营业态",
                    "商铺类型",
                    "所属行业",
                    "category",
                    "type",
                    "industry",
                    "trade",
                ],
                &[&["业态"]],
                11,
            )
    },
    part(ROAD, "路名", "road", 40, AddressPart::Road)
        .export(50)
        .headings(
            &[
                "路名",
                "道路",
                "路段",
                "路",
                "道路名称",
                "所在道路",
                "马路",
                "road",
                "street",
                "roadname",
            ],
            &[],
            0,
        ),
    part(NUMBER, "门牌号", "house number", 20, AddressPart::Number)
        .export(70)
        .headings(
            &[
                "门牌号",
                "门牌",
                "号",
                "门牌号码",
                "门号",
                "number",
                "houseno",
                "housenumber",
                "doornumber",
                "streetnumber",
            ],
            &[],
            0,
        ),
    part(
        "number_suffix",
        "门牌附号",
        "number suffix",
        20,
        AddressPart::Suffix,
    )
    .export(80)
    .headings(
        &["附号", "门牌附号", "号后缀", "numbersuffix", "suffix"],
        &[],
        0,
    ),
    part("lane", "弄", "lane", 20, AddressPart::Lane)
        .export(60)
        .headings(&["弄", "弄号", "里弄", "lane"], &[], 0),
    part("unit", "室", "unit", 40, AddressPart::Unit)
        .export(90)
        .headings(
            &[
                "室",
                "室号",
                "单元",
                "铺位号",
                "铺位",
                "楼层",
                "房号",
                "unit",
                "room",
                "floor",
            ],
            &[],
            0,
        ),
    Field {
        merge: MergeRule::LastWriter,
        ..register(
            ADDRESS_RAW,
            "原始地址",
            "address as typed",
            Class::P0,
            Rule::Text(200),
        )
        .means(Meaning::Address)
        .alike(Alike::Door)
        .export(100)
        .headings(
            &[
                "地址",
                "经营地址",
                "详细地址",
                "店铺地址",
                "商铺地址",
                "门店地址",
                "营业地址",
                "经营场所",
                "门牌地址",
                "实际经营地址",
                "地点",
                "address",
                "streetaddress",
                "location",
            ],
            &[&["地址", "address"]],
            7,
        )
    },
    register("point", "坐标", "point", Class::P0, Rule::Point)
        .means(Meaning::Point)
        .headings(
            &[
                "经纬度",
                "坐标",
                "位置坐标",
                "地理坐标",
                "定位",
                "gps",
                "point",
                "coordinates",
                "lonlat",
                "coordinate",
            ],
            &[&["经纬度", "坐标", "coordinate"]],
            6,
        ),
    register(
        "occupancy",
        "状态",
        "occupancy",
        Class::P0,
        Rule::OneOf(OCCUPANCY),
    )
    .means(Meaning::Choice)
    .export(110)
    .headings(
        &[
            "状态",
            "经营状态",
            "营业状态",
            "店铺状态",
            "商铺状态",
            "经营情况",
            "营业情况",
            "经营现状",
            "现状",
            "status",
            "occupancy",
            "state",
        ],
        &[&["营业状态", "经营状态"]],
        14,
    ),
    register(
        "occupancy_observed_on",
        "状态观察日期",
        "occupancy observed on",
        Class::P0,
        Rule::Date,
    )
    .means(Meaning::Date)
    .days(Days::Observed)
    .export(120)
    .headings(
        &[
            "状态观察日期",
            "状态日期",
            "观察日期",
            "occupancyobservedon",
        ],
        &[],
        0,
    ),
    register(
        "opening_hours",
        "营业时间",
        "opening hours",
        Class::P0,
        Rule::Text(100),
    )
    .means(Meaning::Remark)
    .export(130)
    .headings(
        &[
            "营业时间",
            "经营时间",
            "营业时段",
            "开门时间",
            "营业时间段",
            "openinghours",
            "hours",
            "businesshours",
        ],
        &[&["营业时间", "经营时间", "openinghours"]],
        8,
    ),
    Field {
        shape: Shape::SetMember,
        merge: MergeRule::Set,
        ..register(TAGS, "服务标签", "tags", Class::P0, Rule::Flag)
            .means(Meaning::Tag)
            .export(140)
            .headings(
                &["标签", "服务标签", "店铺标签", "tags", "tag", "labels"],
                &[],
                0,
            )
    },
    // last_confirmed_on is derived: the greatest day in this set.
    Field {
        shape: Shape::SetOfDays,
        merge: MergeRule::Set,
        ..register(
            CONFIRMATIONS,
            "确认无变化",
            "confirmed unchanged on",
            Class::P1,
            Rule::Flag,
        )
        .means(Meaning::Confirmation)
        .days(Days::Observed)
        .headings(
            &[
                "最近走访",
                "最近走访日期",
                "最近走访时间",
                "走访日期",
                "走访时间",
                "上次走访",
                "最后走访",
                "最后走访日期",
                "更新日期",
                "核实日期",
                "确认日期",
                "最近核实",
                "最近确认日期",
                "lastconfirmedon",
                "lastvisit",
                "lastvisited",
                "visitdate",
                "lastconfirmed",
                "lastvisitdate",
            ],
            &[&["走访"], &["日期", "时间", "最近", "最后", "上次"]],
            9,
        )
    },
    person(PERSON_NAME, "联系人", "contact name", Class::P2, 60)
        .means(Meaning::PersonName)
        .export(150)
        .headings(
            &[
                "姓名",
                "主要联系人",
                "店铺联系人",
                "商户联系人",
                "name",
                "owner",
                "manager",
                "person",
            ],
            &[&["联系人"]],
            10,
        )
        .of_person(&["", "姓名", "名字", "名", "name", "person"]),
    // Several numbers with extensions in one text; shapes warn and never block.
    person(PHONES, "联系电话", "contact phones", Class::P2, 100)
        .means(Meaning::Telephone)
        .alike(Alike::Phone)
        .export(160)
        .headings(
            &[
                "电话",
                "手机",
                "手机号",
                "手机号码",
                "电话号码",
                "联系电话",
                "联系方式",
                "联系号码",
                "方式",
                "号码",
                "固定电话",
                "座机",
                "电话手机",
                "手机电话",
                "电话号",
                "移动电话",
                "联系手机",
                "联系手机号",
                "联系电话号码",
                "办公电话",
                "cellphone",
                "contactnumber",
                "phone",
                "phones",
                "mobile",
                "tel",
                "telephone",
                "phonenumber",
                "mobilephone",
            ],
            &[&[
                "电话",
                "手机",
                "联系方式",
                "座机",
                "固话",
                "phone",
                "mobile",
            ]],
            2,
        ),
    person(ROLE, "身份", "contact role", Class::P2, 40)
        .means(Meaning::PersonRole)
        .export(170)
        .headings(
            &[
                "身份",
                "职务",
                "角色",
                "人身份",
                "与店铺关系",
                "关系",
                "role",
                "position",
            ],
            &[],
            0,
        ),
    person(PREFERRED_TIME, "方便时间", "preferred time", Class::P2, 60)
        .export(180)
        .headings(
            &["方便时间", "联系时间", "方便联系时间", "preferredtime"],
            &[],
            0,
        )
        .of_person(&["时间"]),
    person(PARTY_STATUS, "政治面貌", "party status", Class::P3, 20),
    log(
        CONSENT,
        consent::OF,
        "同意人",
        "consenting contact",
        Class::P2,
        Rule::Entry,
    )
    .means(Meaning::ConsentOf),
    consent::fields(CONSENT)[0],
    consent::fields(CONSENT)[1],
    consent::fields(CONSENT)[2],
    consent::fields(CONSENT)[3],
    consent::fields(CONSENT)[4],
    Field {
        shape: Shape::Custom,
        editors: ALL_EDITORS,
        ..register(
            key::CUSTOM,
            "自定义字段",
            "custom field",
            Class::P1,
            Rule::Text(400),
        )
        .means(Meaning::Custom)
    },
    Field {
        merge: MergeRule::LastWriter,
        creators: NOBODY,
        editors: NOBODY,
        ..register(MERGED_INTO, "已并入", "merged into", Class::P0, Rule::Entry)
            .means(Meaning::Succession)
            .export(230)
    },
    NOTE.export(190).headings(
        &[
            "备注",
            "备注信息",
            "说明",
            "情况说明",
            "其他",
            "其他情况",
            "note",
            "notes",
            "remark",
            "remarks",
            "comment",
            "comments",
        ],
        &[&["备注", "remark"]],
        3,
    ),
];

const fn part(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    chars_max: usize,
    part: AddressPart,
) -> Field {
    register(name, zh, en, Class::P0, Rule::Text(chars_max))
        .means(Meaning::AddressPart(part))
        .alike(Alike::Door)
}

const fn person(
    name: &'static str,
    zh: &'static str,
    en: &'static str,
    class: Class,
    chars_max: usize,
) -> Field {
    entry(CONTACTS, name, zh, en, class, Rule::Text(chars_max)).means(Meaning::PersonDetail)
}

/// The keys and values of an address as typed, taken apart as far as it says where the door is.
pub fn address(parsed: &Address, typed: &str) -> Vec<(&'static str, String)> {
    let parts = FIELDS.iter().filter_map(|field| {
        let Meaning::AddressPart(part) = field.meaning else {
            return None;
        };
        let text = match part {
            AddressPart::Road => &parsed.road,
            AddressPart::Lane => &parsed.lane,
            AddressPart::Number => &parsed.number,
            AddressPart::Suffix => &parsed.number_suffix,
            AddressPart::Unit => &parsed.unit,
        };
        Some((field.name, text.clone()?))
    });
    parts.chain([(ADDRESS_RAW, typed.to_owned())]).collect()
}

row! {
    /// One row of the merged shop roll: the winning values, and beside them every value in conflict.
    #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    pub struct CardRow {
        /// The card.
        record: RecordId = own,
        /// Its generation.
        generation: u32 = own,
        /// The grid that owns it.
        grid: String = own,
        /// 店招
        sign_name: Option<String> = text,
        /// 登记名称
        legal_name: Option<String> = text,
        /// 统一社会信用代码, as typed.
        credit_code: Option<String> = text,
        /// 业态
        category: Option<String> = text,
        /// 路名
        road: Option<String> = text,
        /// 门牌号
        number: Option<String> = text,
        /// 甲、临、底层 …
        number_suffix: Option<String> = text,
        /// 弄
        lane: Option<String> = text,
        /// 室
        unit: Option<String> = text,
        /// As typed.
        address_raw: Option<String> = text,
        /// Place along the road: the lane's or the house's number.
        number_order: Option<i32> = own,
        /// Side of the street: `odd` or `even`.
        side: Option<String> = own,
        /// Degrees north, in `point_crs`.
        point_lat: Option<f64> = own,
        /// Degrees east, in `point_crs`.
        point_lon: Option<f64> = own,
        /// Coordinate reference system; never converted.
        point_crs: Option<String> = own,
        /// Metres.
        point_accuracy_m: Option<f64> = own,
        /// 营业、装修、空置、关闭
        occupancy: Option<String> = text,
        /// `YYYY-MM-DD`
        occupancy_observed_on: Option<String> = text,
        /// 营业时间
        opening_hours: Option<String> = text,
        /// 备注
        note: Option<String> = own,
        /// The greatest day on which somebody confirmed the card, `YYYY-MM-DD`.
        last_confirmed_on: Option<String> = own,
        /// 服务标签, ascending.
        tags: Vec<String> = own,
        /// Contact persons, by time of entry.
        contacts: Vec<ContactRow> = own,
        /// Consents and withdrawals, by time of entry.
        consents: Vec<ConsentRow> = own,
        /// The street's own columns.
        custom: BTreeMap<String, String> = own,
        /// The card that this one turned out to be; it then leaves the roll.
        merged_into: Option<RecordId> = own,
        /// Every value of every field in conflict.
        conflicts: Vec<ConflictRow> = own,
    }
}

row! {
    /// A contact person of a card.
    #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
    #[expect(missing_docs, reason = "the catalogue documents the fields")]
    pub struct ContactRow {
        entry: EntryId = own,
        name: Option<String> = text,
        phones: Option<String> = text,
        role: Option<String> = text,
        preferred_time: Option<String> = text,
        party_status: Option<String> = text,
    }
}

row! {
    /// A consent given, or withdrawn.
    #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
    #[expect(missing_docs, reason = "the catalogue documents the fields")]
    pub struct ConsentRow {
        entry: EntryId = own,
        contact: Option<EntryId> = own,
        scope: Option<String> = text,
        wording: Option<String> = text,
        channel: Option<String> = text,
        decision: Option<String> = text,
        given_on: Option<String> = text,
    }
}

impl Row for CardRow {
    fn project(record: RecordId, generation: u32, view: &View) -> Self {
        let text = |name: &str| view.text(name).map(str::to_owned);
        let point = view
            .text("point")
            .and_then(|point| point.parse::<GeoPoint>().ok());
        let contacts = view.entries(CONTACTS).into_iter().map(|entry| {
            let row = ContactRow {
                entry,
                ..ContactRow::default()
            };
            row.texts(|name| view.entry_text(CONTACTS, entry, name).map(str::to_owned))
        });
        let consents = view.entries(CONSENT).into_iter().map(|entry| {
            let text = |name: &str| view.entry_text(CONSENT, entry, name);
            let row = ConsentRow {
                entry,
                contact: text(consent::OF).and_then(|contact| contact.parse().ok()),
                ..ConsentRow::default()
            };
            row.texts(|name| text(name).map(str::to_owned))
        });
        let mut row = Self {
            record,
            generation,
            grid: text(key::GRID).unwrap_or_default(),
            point_lat: point.as_ref().map(GeoPoint::lat),
            point_lon: point.as_ref().map(GeoPoint::lon),
            point_crs: point.as_ref().map(|point| point.crs().as_str().to_owned()),
            point_accuracy_m: point.as_ref().and_then(GeoPoint::accuracy_m).map(f64::from),
            note: view.note.clone().filter(|note| !note.is_empty()),
            last_confirmed_on: view
                .members(CONFIRMATIONS)
                .map(|(day, _)| day.to_owned())
                .max(),
            tags: view.members(TAGS).map(|(tag, _)| tag.to_owned()).collect(),
            contacts: contacts.collect(),
            consents: consents.collect(),
            custom: view
                .members(key::CUSTOM)
                .filter_map(|(name, value)| Some((name.to_owned(), value.as_str()?.to_owned())))
                .collect(),
            merged_into: view.text(MERGED_INTO).and_then(|id| id.parse().ok()),
            conflicts: conflicts(&DESCRIPTION, view),
            ..Self::default()
        }
        .texts(text);
        let address = Address {
            lane: row.lane.clone(),
            number: row.number.clone(),
            ..Address::default()
        };
        row.number_order = address.number_order();
        row.side = address.side().map(|side| match side {
            Side::Odd => "odd".to_owned(),
            Side::Even => "even".to_owned(),
        });
        row
    }

    fn record(&self) -> RecordId {
        self.record
    }

    fn conflicts(&self) -> &[ConflictRow] {
        &self.conflicts
    }

    fn store(mut self, stored: &Stored<'_>, tables: &mut impl Tables) {
        let (record, touched) = (self.record, stored.touched);
        if touched.keys {
            let keys = self.traits().keys();
            tables.replace(&KEY, record, keys.into_iter().map(|key| KeyRow { key }));
        }
        // A day that had not come when it came to the office confirms nothing: a clock was wrong before such days were refused.
        let had_come = |day: &str, value: &Value| {
            let op = format!("{}@{}", value.op.counter, value.op.actor);
            let latest = (stored.received_at)(&op).and_then(|at| day_of(at).next_day());
            latest.is_none_or(|latest| day <= date::to_iso(latest).as_str())
        };
        self.last_confirmed_on = stored
            .view
            .values
            .iter()
            .filter_map(|(key, values)| {
                let (CONFIRMATIONS, day) = key.split_once('/')? else {
                    return None;
                };
                values
                    .iter()
                    .any(|value| had_come(day, value))
                    .then(|| day.to_owned())
            })
            .max();
        let search = self.search_key();
        // Lists have tables of their own; the card's row carries none of them.
        self.conflicts.clear();
        let contacts = std::mem::take(&mut self.contacts);
        let consents = std::mem::take(&mut self.consents);
        let tags = std::mem::take(&mut self.tags);
        if touched.list(&CONTACT) {
            tables.replace(&CONTACT, record, contacts);
        }
        if touched.list(&CONSENTS) {
            tables.replace(&CONSENTS, record, consents);
        }
        if touched.list(&TAG) {
            tables.replace(&TAG, record, tags.into_iter().map(|tag| TagRow { tag }));
        }
        tables.upsert(
            &CARD,
            &CardWrite {
                row: self,
                seq: stored.seq,
                conflict_count: stored.conflict_count,
                search,
            },
        );
    }
}

/// A card's row as its table has it.
#[derive(Serialize)]
struct CardWrite {
    #[serde(flatten)]
    row: CardRow,
    seq: i64,
    conflict_count: i32,
    search: String,
}

#[derive(Serialize)]
struct KeyRow {
    key: String,
}

#[derive(Serialize)]
struct TagRow {
    tag: String,
}

impl CardRow {
    /// Sort key for walking the street.
    pub fn walk_order(&self) -> WalkOrder {
        let part = Option::as_deref;
        WalkOrder::of(
            part(&self.road),
            part(&self.lane),
            part(&self.number),
            part(&self.number_suffix),
            part(&self.unit),
        )
    }

    /// What it is recognised by. One that was merged away by nothing.
    pub fn traits(&self) -> Traits {
        if self.merged_into.is_some() {
            return Traits::default();
        }
        let part = Option::as_deref;
        Traits::of(&Recognised {
            name: part(&self.sign_name),
            address: [
                part(&self.road),
                part(&self.lane),
                part(&self.number),
                part(&self.number_suffix),
                part(&self.unit),
            ],
            address_raw: part(&self.address_raw),
            credit_code: part(&self.credit_code),
            phones: self
                .contacts
                .iter()
                .filter_map(|contact| contact.phones.as_deref())
                .collect(),
        })
    }

    /// What a search looks through: names, address, category, and contact persons with their numbers, folded, with their pinyin. It is as personal
    /// as a contact (class P2).
    pub fn search_key(&self) -> String {
        let address = self.address_raw.clone().unwrap_or_else(|| {
            [
                &self.road,
                &self.lane,
                &self.number,
                &self.number_suffix,
                &self.unit,
            ]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
        });
        // Road and name together, so that one run of initials may span both.
        let door = [self.road.as_deref(), self.sign_name.as_deref()]
            .into_iter()
            .flatten()
            .collect::<String>();
        let house = [self.road.as_deref(), self.number.as_deref()]
            .into_iter()
            .flatten()
            .collect::<String>();
        // Number by number, so that the end of one and the start of the next are nobody's.
        let numbers: Vec<String> = self
            .contacts
            .iter()
            .flat_map(|contact| phone::parse(contact.phones.as_deref().unwrap_or_default()))
            .flat_map(|phone| phone.searched())
            .collect();
        let texts = [
            self.sign_name.as_deref(),
            self.legal_name.as_deref(),
            Some(address.as_str()),
            self.road.as_deref(),
            Some(house.as_str()),
            Some(door.as_str()),
            self.category.as_deref(),
        ];
        let people = self.contacts.iter().map(|contact| contact.name.as_deref());
        SearchKey::of(
            &texts
                .into_iter()
                .chain(people)
                .flatten()
                .chain(numbers.iter().map(String::as_str))
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>(),
        )
    }
}
