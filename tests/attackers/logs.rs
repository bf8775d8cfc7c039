//! Secrets and people in the log: a real server, as talkative as it can be made, through a day of signing in, syncing, looking people up,
//! exporting, failing and being attacked; afterwards neither its log nor its Postgres' holds anything that somebody typed or was given.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use lianka_client::phone::{EnrolOptions, Phone};
use lianka_client_core::Filing;
use lianka_server::embedded_postgres;
use lianka_sync_core::{crdt::record::Edit, time::DeviceTime};
use lianka_tests::program;
use serde_json::{Value, json};
use sqlx::ConnectOptions;

use crate::sync::phone::{HOME, put, text};

const PASSWORD: &str = "Xq7-vermilion.lantern";
const WRONG_PASSWORD: &str = "Xq7-vermilion.lamppost";
const NEW_PASSWORD: &str = "Zt4-teal.umbrella.street";
const IN_THE_WRONG_FIELD: &str = "Hb9-typed.as.a.name";
const PERSON: &str = "周暮云";
const OTHER_PERSON: &str = "欧阳霁月";
const MEMBER: &str = "慕容秋水";
const SHOP: &str = "霁月斋茶铺";
const REMARK: &str = "钥匙放在门口花盆下";
const NUMBER: &str = "13900004321";
const MEMBER_NUMBER: &str = "13800007654";
const IDENTITY: &str = "110101199003070038";
const CONTACT: &str = "0198c0de-0000-7000-8000-00000000000a";
const NOW: DeviceTime = DeviceTime::from_unix_ms(lianka_tests::START_UNIX_MS);

/// The real program at level `trace`, with its log in a file.
struct Server {
    child: Child,
    address: String,
    log: PathBuf,
    data: PathBuf,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let (data, log) = (folder.join("data"), folder.join("log"));
        let mut command = Command::new(program("lianka"));
        command
            .args([
                "serve",
                "--listen=127.0.0.1:0",
                "--ops-listen=127.0.0.1:0",
                "--log=trace",
            ])
            .arg("--data-dir")
            .arg(&data);
        command
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file"))
            .env_remove("DATABASE_URL");
        let mut child = command.spawn().expect("lianka runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped"))
            .read_line(&mut line)
            .expect("a line");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("the server starts");
        Self {
            address: url.trim_start_matches("http://").to_owned(),
            child,
            log,
            data,
        }
    }

    /// Status and body of a request with these headers.
    fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: lianka\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a head");
        let status = String::from_utf8_lossy(&answer[9..12])
            .parse()
            .expect("a status");
        (status, answer.split_off(end + 4))
    }

    fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let headers =
            format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let (status, body) = self.send(method, path, &headers, &body);
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The same where it must succeed.
    fn done(&self, method: &str, path: &str, token: &str, body: &Value) -> Value {
        let (status, json) = self.json(method, path, token, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {json}"
        );
        json
    }

    fn refused(&self, method: &str, path: &str, token: &str, body: &Value) {
        let (status, json) = self.json(method, path, token, body);
        assert!(
            (400..500).contains(&status),
            "{method} {path}: {status} {json}"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn in_path(text: &str) -> String {
    joined(text.bytes().map(|byte| format!("%{byte:02X}")))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().concat()
}

/// A text as a log might hold it: as it is, escaped as JSON or Rust does, in a path, as hex or decimal bytes of a debug form.
fn spellings(secret: &str) -> Vec<String> {
    let escaped = joined(secret.chars().map(|c| format!("\\u{:04x}", u32::from(c))));
    let rust = joined(secret.chars().map(|c| format!("\\u{{{:x}}}", u32::from(c))));
    let bytes = joined(secret.bytes().map(|byte| format!("\\x{byte:02x}")));
    let decimal = secret
        .bytes()
        .map(|byte| byte.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let mut all = vec![
        secret.to_owned(),
        in_path(secret),
        in_path(secret).to_lowercase(),
        bytes,
        decimal,
    ];
    if !secret.is_ascii() {
        all.extend([escaped, rust]);
    }
    all.push(joined(secret.bytes().map(|byte| format!("{byte:02x}"))));
    all
}

/// Everybody who may, does what they do; everybody who may not, tries. Returns what was given out on the way.
async fn a_day(server: &Server, folder: &Path) -> Vec<String> {
    let mut given = Vec::new();
    let mut session = |json: &Value| {
        let (access, refresh) = (text(&json["access_token"]), text(&json["refresh_token"]));
        // A token cut in two is a secret still.
        given.extend([access.clone(), refresh.clone()]);
        given.extend(access.split('.').skip(1).map(str::to_owned));
        (access, refresh)
    };
    let street = |path: &str| format!("/v1/streets/{HOME}/{path}");

    // Signing in, well and badly.
    let login =
        |username: &str, password: &str| json!({ "username": username, "password": password });
    let (admin, refresh) =
        session(&server.done("POST", "/v1/sessions", "", &login("root", PASSWORD)));
    let (admin, _) = {
        let _ = admin;
        session(&server.done(
            "POST",
            "/v1/tokens",
            "",
            &json!({ "refresh_token": refresh }),
        ))
    };
    server.refused("POST", "/v1/sessions", "", &login("root", WRONG_PASSWORD));
    server.refused(
        "POST",
        "/v1/sessions",
        "",
        &login(IN_THE_WRONG_FIELD, PASSWORD),
    );
    server.refused(
        "POST",
        "/v1/tokens",
        "",
        &json!({ "refresh_token": format!("{refresh}x") }),
    );
    server.refused("GET", "/v1/users", &format!("{admin}x"), &Value::Null);
    server.refused(
        "POST",
        "/v1/devices",
        "",
        &json!({ "code": "K7TESTCODE", "name": PERSON, "platform": "android" }),
    );

    // A street, and people.
    server.done(
        "POST",
        "/v1/streets",
        &admin,
        &json!({ "street": HOME, "name": "天平路街道", "district": "徐汇区" }),
    );
    server.done(
        "POST",
        &street("grids"),
        &admin,
        &json!({ "grid": "A1", "name": "康平一", "area": "康平" }),
    );
    for (username, role) in [
        ("sec", "secretary"),
        ("rev", "reviewer"),
        ("off", "officer"),
    ] {
        let user = json!({ "username": username, "display_name": PERSON, "role": role, "street": HOME, "password": NEW_PASSWORD });
        server.done("POST", "/v1/users", &admin, &user);
    }
    server.refused(
        "POST",
        "/v1/users",
        &admin,
        &json!({ "username": "rev", "display_name": OTHER_PERSON, "role": "reviewer", "street": HOME }),
    );
    server.done(
        "PUT",
        &street("assignments/sec"),
        &admin,
        &json!({ "grids": ["A1"] }),
    );
    let (reviewer, _) =
        session(&server.done("POST", "/v1/sessions", "", &login("rev", NEW_PASSWORD)));
    let (officer, _) =
        session(&server.done("POST", "/v1/sessions", "", &login("off", NEW_PASSWORD)));
    let change = json!({ "old_password": WRONG_PASSWORD, "new_password": PASSWORD });
    server.refused("PUT", "/v1/users/rev/password", &reviewer, &change);

    // A phone with a shop, a person, a number in a remark, and a member who moves.
    let code = text(
        &server.done(
            "POST",
            "/v1/enrolments",
            &admin,
            &json!({ "username": "sec" }),
        )["code"],
    );
    given.push(code.clone());
    let options = EnrolOptions {
        name: Some(format!("{PERSON}的手机")),
        ..EnrolOptions::default()
    };
    let phone = Phone::enrol(
        &folder.join("phone"),
        &format!("http://{}", server.address),
        &code,
        options,
    )
    .await
    .expect("enrolled");
    let contact = |field: &str| format!("contacts/{CONTACT}/{field}");
    let edits = [
        put("sign_name", SHOP),
        put(&contact("name"), PERSON),
        put(&contact("phones"), NUMBER),
        Edit::Note {
            text: format!("{REMARK}，{OTHER_PERSON}"),
        },
    ];
    let with_identity = Edit::Note {
        text: format!("{REMARK}，{IDENTITY}"),
    };
    let refused = phone.create_card("A1", &[put("sign_name", SHOP), with_identity], NOW);
    assert!(refused.is_err(), "numbers of persons are not written down");
    let card = phone
        .create_card("A1", &edits, NOW)
        .expect("created")
        .record;
    let fields = [
        ("member_name", MEMBER),
        ("member_status", "正式"),
        ("origin_organisation", "某市某区某街道甲支部"),
        ("phone", MEMBER_NUMBER),
        ("target_branch", "康平支部"),
    ];
    let filing = Filing {
        transfer_kind: "cross_province_letter".into(),
        member_alias: MEMBER.into(),
        fields: fields
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
        consent_channel: Some("当面".into()),
        consent_wording: Some("2026-1".into()),
        submit: true,
    };
    let transfer = phone
        .file_transfer("A1", &filing, NOW)
        .expect("filed")
        .record;
    phone.sync().await.expect("synced");
    phone
        .edit(card, &[put(&contact("name"), OTHER_PERSON)], NOW)
        .expect("saved");
    phone.sync().await.expect("synced");

    // The office reads, searches, exports and edits.
    let (person, number) = (in_path(PERSON), in_path(NUMBER));
    for (token, path) in [
        (&reviewer, format!("cards?q={}", in_path(SHOP))),
        (
            &reviewer,
            format!("cards.csv?unmasked=true&q={}", in_path(SHOP)),
        ),
        (&reviewer, "cards.xlsx?unmasked=true".into()),
        (&reviewer, format!("records/{card}")),
        (&reviewer, format!("records/{card}/history")),
        (&admin, format!("persons?name={person}")),
        (&admin, format!("persons?phone={number}")),
        (&admin, format!("persons.xlsx?phone={number}")),
        (&officer, format!("transfers/{transfer}")),
        (&officer, "transfers".into()),
        (&admin, "audit".into()),
        (&admin, "audit/verify".into()),
    ] {
        server.done("GET", &street(&path), token, &Value::Null);
    }
    let edit = json!({ "set": { contact("name"): PERSON, "note": REMARK }, "note": REMARK });
    server.done(
        "POST",
        &street(&format!("records/{card}/edits")),
        &reviewer,
        &edit,
    );
    let edit = json!({ "set": { "opening_hours": format!("找{PERSON}，{IDENTITY}") } });
    let path = street(&format!("records/{card}/edits"));
    server.refused("POST", &path, &reviewer, &edit);
    let event =
        json!({ "type": "return", "reason_code": "other", "note": format!("{MEMBER}请补正") });
    server.json(
        "POST",
        &street(&format!("transfers/{transfer}/events")),
        &officer,
        &event,
    );
    let roll = format!("店招,联系人,联系电话\r\n{SHOP},{OTHER_PERSON},{NUMBER}\r\n,,{PERSON}\r\n");
    let headers = format!("authorization: Bearer {admin}\r\ncontent-type: text/csv\r\n");
    let import = street(&format!(
        "imports?grid=A1&dry_run=false&file_name={person}.csv"
    ));
    assert_eq!(
        server.send("POST", &import, &headers, roll.as_bytes()).0,
        200
    );
    attacks(server, &admin, &reviewer, &card.to_string());
    failures(server, &admin).await;
    server.done(
        "POST",
        &street(&format!("records/{card}/redact")),
        &admin,
        &json!({ "entry": CONTACT, "reason": PERSON }),
    );
    server.done(
        "POST",
        &street(&format!("records/{card}/erase")),
        &admin,
        &json!({ "reason": REMARK }),
    );
    server.done("DELETE", "/v1/sessions", &reviewer, &Value::Null);
    given
}

/// Requests that are broken where a person's data stands.
fn attacks(server: &Server, admin: &str, reviewer: &str, card: &str) {
    let street = |path: &str| format!("/v1/streets/{HOME}/{path}");
    let person = in_path(PERSON);
    for (method, path) in [
        ("GET", format!("/v1/users/{person}")),
        ("PATCH", format!("/v1/users/{person}")),
        ("GET", format!("/v1/{person}")),
        ("GET", format!("/v1/streets/{person}/cards")),
        ("GET", street(&format!("cards?sort={person}"))),
        ("GET", street(&format!("cards?{person}={person}"))),
        ("GET", street(&format!("records/{person}"))),
        ("GET", street(&format!("persons?phone={person}"))),
        (
            "GET",
            street(&format!("persons?name={}", in_path(&PERSON.repeat(40)))),
        ),
        ("POST", street(&format!("imports?grid={person}"))),
    ] {
        server.refused(
            method,
            &path,
            admin,
            &if method == "PATCH" {
                json!({ "display_name": PERSON })
            } else {
                Value::Null
            },
        );
    }
    for body in [
        json!({ PERSON: NUMBER }),
        json!({ "set": { PERSON: NUMBER } }),
        json!({ "set": { "sign_name": [PERSON] } }),
        json!({ "set": { "occupancy": PERSON } }),
        json!({ "set": { "sign_name": format!("{PERSON}\u{0}") } }),
        json!({ "set": { "sign_name": PERSON.repeat(100) } }),
        json!([PERSON]),
    ] {
        server.refused(
            "POST",
            &street(&format!("records/{card}/edits")),
            reviewer,
            &body,
        );
    }
    let json_headers =
        format!("authorization: Bearer {admin}\r\ncontent-type: application/json\r\n");
    let broken = format!(r#"{{"username":"{PERSON}","password":"{WRONG_PASSWORD}""#);
    assert_eq!(
        server
            .send("POST", "/v1/sessions", &json_headers, broken.as_bytes())
            .0,
        400
    );
    for headers in [
        format!("authorization: Basic {WRONG_PASSWORD}\r\n"),
        format!("authorization: Bearer {WRONG_PASSWORD}\r\ncookie: session={NEW_PASSWORD}\r\n"),
        format!(
            "authorization: Bearer {}\r\nx-api-key: {PASSWORD}\r\nx-request-id: {PERSON}\r\nreferer: http://lianka/?q={PERSON}\r\n",
            in_path(PERSON)
        ),
    ] {
        assert_eq!(
            server
                .send("GET", &format!("/v1/users?name={person}"), &headers, b"")
                .0,
            401
        );
    }
    // The stream: lines that do not parse, and changes that are none.
    let ndjson =
        format!("authorization: Bearer {reviewer}\r\ncontent-type: application/x-ndjson\r\n");
    let hello = r#"{"type":"hello","cursor":null,"client":"t/1","pull":false}"#;
    for line in [
        format!(r#"{{"type":"{PERSON}"}}"#),
        format!(r#"{{"type":"change","record":"{PERSON}"}}"#),
        format!(
            r#"{{"type":"change","record":"{card}","kind":"{PERSON}","generation":1,"bytes":"{NUMBER}"}}"#
        ),
        format!(
            r#"{{"type":"change","record":"{card}","kind":"shop_card","generation":1,"bytes":"{PERSON}"}}"#
        ),
        format!(r#"{{"type":"hello","client":"{PERSON}","cursor":"{PERSON}","pull":true"#),
    ] {
        let (status, _) = server.send(
            "POST",
            &street("sync"),
            &ndjson,
            format!("{hello}\n{line}\n").as_bytes(),
        );
        assert!((400..500).contains(&status), "{line}: {status}");
    }
    let client = format!(
        "{{\"type\":\"hello\",\"cursor\":\"{NUMBER}\",\"client\":\"{PERSON}\",\"pull\":true}}\n"
    );
    server.send("POST", &street("sync"), &ndjson, client.as_bytes());
}

/// The store fails under requests that carry people: its own messages quote what it was given.
async fn failures(server: &Server, admin: &str) {
    let options = embedded_postgres::running_on(&server.data).expect("the private Postgres runs");
    let mut store = options.connect().await.expect("it takes connections");
    let user = |username: &str| json!({ "username": username, "display_name": OTHER_PERSON, "role": "reviewer", "street": HOME });
    for (spoil, mend) in [
        (
            "alter table account add constraint spoilt check (display_name = '') not valid",
            "alter table account drop constraint spoilt",
        ),
        (
            "alter table account alter column display_name type int using 0",
            "alter table account alter column display_name type text using ''",
        ),
        (
            "alter table account rename column display_name to other",
            "alter table account rename column other to display_name",
        ),
    ] {
        sqlx::raw_sql(spoil)
            .execute(&mut store)
            .await
            .expect("spoilt");
        let (status, json) = server.json("POST", "/v1/users", admin, &user("new.one"));
        assert!(status >= 500, "{spoil}: {status} {json}");
        sqlx::raw_sql(mend)
            .execute(&mut store)
            .await
            .expect("mended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_nobodys_name_is_in_any_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let mut create = Command::new(program("lianka"));
    create
        .args(["admin", "create", "--username=root", "--log=trace"])
        .arg("--display-name")
        .arg(PERSON);
    create
        .arg("--data-dir")
        .arg(&server.data)
        .env_remove("DATABASE_URL");
    create
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.path().join("create")).expect("a file"));
    let mut create = create.spawn().expect("lianka runs");
    create
        .stdin
        .take()
        .expect("it is piped")
        .write_all(format!("{PASSWORD}\n").as_bytes())
        .expect("it reads");
    assert!(create.wait().expect("it ends").success());

    let given = a_day(&server, folder.path()).await;

    let mut logs: Vec<(String, String)> = Vec::new();
    for path in [
        server.log.clone(),
        server.data.join("postgres.log"),
        folder.path().join("create"),
    ] {
        let text = String::from_utf8_lossy(&fs::read(&path).expect("a log")).into_owned();
        logs.push((path.display().to_string(), text));
    }
    // It did log, and as much as it can.
    assert!(
        logs[0].1.lines().count() > 300
            && logs[0].1.contains("DEBUG")
            && logs[0].1.contains("answered"),
        "{}",
        logs[0].1
    );
    assert!(logs[0].1.contains("failed"), "the failures are told");
    let typed = [
        PASSWORD,
        WRONG_PASSWORD,
        NEW_PASSWORD,
        IN_THE_WRONG_FIELD,
        PERSON,
        OTHER_PERSON,
        MEMBER,
        SHOP,
        REMARK,
        NUMBER,
        MEMBER_NUMBER,
        IDENTITY,
        "K7TESTCODE",
        "$argon2id$",
    ];
    let mut found = Vec::new();
    for secret in typed.into_iter().chain(given.iter().map(String::as_str)) {
        for spelling in spellings(secret) {
            for (path, log) in &logs {
                found.extend(
                    log.lines()
                        .filter(|line| line.contains(&spelling))
                        .take(3)
                        .map(|line| format!("{path}: {secret} in {line}")),
                );
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
