//! The street office: what an administrator and a reviewer do at a desk, over ordinary HTTP.
//!
//! Input: the server's address and a login. Output: accounts, grids, codes, and the merged roll as the rows that phones project too. A session
//! that has expired is opened again by itself.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use lianka_sync_core::{
    codec::change::Scalar,
    id::RecordId,
    kinds::projection::{CardRow, Projected},
    lang::Lang,
};
use reqwest::{Method, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::RwLock;

/// An import of some thousand rows on a slow machine.
const REQUEST_TIME_MAX: Duration = Duration::from_mins(5);
const PAGE_SIZE: usize = 200;
/// Pages asked for at the same time.
const PAGES_AT_ONCE: usize = 4;
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// A login that was made here.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: String,
    pub password: String,
}

/// A desk with a login.
pub struct Office {
    http: reqwest::Client,
    url: String,
    login: Login,
    lang: Lang,
    token: RwLock<String>,
}

#[derive(Deserialize)]
struct Session {
    access_token: String,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    total: usize,
}

/// A grid of a street.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Grid {
    pub code: String,
    pub name: String,
    pub area: String,
}

impl Office {
    /// Signs in.
    pub async fn sign_in(
        http: reqwest::Client,
        url: &str,
        login: &Login,
        lang: Lang,
    ) -> anyhow::Result<Self> {
        let office = Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            login: login.clone(),
            lang,
            token: RwLock::default(),
        };
        office.open_session().await?;
        Ok(office)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Language of messages to people.
    pub fn lang(&self) -> Lang {
        self.lang
    }

    async fn open_session(&self) -> anyhow::Result<()> {
        let login = json!({ "username": self.login.username, "password": self.login.password, "name": "simulator" });
        let answer = self
            .http
            .post(format!("{}/v1/sessions", self.url))
            .json(&login)
            .send()
            .await;
        let answer = answer.with_context(|| format!("no server answers at {}", self.url))?;
        let session: Session = read(answer)
            .await
            .with_context(|| format!("cannot sign in as {}", self.login.username))?;
        *self.token.write().await = session.access_token;
        Ok(())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Body<'_>,
    ) -> anyhow::Result<T> {
        let answer = self.answer(method.clone(), path, body).await?;
        read(answer)
            .await
            .with_context(|| format!("{method} {path}"))
    }

    /// Sends a request, and once more under a new session where the old one has expired. The answer is a success.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: &Body<'_>,
    ) -> anyhow::Result<reqwest::Response> {
        for again in [true, false] {
            let request = self
                .http
                .request(method.clone(), format!("{}{path}", self.url))
                .timeout(REQUEST_TIME_MAX);
            let request = request
                .bearer_auth(&*self.token.read().await)
                .header(header::ACCEPT_LANGUAGE, self.lang.as_str());
            let request = match body {
                Body::None => request,
                Body::Json(value) => request.json(value),
                Body::Sheet(bytes) => request
                    .header(header::CONTENT_TYPE, XLSX)
                    .body(bytes.to_vec()),
            };
            let answer = request
                .send()
                .await
                .with_context(|| format!("{method} {path}: the server does not answer"))?;
            if answer.status() == StatusCode::UNAUTHORIZED && again {
                self.open_session().await?;
                continue;
            }
            if answer.status().is_success() {
                return Ok(answer);
            }
            return read::<Value>(answer)
                .await
                .and_then(|_| bail!("it was no success"))
                .with_context(|| format!("{method} {path}"));
        }
        bail!("{method} {path}: a session that was just opened is refused")
    }

    /// Posts a JSON document.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, &Body::Json(body)).await
    }

    /// Reads a JSON document.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, &Body::None).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.answer(Method::DELETE, path, &Body::None)
            .await
            .map(drop)
    }

    /// Downloads a file; how many bytes it has.
    pub async fn download(&self, path: &str) -> anyhow::Result<usize> {
        let mut answer = self.answer(Method::GET, path, &Body::None).await?;
        let mut bytes = 0;
        while let Some(chunk) = answer
            .chunk()
            .await
            .with_context(|| format!("GET {path}: the answer broke off"))?
        {
            bytes += chunk.len();
        }
        Ok(bytes)
    }

    pub async fn create_street(
        &self,
        street: &str,
        name: &str,
        district: &str,
    ) -> anyhow::Result<()> {
        self.post(
            "/v1/streets",
            json!({ "street": street, "name": name, "district": district }),
        )
        .await
        .map(drop)
    }

    pub async fn create_grid(&self, street: &str, grid: &Grid) -> anyhow::Result<()> {
        let body = json!({ "grid": grid.code, "name": grid.name, "area": grid.area });
        self.post(&format!("/v1/streets/{street}/grids"), body)
            .await
            .map(drop)
    }

    pub async fn add_roads(&self, street: &str, roads: &[String]) -> anyhow::Result<()> {
        self.post(
            &format!("/v1/streets/{street}/roads"),
            json!({ "roads": roads }),
        )
        .await
        .map(drop)
    }

    /// An account; without a password it can only enrol devices.
    pub async fn create_user(
        &self,
        street: &str,
        username: &str,
        display_name: &str,
        role: &str,
        password: Option<&str>,
    ) -> anyhow::Result<()> {
        let body = json!({ "username": username, "display_name": display_name, "role": role, "street": street, "password": password });
        self.post("/v1/users", body).await.map(drop)
    }

    pub async fn assign(
        &self,
        street: &str,
        username: &str,
        grids: &[String],
    ) -> anyhow::Result<()> {
        let path = format!("/v1/streets/{street}/assignments/{username}");
        self.send::<Value>(Method::PUT, &path, &Body::Json(json!({ "grids": grids })))
            .await
            .map(drop)
    }

    /// A one-time code with which a phone of the user enrols.
    pub async fn enrolment_code(&self, username: &str) -> anyhow::Result<String> {
        let answer = self
            .post("/v1/enrolments", json!({ "username": username }))
            .await?;
        Ok(answer["code"]
            .as_str()
            .context("the server's answer holds no code")?
            .to_owned())
    }

    /// Posts a workbook.
    pub async fn post_sheet(&self, path: &str, sheet: &[u8]) -> anyhow::Result<Value> {
        self.send(Method::POST, path, &Body::Sheet(sheet)).await
    }

    /// Previews or imports a roll; the report as the server writes it.
    pub async fn import<T: DeserializeOwned>(
        &self,
        street: &str,
        sheet: &[u8],
        dry_run: bool,
    ) -> anyhow::Result<T> {
        self.send(
            Method::POST,
            &format!("/v1/streets/{street}/imports?dry_run={dry_run}"),
            &Body::Sheet(sheet),
        )
        .await
    }

    /// Cards in the merged roll.
    pub async fn card_count(&self, street: &str) -> anyhow::Result<usize> {
        let page: Page<Value> = self
            .send(
                Method::GET,
                &format!("/v1/streets/{street}/cards?page_size=1"),
                &Body::None,
            )
            .await?;
        Ok(page.total)
    }

    /// The whole merged roll.
    pub async fn cards(&self, street: &str) -> anyhow::Result<BTreeMap<RecordId, Projected>> {
        let page = |page: usize| async move {
            let path = format!("/v1/streets/{street}/cards?page={page}&page_size={PAGE_SIZE}");
            self.send::<Page<CardRow>>(Method::GET, &path, &Body::None)
                .await
        };
        let first = page(1).await?;
        let pages = first.total.div_ceil(PAGE_SIZE);
        let rest: Vec<_> = stream::iter(2..=pages)
            .map(page)
            .buffered(PAGES_AT_ONCE)
            .try_collect()
            .await?;
        let rows = first
            .items
            .into_iter()
            .chain(rest.into_iter().flat_map(|page| page.items));
        let cards: BTreeMap<_, _> = rows
            .map(|row| (row.record, Projected::ShopCard(Box::new(row))))
            .collect();
        if cards.len() != first.total {
            bail!(
                "the roll has {} cards, and its pages hold {} different ones",
                first.total,
                cards.len()
            );
        }
        Ok(cards)
    }

    /// Every concurrent value of every field of a record.
    pub async fn values(
        &self,
        street: &str,
        record: RecordId,
    ) -> anyhow::Result<BTreeMap<String, Vec<Scalar>>> {
        #[derive(Deserialize)]
        struct Record {
            fields: Vec<Field>,
        }
        #[derive(Deserialize)]
        struct Field {
            key: String,
            values: Vec<FieldValue>,
        }
        #[derive(Deserialize)]
        struct FieldValue {
            value: Scalar,
        }
        let record: Record = self
            .send(
                Method::GET,
                &format!("/v1/streets/{street}/records/{record}"),
                &Body::None,
            )
            .await?;
        let fields = record.fields.into_iter();
        Ok(fields
            .map(|field| {
                (
                    field.key,
                    field.values.into_iter().map(|value| value.value).collect(),
                )
            })
            .collect())
    }
}

/// For this machine or another, never through a proxy: a test server is not on the internet.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    // A second call finds the provider installed; that is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .context("no HTTP client can be made")
}

enum Body<'b> {
    None,
    Json(Value),
    Sheet(&'b [u8]),
}

/// The answer, or what the server's problem document says.
async fn read<T: DeserializeOwned>(answer: reqwest::Response) -> anyhow::Result<T> {
    let status = answer.status();
    let bytes = answer.bytes().await.context("the answer broke off")?;
    if !status.is_success() {
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let said = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        bail!(
            "the server says {status} {} {}",
            said("code"),
            said("detail")
        );
    }
    serde_json::from_slice(&bytes)
        .context("the server's answer has another form than this program knows")
}
