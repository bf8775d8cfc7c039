//! Ids that belong to somebody else, in every path parameter of every route: another street's and another grid's are answered as nobody's
//! are, word for word, so that no answer tells that there is such a thing.

use axum::http::StatusCode;
use lianka_sync_core::{
    crdt::record::Edit,
    id::RecordId,
    kinds::{
        Kind,
        duplicate::{pair_id, persons},
    },
};
use serde_json::{Value, json};

use super::{NOBODY, everybody, everything, filled, routes, told};
use crate::sync::phone::{HOME, OTHER, Office, Phone, put, text};

const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
const COPY: &str = "0198c0de-0000-7000-8000-00000000000b";

/// One of everything that a path can name, all of one street.
pub struct Theirs {
    pub record: RecordId,
    pub second: RecordId,
    pub third: RecordId,
    pub transfer: RecordId,
    pub held: String,
    pub pair: String,
    pub merge: String,
    pub resolution: String,
    pub bulk: String,
    pub device: String,
    pub import: String,
    pub join: String,
    pub contact_pair: String,
    /// The card on which one person stands twice.
    pub twice: RecordId,
}

impl Theirs {
    /// Of [`OTHER`].
    async fn make(office: &Office) -> Self {
        Self::make_in(office, OTHER, "B1", "there").await
    }

    /// Of the grid of this street, by users whose names begin like this.
    pub async fn make_in(office: &Office, street: &str, grid: &str, who: &str) -> Self {
        let phone = async |username: &str, role: &str| {
            office.user(username, role, Some(street)).await;
            if role == "secretary" {
                office.assign(street, username, &[grid]).await;
            }
            office.phone_in(street, username).await
        };
        let colleague = format!("{who}.too");
        let mut one: Phone = phone(who, "secretary").await;
        let mut two: Phone = phone(&colleague, "secretary").await;
        let desk = phone(&format!("{who}.desk"), "reviewer").await.token;
        let post = async |path: &str, body: Value| {
            let answer = office
                .call(
                    "POST",
                    &format!("/v1/streets/{street}/{path}"),
                    Some(&desk),
                    body,
                )
                .await;
            assert!(answer.status.is_success(), "{path}: {}", answer.json);
            answer.json
        };
        let shop = |name: &str| {
            vec![
                put("sign_name", name),
                put("road", "虹桥路"),
                put("number", "1"),
                put(&format!("contacts/{CONTACT}/name"), "周某某"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ]
        };
        let [record, second, third] =
            ["悦福理发店", "王记包子", "王记包子"].map(|name| one.create(grid, &shop(name)));
        let fields = [
            ("kind", "transfer_request"),
            ("street", street),
            ("grid", grid),
            ("transfer_kind", "temporary"),
            ("member_alias", "老周"),
        ];
        let transfer = one.create_with(
            Kind::TransferRequest,
            grid,
            &fields.map(|(key, value)| put(key, value)),
        );
        assert!(
            one.sync()
                .await
                .codes()
                .iter()
                .all(|code| *code == "accepted")
        );
        two.sync().await;
        // Both write unseen by each other.
        for (phone, unit, sign) in [
            (&mut one, "201", "悦福理发"),
            (&mut two, "２０１", "悦福美发"),
        ] {
            phone.edit(record, &[put("unit", unit), put("sign_name", sign)]);
            phone.sync().await;
        }
        let bulk = text(
            &post(
                "conflicts/resolutions",
                json!({ "class": "spelling", "field": "unit" }),
            )
            .await["bulk"],
        );
        let chosen = json!({ "field": "sign_name", "value": "悦福理发", "note": "" });
        let resolution =
            text(&post(&format!("records/{record}/resolutions"), chosen).await["resolution"]);
        let pair = pair_id(second, third).to_string();
        let merge = text(
            &post(
                &format!("duplicates/{pair}/merge"),
                json!({ "winner": second, "loser": third }),
            )
            .await["merge"],
        );
        let sheet = "店招,地址\n新开的店,虹桥路9号\n";
        let import = text(&office.desk_with(&desk).at(street).import("", sheet).await["import"]);
        // One person twice on a card.
        let again = |entry: &str| {
            [
                put(&format!("contacts/{entry}/name"), "周某某"),
                put(&format!("contacts/{entry}/phones"), "13800000009"),
            ]
        };
        let twice = one.create(grid, &[&again(CONTACT)[..], &again(COPY)[..]].concat());
        one.sync().await;
        let contact_pair = contact_pair_of(twice);
        let joining = json!({ "record": twice, "kept": CONTACT, "gone": COPY });
        let join =
            text(&post(&format!("duplicates/contacts/{contact_pair}/join"), joining).await["join"]);
        // An edit from before a reassignment.
        two.sync().await;
        two.edit(record, &[put("opening_hours", "9:00-18:00")]);
        office.assign(street, &colleague, &[]).await;
        two.sync().await;
        let held =
            sqlx::query_scalar::<_, String>("select held::text from held_change where street = $1")
                .bind(street);
        let held = held.fetch_one(&office.test.app.pool).await;
        let held = held.expect("it is held");
        Self {
            record,
            second,
            third,
            transfer,
            held,
            pair,
            merge,
            resolution,
            bulk,
            device: one.device.to_string(),
            import,
            join,
            contact_pair,
            twice,
        }
    }

    /// What stands in place of a path's parameters, and a body that the route would take for something of one's own.
    fn ids(&self, path: &str) -> (Vec<(&'static str, String)>, Value) {
        let Self {
            record,
            second,
            third,
            transfer,
            held,
            pair,
            merge,
            resolution,
            bulk,
            device,
            import,
            join,
            contact_pair,
            twice,
        } = self;
        let end = path.rsplit('/').next().unwrap_or_default();
        let body = match end {
            "edits" => json!({ "set": { "opening_hours": "8:00-20:00" } }),
            "resolutions" => json!({ "field": "sign_name", "value": "悦福美发" }),
            "erase" => json!({ "reason": "other" }),
            "redact" => json!({ "entry": CONTACT, "reason": "other" }),
            "events" => json!({ "type": "return", "reason_code": "other", "note": "请补正" }),
            "merge" => json!({ "winner": second, "loser": third }),
            "join" => json!({ "record": twice, "kept": CONTACT, "gone": COPY }),
            "dismiss" | "accept" | "undo" | "apply" => json!({}),
            "refuse" => json!({ "reason": "不属实" }),
            "password" => json!({ "new_password": "Another pass 2026" }),
            "{username}" if path.contains("assignments") => json!({ "grids": ["A1"] }),
            "{username}" => json!({ "display_name": "改名" }),
            _ => Value::Null,
        };
        let ids = vec![
            (
                "{record}",
                if path.contains("/transfers/") {
                    transfer.to_string()
                } else {
                    record.to_string()
                },
            ),
            ("{held}", held.clone()),
            (
                "{pair}",
                if path.contains("/contacts/") {
                    contact_pair.clone()
                } else {
                    pair.clone()
                },
            ),
            ("{import}", import.clone()),
            ("{join}", join.clone()),
            ("{merge}", merge.clone()),
            ("{resolution}", resolution.clone()),
            ("{bulk}", bulk.clone()),
            ("{device}", device.clone()),
            ("{username}", "there".to_owned()),
        ];
        (ids, body)
    }
}

/// The path with its own street and this in place of what else it names, or nothing where it names nothing else.
fn naming(path: &str, ids: &[(&'static str, String)]) -> Option<String> {
    let mut named = path.replace("{street}", HOME);
    let before = named.clone();
    for (parameter, id) in ids {
        named = named.replace(parameter, id);
    }
    assert!(
        !named.contains('{'),
        "{path} names something that this test does not know: add one of another street"
    );
    (named != before).then_some(named)
}

/// The pair of entries that every card here has.
fn contact_pair_of(record: RecordId) -> String {
    let [one, two] = [CONTACT, COPY].map(|entry| entry.parse().expect("an id"));
    persons::pair_id(record, one, two).to_string()
}

/// A body made of two ids.
type Body<'b> = &'b dyn Fn(&str, &str) -> Value;

#[tokio::test]
async fn another_streets_ids_are_answered_as_nobodys_on_every_route() {
    let office = Office::open().await;
    let theirs = Theirs::make(&office).await;
    let tokens = everybody(&office).await;
    let before = everything(&office).await;
    let mut tried = 0;
    for route in routes().filter(|route| !route.roles.is_empty()) {
        let (ids, body) = theirs.ids(route.path);
        let Some(path) = naming(route.path, &ids) else {
            continue;
        };
        // A pair is named after its two cards, so nobody's pair is one of nobody's cards.
        let nobodys: [RecordId; 2] =
            [NOBODY, "0198c0de-0000-7000-8000-00000000deaf"].map(|id| id.parse().expect("an id"));
        let pair = pair_id(nobodys[0], nobodys[1]).to_string();
        let unknown = |name: &str| match name {
            "{username}" => "nobody".to_owned(),
            "{pair}" if route.path.contains("/contacts/") => contact_pair_of(nobodys[0]),
            "{pair}" => pair.clone(),
            _ => NOBODY.to_owned(),
        };
        let unknown: Vec<_> = ids.iter().map(|(name, _)| (*name, unknown(name))).collect();
        let nowhere = naming(route.path, &unknown).unwrap_or_default();
        let body = if ["GET", "DELETE"].contains(&route.method) {
            Value::Null
        } else {
            body
        };
        let nowhere_body = if !body["kept"].is_null() {
            json!({ "record": nobodys[0], "kept": CONTACT, "gone": COPY })
        } else if body["winner"].is_null() {
            body.clone()
        } else {
            json!({ "winner": nobodys[0], "loser": nobodys[1] })
        };
        for role in route.roles {
            // Their own password is every role's; other people's are an admin's.
            let ours = role.as_str() == "admin" || !route.path.ends_with("/password");
            let token = Some(tokens[role.as_str()].as_str());
            let there = office.call(route.method, &path, token, body.clone()).await;
            let none = office
                .call(route.method, &nowhere, token, nowhere_body.clone())
                .await;
            let what = format!("{role} {} {path} {body}", route.method);
            let expected = if ours {
                StatusCode::NOT_FOUND
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(there.status, expected, "{what}: {}", there.json);
            assert_eq!(told(&there), told(&none), "{what}");
            tried += 1;
        }
    }
    assert!(tried >= 30, "{tried} tried");
    // In bodies that name records and people.
    let here = |path: &str| format!("/v1/streets/{HOME}/{path}");
    let [record, second] = [theirs.record, theirs.second].map(|id| id.to_string());
    let name_them: [(&str, &str, String, Body<'_>); 3] = [
        (
            "reviewer",
            "POST",
            here("moves"),
            &|one, _| json!({ "records": [one], "to_grid": "A2" }),
        ),
        (
            "reviewer",
            "POST",
            here(&format!("duplicates/{NOBODY}/merge")),
            &|one, two| json!({ "winner": one, "loser": two }),
        ),
        (
            "admin",
            "POST",
            "/v1/enrolments".into(),
            &|one, _| json!({ "username": if one == NOBODY { "nobody" } else { "there" } }),
        ),
    ];
    for (role, method, path, body) in name_them {
        let token = Some(tokens[role].as_str());
        let there = office
            .call(method, &path, token, body(&record, &second))
            .await;
        let none = office
            .call(
                method,
                &path,
                token,
                body(NOBODY, "0198c0de-0000-7000-8000-00000000deaf"),
            )
            .await;
        assert!(
            there.status.is_client_error(),
            "{method} {path}: {}",
            there.json
        );
        assert_eq!(told(&there), told(&none), "{method} {path}");
    }
    // And filters of lists: as empty as for nobody.
    for (role, path) in [
        ("reviewer", "conflicts"),
        ("reviewer", "resolutions"),
        ("reviewer", "held"),
        ("reviewer", "merges"),
        ("reviewer", "duplicates"),
        ("admin", "erasures"),
    ] {
        let list = async |id: &str| {
            office
                .call(
                    "GET",
                    &here(&format!("{path}?record={id}")),
                    Some(&tokens[role]),
                    Value::Null,
                )
                .await
        };
        let (there, none) = (list(&record).await, list(NOBODY).await);
        assert_eq!(
            (there.status, &there.json["total"]),
            (StatusCode::OK, &json!(0)),
            "{path}: {}",
            there.json
        );
        assert_eq!(told(&there), told(&none), "{path}");
    }
    for (path, theirs) in [
        ("persons?name=%E5%91%A8%E6%9F%90%E6%9F%90", "周某某"),
        ("cards?q=yuefu", "悦福"),
        ("audit", "there"),
    ] {
        let answer = office
            .call("GET", &here(path), Some(&tokens["admin"]), Value::Null)
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
        assert!(
            !String::from_utf8_lossy(&answer.body).contains(theirs),
            "{path}: {}",
            answer.json
        );
    }
    assert_eq!(everything(&office).await, before);
}

/// An account of the whole deployment may name any street; one that is none is found by no route, and nothing is begun for it.
#[tokio::test]
async fn a_street_that_is_none_is_found_by_no_route() {
    let office = Office::open().await;
    let mut tokens = std::collections::BTreeMap::new();
    for role in lianka_sync_core::access::Role::ALL {
        let username = format!("any.{role}");
        office.user(&username, role.as_str(), None).await;
        tokens.insert(role, office.phone(&username).await.token);
    }
    let trails = async || office.rows(&["audit_head", "audit_event"]).await;
    let (before, told) = (everything(&office).await, trails().await);
    for route in routes().filter(|route| route.path.contains("{street}")) {
        let path = filled(route.path, "999999999", NOBODY);
        // What a search needs.
        let path = if path.contains("/persons") {
            format!("{path}?name=%E5%91%A8%E6%9F%90")
        } else {
            path
        };
        for role in route.roles {
            let answer = office
                .call(route.method, &path, Some(&tokens[role]), Value::Null)
                .await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::NOT_FOUND, "not_found"),
                "{role} {} {path}",
                route.method
            );
        }
    }
    assert_eq!((everything(&office).await, trails().await), (before, told));
}

#[tokio::test]
async fn a_secretary_finds_nothing_of_other_grids() {
    let office = Office::open().await;
    let mut other = office.secretary("li.na", &["A2"]).await;
    let card = other.create(
        "A2",
        &[
            put("sign_name", "悦福理发店"),
            put(&format!("contacts/{CONTACT}/name"), "周某某"),
        ],
    );
    assert_eq!(other.sync().await.codes(), ["accepted"]);
    let secretary = office.secretary("wang.fang", &["A1"]).await;
    let get = async |path: &str| {
        office
            .call(
                "GET",
                &format!("/v1/streets/{HOME}/{path}"),
                Some(&secretary.token),
                Value::Null,
            )
            .await
    };
    for path in ["", "/history"] {
        let (there, none) = (
            get(&format!("records/{card}{path}")).await,
            get(&format!("records/{NOBODY}{path}")).await,
        );
        assert_eq!(
            there.status,
            StatusCode::NOT_FOUND,
            "{path}: {}",
            there.json
        );
        assert_eq!(told(&there), told(&none), "{path}");
    }
    for query in [
        "",
        "?grid=A2",
        "?q=yflfd",
        "?q=%E6%82%A6",
        "?merged=false",
        "?conflict=false&sort=changed",
    ] {
        let answer = get(&format!("cards{query}")).await;
        assert_eq!(
            (answer.status, &answer.json["total"]),
            (StatusCode::OK, &json!(0)),
            "{query}: {}",
            answer.json
        );
        let answer = get(&format!("cards.csv{query}")).await;
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("悦福"),
            "{query}"
        );
    }
}

/// Somebody who knows a record's id, and even holds a copy of it from earlier, pushes into a street and a grid that are not theirs.
#[tokio::test]
async fn a_known_id_opens_no_record_over_sync() {
    let office = Office::open().await;
    let theirs = Theirs::make(&office).await;
    let mut here = office.secretary("wang.fang", &["A1"]).await;
    let mut there = office.phone_in(OTHER, "there").await;
    there.sync().await;
    let before = everything_of(&office, OTHER).await;
    // The same changes, sent by another device: nobody writes in another's name.
    there.edit(theirs.record, &[put("opening_hours", "全天")]);
    let captured = std::mem::take(&mut there.outbox);
    let reply = here.push(true, &captured).await;
    assert!(
        reply
            .codes()
            .iter()
            .all(|code| !["accepted", "duplicate"].contains(code)),
        "{:?}",
        reply.codes()
    );
    assert!(reply.snapshots().is_empty() && reply.changes().is_empty());
    // A record of one's own under an id that another street uses: a record here, and nothing to do with theirs.
    let own = here.create("A1", &[put("sign_name", "我的店")]);
    let mut taken = std::mem::take(&mut here.outbox);
    for change in &mut taken {
        change.record = theirs.record;
    }
    here.records.remove(&own);
    here.push(true, &taken).await;
    // The other street's route with a token of this one, and the other way round.
    here.street = OTHER.to_owned();
    let reply = here.push(true, &taken).await;
    assert_eq!(
        (reply.status, reply.json["code"].as_str()),
        (StatusCode::FORBIDDEN, Some("wrong_street"))
    );
    assert_eq!(everything_of(&office, OTHER).await, before);
}

async fn everything_of(office: &Office, street: &str) -> Vec<String> {
    everything(office)
        .await
        .into_iter()
        .filter(|row| row.contains(street))
        .collect()
}
