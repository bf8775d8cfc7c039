//! One builder for the scenes of tests: an office on a socket, secretaries with real phones, and desks that ask the routes of their street.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use lianka_client::phone::{EnrolOptions, Phone};
use lianka_server::street::projection;
use lianka_sync_core::{
    id::RecordId,
    kinds::projection::{CardRow, Projected, digest},
    time::DeviceTime,
};
use lianka_tests::{Answer, START_UNIX_MS, Served, program, request, send};
use serde_json::Value;
use tempfile::TempDir;

use crate::sync::phone::{HOME, Office, READ_MODELS, text};

/// What the clock of every real phone says.
pub const NOW: DeviceTime = DeviceTime::from_unix_ms(START_UNIX_MS);

/// An office on a socket, and a folder for the files of real phones.
pub struct Scene {
    pub office: Office,
    pub served: Served,
    pub files: TempDir,
}

impl Scene {
    pub async fn open() -> Self {
        let office = Office::open().await;
        Self {
            served: office.test.serve().await,
            office,
            files: TempDir::new().expect("a folder"),
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A new secretary of these grids of [`HOME`], with a real phone whose file has their name.
    pub async fn phone(&self, username: &str, grids: &[&str]) -> Phone {
        self.office.user(username, "secretary", Some(HOME)).await;
        self.office.assign(HOME, username, grids).await;
        self.enrol(username, username).await
    }

    /// Another real phone of a user, in a file that may be there.
    pub async fn enrol(&self, file: &str, username: &str) -> Phone {
        let (url, file) = (self.served.url(), self.file(file));
        enrol(&self.office, &url, &file, username).await
    }
}

/// Another real phone of a user, whose server has this address.
pub async fn enrol(office: &Office, url: &str, file: &Path, username: &str) -> Phone {
    let code = office.code(username).await;
    Phone::enrol(file, url, &code, EnrolOptions::default())
        .await
        .expect("enrolled")
}

/// All that a phone shows.
pub fn shown(phone: &Phone) -> [u8; 32] {
    digest(&phone.project_all().expect("readable"))
}

/// Whether `lianka-phone` succeeded, and what it said. The server may be asked meanwhile, by other threads of the test.
pub fn terminal(file: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program("lianka-phone"));
    command
        .arg("--store")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| command.output()).expect("the phone runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    (output.status.success(), text.concat())
}

/// Where somebody is signed in and asks what a street answers.
#[derive(Clone)]
pub struct Desk {
    router: Router,
    street: String,
    pub token: String,
}

impl Office {
    /// A new user of [`HOME`] at a desk.
    pub async fn desk(&self, username: &str, role: &str) -> Desk {
        self.desk_in(HOME, username, role).await
    }

    pub async fn desk_in(&self, street: &str, username: &str, role: &str) -> Desk {
        self.user(username, role, Some(street)).await;
        let phone = self.phone_in(street, username).await;
        self.desk_with(&phone.token).at(street)
    }

    /// The desk of whoever has this token.
    pub fn desk_with(&self, token: &str) -> Desk {
        Desk {
            router: self.test.router.clone(),
            street: HOME.to_owned(),
            token: token.to_owned(),
        }
    }

    pub fn admin(&self) -> Desk {
        self.desk_with(&self.admin)
    }

    /// Details of what the trail of [`HOME`] tells of an action, in its order.
    pub async fn events(&self, action: &str) -> Vec<Value> {
        let details: Vec<String> = sqlx::query_scalar(
            "select detail from audit_event where street = $1 and action = $2 order by no",
        )
        .bind(HOME)
        .bind(action)
        .fetch_all(&self.test.app.pool)
        .await
        .expect("the events");
        details
            .iter()
            .map(|detail| serde_json::from_str(detail).expect("a detail"))
            .collect()
    }

    /// How often any trail tells of an action.
    pub async fn told(&self, action: &str) -> i64 {
        sqlx::query_scalar("select count(*) from audit_event where action = $1")
            .bind(action)
            .fetch_one(&self.test.app.pool)
            .await
            .expect("a count")
    }

    /// The read models of [`HOME`] say what a rebuild would.
    pub async fn equals_rebuild(&self) {
        let before = self.rows(&READ_MODELS).await;
        let street = HOME.parse().expect("a street");
        projection::rebuild(&self.test.app.pool, &street, |_| ())
            .await
            .expect("rebuilt");
        assert_eq!(
            self.rows(&READ_MODELS).await,
            before,
            "the read models equal a rebuild"
        );
    }

    /// The same, and the audit trail is whole.
    pub async fn is_sound(&self) {
        self.equals_rebuild().await;
        let proof = self.admin().get("audit/verify").await;
        assert_eq!(proof["ok"], true, "{proof}");
    }
}

impl Desk {
    /// The same person asks under another street.
    pub fn at(&self, street: &str) -> Self {
        Self {
            street: street.to_owned(),
            ..self.clone()
        }
    }

    /// Whatever the answer is. A path is the street's own unless it begins with `/v1/`.
    pub async fn call(&self, method: &str, path: &str, json: Value) -> Answer {
        let path = if path.starts_with("/v1/") {
            path.to_owned()
        } else {
            format!("/v1/streets/{}/{path}", self.street)
        };
        let json = (!json.is_null()).then_some(json);
        request(
            &self.router,
            method,
            &path,
            Some(&self.token),
            json.as_ref(),
        )
        .await
    }

    /// A `GET`, whatever the answer is.
    pub async fn ask(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    /// Successfully.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.ask(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
        answer.json
    }

    /// Successfully.
    pub async fn post(&self, path: &str, json: Value) -> Value {
        let answer = self.call("POST", path, json).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json);
        answer.json
    }

    /// What is reported of a file of the roll.
    pub async fn import(&self, query: &str, file: impl Into<Body>) -> Value {
        let request = Request::post(format!("/v1/streets/{}/imports{query}", self.street))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(file.into())
            .expect("a request");
        let answer = Answer::read(send(&self.router, request).await).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        answer.json
    }

    /// The items of a page.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        let page = self.get(path).await;
        page["items"].as_array().expect("a page").clone()
    }

    /// A page of the roll, as phones project it.
    pub async fn cards(&self, query: &str) -> Vec<Projected> {
        let items = self.items(&format!("cards{query}")).await;
        let card = |item| serde_json::from_value::<CardRow>(item).expect("a card");
        items
            .into_iter()
            .map(|item| Projected::ShopCard(Box::new(card(item))))
            .collect()
    }

    /// A field of a record, `Null` where it has none.
    pub async fn field(&self, record: RecordId, key: &str) -> Value {
        let record = self.get(&format!("records/{record}")).await;
        let mut fields = record["fields"].as_array().expect("fields").iter();
        let field = fields.find(|field| field["key"] == key);
        field.cloned().unwrap_or_default()
    }

    /// The values of a field, the one that is shown last; empty where nothing.
    pub async fn values(&self, record: RecordId, key: &str) -> Vec<String> {
        let field = self.field(record, key).await;
        let values = field["values"].as_array().into_iter().flatten();
        values
            .map(|value| match &value["value"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .collect()
    }

    /// The changes that wait for a reviewer.
    pub async fn held(&self, query: &str) -> Vec<Value> {
        self.items(&format!("held{query}")).await
    }

    /// Accepts or refuses one of them, whatever the answer is.
    pub async fn decide(&self, held: &Value, word: &str, json: Value) -> Answer {
        let path = format!("held/{}/{word}", text(&held["held"]));
        self.call("POST", &path, json).await
    }
}
