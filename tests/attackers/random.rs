//! Random requests of every role to every route that the documentation names: values of other types, at and beyond every bound, ids of
//! everything that there is, broken queries and bodies. From one seed, so that what fails once fails again.
//!
//! Whatever is asked: nothing breaks (no 5xx), a refusal is a problem document with a code of the documented table, an answer has the status
//! and the shape that the documentation promises, and nothing of another street is shown or moved.

use axum::{
    body::Body,
    http::{Request, header},
};
use lianka_sync_core::{access::Role, kinds::transfer::STEPS};
use lianka_tests::Answer;
use serde_json::{Map, Value, json};

use super::{NOBODY, elsewhere::Theirs, everybody, everything, send};
use crate::sync::phone::{HOME, OTHER, Office};

/// Requests of one run; `LIANKA_ATTACKS` asks for more, `LIANKA_SEED` for others.
const REQUESTS: u64 = 500;
/// The admin of the whole deployment.
const ROOT: &str = "root";
/// Words that stand in the other street alone.
const THEIR_WORDS: &[&str] = &["there.too", "there.desk", "虹桥街道"];

/// `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    /// A text that no compression makes short: what stands in an index must not be longer than a third of a page.
    fn garbage(&mut self, chars: usize) -> String {
        (0..chars)
            .map(|_| char::from_u32(0x4e00 + (self.next() % 0x5000) as u32).unwrap_or('王'))
            .collect()
    }
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "a\0b",
    "\u{1}",
    "\u{fffd}",
    "\u{202e}",
    "\u{200b}",
    "𠮷野家",
    "é",
    "e\u{301}",
    "%",
    "_",
    "\\",
    "'",
    "\"",
    "';--",
    "=1+1",
    "@",
    "1@00",
    "18446744073709551616@0198c0de00007000800000000000000a00000001",
    "1@0198c0de00007000800000000000000a00000001",
    "true",
    "null",
    "-1",
    "0",
    "1",
    "1e400",
    "NaN",
    "99999999999999999999",
    "2026-02-30",
    "0000-01-01",
    "9999-12-31",
    "-9999-01-01",
    "+10000-01-01",
    "2026-11-21",
    "0000-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999999-23:59",
    "2026-11-21T08:00:00Z",
    "13900000001",
    "021-12345678",
    "all",
    "walk",
    "held",
    "odd",
    "spelling",
    "more_complete",
    "sign_name",
    "party_status",
    "A1",
    "A2",
    "310104003",
    "310105009",
    "999999999",
    "secretary",
    "admin",
    "zh",
    "en",
    "4711:00",
    "geo:31.2,121.4;crs=wgs84",
    "geo:nan,inf;crs=wgs84",
    "geo:1e308,-1e308;crs=gcj02;u=1e308",
    "营业",
    "正式",
];

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "90",
    "200",
    "201",
    "100000",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "0.5",
    "1e308",
    "-1e-308",
];

/// Keys of a desk's edit.
const KEYS: &[&str] = &[
    "sign_name",
    "legal_name",
    "credit_code",
    "category",
    "road",
    "number",
    "number_suffix",
    "lane",
    "unit",
    "address_raw",
    "point",
    "occupancy",
    "occupancy_observed_on",
    "opening_hours",
    "grid",
    "kind",
    "street",
    "state",
    "note",
    "merged_into",
    "tags/late_night",
    "tags/\0",
    "tags/",
    "confirmations/2026-11-21",
    "confirmations/2026-02-30",
    "custom/x",
    "custom/a\0",
    "custom/",
    "contacts/0198c0de-0000-7000-8000-00000000000a/name",
    "contacts/0198c0de-0000-7000-8000-00000000000a/phones",
    "contacts/0198c0de-0000-7000-8000-00000000000a/party_status",
    "contacts/x/name",
    "consent/0198c0de-0000-7000-8000-00000000000c/decision",
    "member_name",
    "member_alias",
    "transfer_kind",
    "events/0198c0de-0000-7000-8000-00000000000e/type",
    "rulings/0198c0de-0000-7000-8000-00000000000e/no",
    "sealed/member_name",
    "",
    "/",
    "__proto__",
];

/// An operation of the documentation.
struct Operation {
    method: String,
    path: String,
    roles: Vec<String>,
    described: Value,
}

struct RandomAttack {
    office: Office,
    api: Value,
    dice: Dice,
    operations: Vec<Operation>,
    /// Ids that the street of the attacker has.
    ours: Theirs,
    theirs: Theirs,
    tokens: std::collections::BTreeMap<&'static str, String>,
    requests: u64,
    answered: u64,
    /// What must not be, by route and kind: the first of each.
    found: std::collections::BTreeMap<String, String>,
}

impl RandomAttack {
    async fn begin(seed: u64) -> Self {
        let office = Office::open().await;
        let api = office
            .call("GET", "/v1/openapi.json", None, Value::Null)
            .await
            .json;
        let ours = Theirs::make_in(&office, HOME, "A1", "here").await;
        let theirs = Theirs::make_in(&office, OTHER, "B1", "there").await;
        let mut tokens = everybody(&office).await;
        tokens.insert(ROOT, office.admin.clone());
        let mut operations = Vec::new();
        for (path, methods) in api["paths"].as_object().expect("the paths") {
            for (method, described) in methods.as_object().expect("their methods") {
                let roles = described["x-roles"].as_array().into_iter().flatten();
                let roles = roles.filter_map(Value::as_str).map(str::to_owned).collect();
                // The stream has attackers of its own.
                if !path.ends_with("/sync") {
                    let (method, path, described) =
                        (method.to_ascii_uppercase(), path.clone(), described.clone());
                    operations.push(Operation {
                        method,
                        path,
                        roles,
                        described,
                    });
                }
            }
        }
        assert!(operations.len() > 50, "the routes were not found");
        Self {
            office,
            api,
            dice: Dice(seed),
            operations,
            ours,
            theirs,
            tokens,
            requests: 0,
            answered: 0,
            found: std::collections::BTreeMap::new(),
        }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        schema["$ref"].as_str().map_or(schema, |path| {
            self.api
                .pointer(path.trim_start_matches('#'))
                .expect("the schema is there")
        })
    }

    fn text(&mut self) -> String {
        match self.dice.below(20) {
            0 => {
                let chars = self
                    .dice
                    .one(&[&60_usize, &101, &200, &401, &1_000, &5_000]);
                self.dice.garbage(*chars)
            }
            1 => self.id(),
            2 => "a".repeat(300),
            _ => self.dice.one(TEXTS).to_owned(),
        }
    }

    fn id(&mut self) -> String {
        let whose = if self.dice.percent(75) {
            &self.ours
        } else {
            &self.theirs
        };
        let Theirs {
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
        } = whose;
        let records = [record, second, third, transfer, twice].map(ToString::to_string);
        let all = [
            &records[0],
            &records[1],
            &records[2],
            &records[3],
            &records[4],
            import,
            join,
            contact_pair,
            held,
            pair,
            merge,
            resolution,
            bulk,
            device,
        ];
        if self.dice.percent(5) {
            NOBODY.to_owned()
        } else {
            self.dice.one(&all).clone()
        }
    }

    /// What a path's parameter may be: mostly something that is there.
    fn named(&mut self, path: &str, parameter: &str, is_root: bool) -> String {
        if parameter == "street" {
            // Elsewhere is refused by a test of its own, in every form; the deployment's admin may go there and must not break it.
            return match self.dice.below(20) {
                0 => "999999999".to_owned(),
                1 if !is_root => OTHER.to_owned(),
                2 => self
                    .dice
                    .one(&[
                        "31010400",
                        "%00",
                        "%ff",
                        "０００００００００",
                        "310104003%2f",
                    ])
                    .to_owned(),
                _ => HOME.to_owned(),
            };
        }
        if self.dice.percent(10) {
            let odd = [
                "%00",
                "%ff",
                "%2e%2e",
                "..",
                "%2F",
                "%",
                "null",
                "0",
                "-1",
                "x%20y",
                "%e7%8e%8b",
            ];
            return self.dice.one(&odd).to_owned();
        }
        if parameter == "username" {
            let users = [
                "secretary",
                "reviewer",
                "officer",
                "admin",
                "auditor",
                "here",
                "here.desk",
                "nobody",
                ROOT,
                "there",
            ];
            return self
                .dice
                .one(&users[..users.len() - usize::from(is_root)])
                .to_owned();
        }
        let whose = if self.dice.percent(80) || is_root {
            &self.ours
        } else {
            &self.theirs
        };
        match parameter {
            "record" if path.contains("/transfers/") => whose.transfer.to_string(),
            "record" => {
                let records = [whose.record, whose.second, whose.third, whose.transfer]
                    .map(|record| record.to_string());
                self.dice
                    .one(&[records[0].as_str(), &records[1], &records[2], &records[3]])
                    .to_owned()
            }
            "held" => whose.held.clone(),
            "pair" if path.contains("/contacts/") => whose.contact_pair.clone(),
            "pair" => whose.pair.clone(),
            "import" => whose.import.clone(),
            "join" => whose.join.clone(),
            "merge" => whose.merge.clone(),
            "resolution" => whose.resolution.clone(),
            "bulk" => whose.bulk.clone(),
            "device" => whose.device.clone(),
            other => panic!("{path} names {other}, which this test does not know"),
        }
    }

    fn address(&mut self, operation: &Operation, is_root: bool) -> String {
        let parts: Vec<String> = operation.path.split('/').map(str::to_owned).collect();
        let parts: Vec<String> = parts
            .into_iter()
            .map(|part| {
                match part
                    .strip_prefix('{')
                    .and_then(|part| part.strip_suffix('}'))
                {
                    Some(parameter) => self.named(&operation.path, parameter, is_root),
                    None => part,
                }
            })
            .collect();
        let mut address = parts.join("/");
        let parameters = operation.described["parameters"]
            .as_array()
            .into_iter()
            .flatten();
        let queries: Vec<&str> = parameters
            .filter(|p| p["in"] == "query")
            .filter_map(|p| p["name"].as_str())
            .collect();
        let mut query = Vec::new();
        for name in queries {
            if self.dice.percent(30) {
                let value = match self.dice.below(10) {
                    0..3 => self.dice.one(NUMBERS).to_owned(),
                    3 => self.dice.one(&["true", "false"]).to_owned(),
                    4 => self
                        .dice
                        .one(&["%", "%zz", "%ff", "%c0%80", "+", "%2B", "%00"])
                        .to_owned(),
                    _ => encoded(&self.text()),
                };
                query.push(format!("{name}={value}"));
                if self.dice.percent(3) {
                    query.push(format!("{name}=1"));
                }
            }
        }
        if self.dice.percent(3) {
            query.push(
                self.dice
                    .one(&["nobody=1", "=", "&&", "page[]=1", "%00=1"])
                    .to_owned(),
            );
        }
        if !query.is_empty() {
            address.push('?');
            address.push_str(&query.join("&"));
        }
        address
    }

    /// Something that the schema admits and the route may take, or anything else.
    fn value(&mut self, name: &str, schema: &Value, depth: usize) -> Value {
        if self.dice.percent(12) {
            return self.odd(depth);
        }
        let known = match name {
            "username" => Some(json!(self.dice.one(&[
                "reviewer",
                "secretary",
                "new.one",
                "nobody",
                "there"
            ]))),
            "role" => Some(json!(self.dice.one(&[
                "secretary",
                "reviewer",
                "officer",
                "auditor",
                "admin"
            ]))),
            "street" => Some(json!(self.dice.one(&[
                HOME,
                HOME,
                HOME,
                OTHER,
                "999999999"
            ]))),
            "grid" | "to_grid" | "from_grid" => {
                Some(json!(self.dice.one(&["A1", "A2", "A3", "B1", "A9"])))
            }
            "grids" => Some(json!(self.dice.one::<[&str]>(&[
                &[],
                &["A1"],
                &["A1", "A2"],
                &["B1"],
                &["A1", "A1"]
            ]))),
            "class" => Some(json!(self.dice.one(&[
                "spelling",
                "phone_format",
                "more_complete"
            ]))),
            "field" => Some(json!(self.dice.one(&[
                "sign_name",
                "unit",
                "opening_hours",
                "phones"
            ]))),
            "winner" | "loser" => Some(json!(
                self.dice
                    .one(&[self.ours.second, self.ours.third].each_ref())
                    .to_string()
            )),
            "entry" => Some(json!("0198c0de-0000-7000-8000-00000000000a")),
            "records" => Some(json!([self.id(), self.id()])),
            "kind" => Some(json!(self.dice.one(&["shop_card", "transfer_request"]))),
            "type" => Some(json!(STEPS[self.dice.below(STEPS.len())].code)),
            "side" => Some(json!(self.dice.one(&["odd", "even"]))),
            "set" => Some(self.edits()),
            "reason" => Some(json!(self.dice.one(&[
                "other",
                "subject_request",
                "不属实"
            ]))),
            "expected_heads" => Some(json!([format!("{:064x}", self.dice.next())])),
            "seen" => Some(json!([])),
            _ => None,
        };
        if let Some(known) = known {
            return known;
        }
        let schema = self.resolved(schema).clone();
        let kind = schema["type"].as_str().or_else(|| {
            schema["type"]
                .as_array()
                .and_then(|kinds| kinds[0].as_str())
        });
        match kind {
            Some("boolean") => json!(self.dice.percent(50)),
            Some("integer" | "number") => json!(self.dice.below(500)),
            Some("array") => json!([self.value(name, &schema["items"], depth + 1)]),
            _ => json!(self.text()),
        }
    }

    /// What no honest client sends.
    fn odd(&mut self, depth: usize) -> Value {
        match self.dice.below(9) {
            0 => Value::Null,
            1 => json!(self.dice.percent(50)),
            2 | 3 => serde_json::from_str(self.dice.one(NUMBERS)).unwrap_or(json!(1.5)),
            4 if depth < 3 => json!([self.odd(depth + 1)]),
            5 if depth < 3 => json!({ self.text(): self.odd(depth + 1) }),
            6 => json!(vec![
                self.text();
                *self.dice.one(&[&0_usize, &65, &1_001, &2_001])
            ]),
            _ => json!(self.text()),
        }
    }

    fn edits(&mut self) -> Value {
        let mut set = Map::new();
        if self.dice.percent(80) {
            set.insert("grid".into(), json!("A1"));
        }
        for _ in 0..=self.dice.below(4) {
            let key = match self.dice.below(12) {
                0 => format!("custom/{}", self.text()),
                1 => format!("tags/{}", self.text()),
                2 => self.text(),
                _ => self.dice.one(KEYS).to_owned(),
            };
            let value = match self.dice.below(10) {
                0 => self.odd(1),
                1 => json!(true),
                2 => Value::Null,
                _ => json!(self.text()),
            };
            set.insert(key, value);
        }
        set.into()
    }

    fn body(&mut self, operation: &Operation) -> (String, Vec<u8>) {
        let content = &operation.described["requestBody"]["content"];
        let Some(schema) = content
            .get("application/json")
            .map(|content| &content["schema"])
        else {
            if content.is_object() {
                return ("text/csv".to_owned(), self.sheet());
            }
            return (String::new(), Vec::new());
        };
        let schema = self.resolved(schema).clone();
        let parts: Vec<&Value> = std::iter::once(&schema)
            .chain(schema["allOf"].as_array().into_iter().flatten())
            .collect();
        let mut body = Map::new();
        for part in parts {
            let required: Vec<&str> = part["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                if self.dice.percent(if required.contains(&name.as_str()) {
                    97
                } else {
                    40
                }) {
                    let value = self.value(name, property, 0);
                    body.insert(name.clone(), value);
                }
            }
        }
        if let Some(code) = body.get("type").and_then(Value::as_str).map(str::to_owned) {
            for input in STEPS
                .iter()
                .find(|row| row.code == code)
                .into_iter()
                .flat_map(|row| row.form)
            {
                if self.dice.percent(80) {
                    let value = match input.name {
                        _ if self.dice.percent(20) => self.odd(0),
                        name if name.ends_with("_on") || name == "dues_until" => {
                            json!("2026-11-20")
                        }
                        name if name.ends_with("_days") => json!(10),
                        "reason_code" => json!("other"),
                        "letter_sighted" | "origin_confirmed" | "member_present" => json!("yes"),
                        "asked_by" => json!("member"),
                        "cause" => json!("member_word"),
                        "about" | "other" => json!(self.id()),
                        _ => json!(self.text()),
                    };
                    body.insert(input.name.to_owned(), value);
                }
            }
            body.insert("seen".into(), Value::Null);
        }
        let kind = if self.dice.percent(2) {
            "text/plain"
        } else {
            "application/json"
        };
        (kind.to_owned(), Value::from(body).to_string().into_bytes())
    }

    /// A small roll of odd cells.
    fn sheet(&mut self) -> Vec<u8> {
        let mut text = String::from("店招,地址,网格,联系人,联系电话,备注,消防,最近走访\n");
        for _ in 0..self.dice.below(4) {
            let cells: Vec<String> = (0..8)
                .map(|_| format!("\"{}\"", self.text().replace('"', "\"\"")))
                .collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        let mut bytes = text.into_bytes();
        if self.dice.percent(30) {
            let at = self.dice.below(bytes.len());
            bytes[at] = self.dice.next() as u8;
        }
        bytes
    }

    /// A role that is admitted, mostly.
    fn caller(&mut self, operation: &Operation) -> &'static str {
        let all: Vec<&'static str> = self.tokens.keys().copied().collect();
        let admitted: Vec<&'static str> = all
            .iter()
            .copied()
            .filter(|who| {
                operation
                    .roles
                    .iter()
                    .any(|role| role == who || (*who == ROOT && role == Role::Admin.as_str()))
            })
            .collect();
        let from = if admitted.is_empty() || self.dice.percent(5) {
            &all
        } else {
            &admitted
        };
        from[self.dice.below(from.len())]
    }

    /// One request, and all that must be true of its answer.
    async fn attack(&mut self) {
        let at = self.dice.below(self.operations.len());
        let operation = std::mem::replace(
            &mut self.operations[at],
            Operation {
                method: String::new(),
                path: String::new(),
                roles: Vec::new(),
                described: Value::Null,
            },
        );
        self.attack_by(&operation).await;
        self.operations[at] = operation;
    }

    async fn attack_by(&mut self, operation: &Operation) {
        let who = self.caller(operation);
        let is_root = who == ROOT;
        // Ends what the test lives by, or hashes passwords for its own sake.
        let ends = operation.path == "/v1/sessions" && operation.method == "DELETE"
            || operation.path.ends_with("/erase");
        let hashes = operation.path.ends_with("/password") || operation.path == "/v1/sessions";
        if ends && (is_root || self.dice.percent(80)) || hashes && self.dice.percent(85) {
            return;
        }
        let address = self.address(operation, is_root);
        let (kind, mut body) = self.body(operation);
        if self.dice.percent(2) {
            let upto = self.dice.below(body.len() + 1);
            body.truncate(upto);
        }
        let zh = self.dice.percent(50);
        let mut request = Request::builder()
            .method(operation.method.as_str())
            .uri(&address);
        request = request.header(header::ACCEPT_LANGUAGE, if zh { "zh" } else { "en" });
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if !operation.roles.is_empty() {
            request = request.header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.tokens[who]),
            );
        }
        let shown = String::from_utf8_lossy(&body)
            .chars()
            .take(600)
            .collect::<String>();
        // An address that is none never comes to the router.
        let Ok(request) = request.body(Body::from(body)) else {
            return;
        };
        let answer = send(&self.office, request).await;
        self.requests += 1;
        let what = format!(
            "request {}: {who} {} {address} {shown}",
            self.requests, operation.method
        );
        for (kind, wrong) in self.judge(operation, &answer, zh) {
            let key = format!("{kind}: {} {}", operation.method, operation.path);
            self.found
                .entry(key)
                .or_insert_with(|| format!("{what}\n    {wrong}"));
        }
        let told = String::from_utf8_lossy(&answer.body);
        let theirs = THEIR_WORDS
            .iter()
            .find(|word| !is_root && !operation.roles.is_empty() && told.contains(**word));
        assert!(
            theirs.is_none(),
            "{what}: {theirs:?} of another street in {told}"
        );
        // Somebody was signed out, disabled or made something else.
        if answer.status == 401 && !operation.roles.is_empty()
            || operation.path.starts_with("/v1/users/")
        {
            self.restore().await;
        }
    }

    /// What is wrong with an answer: its kind, and the particulars.
    fn judge(
        &mut self,
        operation: &Operation,
        answer: &Answer,
        zh: bool,
    ) -> Vec<(&'static str, String)> {
        let status = answer.status.as_u16();
        let told: String = format!("{status} {}", String::from_utf8_lossy(&answer.body))
            .chars()
            .take(1_200)
            .collect();
        let mut wrong = Vec::new();
        if status >= 500 {
            wrong.push(("broken", told));
        } else if answer.status.is_success() {
            self.answered += 1;
            let promised = &operation.described["responses"][status.to_string()];
            let schema = &promised["content"]["application/json"]["schema"];
            let mut other = Vec::new();
            self.compare(schema, &answer.json, "", &mut other);
            if !promised.is_object() || promised["content"].is_null() && !answer.body.is_empty() {
                wrong.push(("not documented", told));
            } else if !other.is_empty() {
                wrong.push(("not as documented", format!("{other:?} in {told}")));
            }
        } else if answer.headers["content-type"] != "application/problem+json" {
            wrong.push(("no problem document", told));
        } else {
            let schema = &operation.described["responses"]["default"]["content"]["application/problem+json"]
                ["schema"];
            let mut other = Vec::new();
            self.compare(schema, &answer.json, "", &mut other);
            if !schema.is_object() || !other.is_empty() {
                wrong.push((
                    "a refusal not as documented",
                    format!("{other:?} in {told}"),
                ));
            }
            wrong.extend(self.misworded(answer, zh).map(|kind| (kind, told)));
        }
        wrong
    }

    /// What is wrong with a refusal.
    fn misworded(&self, answer: &Answer, zh: bool) -> Option<&'static str> {
        let problem = &answer.json;
        let known = self.api["x-error-codes"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|code| code["code"] == answer.code());
        let Some(known) = known else {
            return Some("an unknown code");
        };
        let is_chinese = |text: &Value| {
            text.as_str()
                .is_some_and(|text| text.chars().any(|c| ('\u{4e00}'..'\u{a000}').contains(&c)))
        };
        let is_there = |text: &str| problem[text].as_str().is_some_and(|text| !text.is_empty());
        if known["status"] != answer.status.as_u16() {
            Some("the status of another code")
        } else if !["title", "detail", "request_id", "type"]
            .into_iter()
            .all(is_there)
        {
            Some("not a whole problem document")
        } else if problem["title"] != known["title"][if zh { "zh" } else { "en" }]
            || zh && !is_chinese(&problem["detail"])
        {
            Some("not in the language that was asked for")
        } else if answer.code() == "invalid_field"
            && !(problem["rule"].is_string() && problem["field"].is_string())
        {
            Some("which field, which rule?")
        } else {
            None
        }
    }

    /// Where a value is not what the schema says.
    fn compare(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let schema = self.resolved(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.compare(part, value, at, wrong);
        }
        if let Some(any) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            let fits = any.iter().any(|one| {
                let mut wrong = Vec::new();
                self.compare(one, value, at, &mut wrong);
                wrong.is_empty()
            });
            if !fits {
                wrong.push(format!("{at} is none of those: {value}"));
            }
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is = |kind: &&str| match *kind {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => false,
        };
        if !kinds.is_empty() && !kinds.iter().any(is) {
            wrong.push(format!("{at} is no {kinds:?}: {value}"));
            return;
        }
        for (n, item) in value.as_array().into_iter().flatten().enumerate() {
            self.compare(&schema["items"], item, &format!("{at}[{n}]"), wrong);
        }
        let Some(members) = value.as_object() else {
            return;
        };
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !members.contains_key(name) {
                wrong.push(format!("{at}.{name} is missing"));
            }
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(member) = members.get(name) {
                self.compare(property, member, &format!("{at}.{name}"), wrong);
            }
        }
    }

    /// Everybody is who they were, signed in.
    async fn restore(&mut self) {
        for role in Role::ALL {
            let change = json!({ "role": role.as_str(), "disabled": false });
            let path = format!("/v1/users/{role}");
            let changed = self
                .office
                .call("PATCH", &path, Some(&self.office.admin), change)
                .await;
            assert!(changed.status.is_success(), "{path}: {}", changed.json);
            let token = &self.tokens[role.as_str()];
            if self
                .office
                .call("GET", "/v1/streets", Some(token), Value::Null)
                .await
                .status
                == 401
            {
                self.tokens
                    .insert(role.as_str(), self.office.phone(role.as_str()).await.token);
            }
        }
    }
}

fn encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02x}").expect("a text takes everything");
        encoded
    })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test]
async fn whatever_is_asked_of_whatever_route() {
    let mut attack = RandomAttack::begin(number("LIANKA_SEED", 1)).await;
    let before = of_the_other_street(&attack.office).await;
    let wanted = number("LIANKA_ATTACKS", REQUESTS);
    while attack.requests < wanted {
        attack.attack().await;
    }
    let found: Vec<String> = attack
        .found
        .iter()
        .map(|(key, what)| format!("{key}\n  {what}"))
        .collect();
    assert!(
        found.is_empty(),
        "{} of them:\n{}",
        found.len(),
        found.join("\n")
    );
    // The admin of the deployment may add to it; nothing that was there has moved.
    let after = everything(&attack.office).await;
    let moved: Vec<_> = before.iter().filter(|row| !after.contains(row)).collect();
    assert!(moved.is_empty(), "{moved:?}");
    // An attack that is turned away at the gate proves nothing.
    assert!(
        attack.answered * 5 > attack.requests,
        "{} of {} got an answer",
        attack.answered,
        attack.requests
    );
}

async fn of_the_other_street(office: &Office) -> Vec<String> {
    everything(office)
        .await
        .into_iter()
        .filter(|row| row.contains(OTHER))
        .collect()
}
