//! Desks of the office, over ordinary HTTP: the routes that a version has, and nothing about what they mean.
//!
//! In: a path and JSON. Out: JSON, or what the server said instead. A desk is a device that enrolled with a code, so that no password has to be
//! changed and no session ends while a version is played.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::{Value, json};

/// The street that is played.
pub const STREET: &str = "310104003";
const PASSWORD: &str = "Tianping-2026-frozen";
const PAGE_SIZE: usize = 200;

/// Every desk of one office; see the module.
pub struct Desks {
    http: reqwest::Client,
    url: String,
    tokens: BTreeMap<String, String>,
}

impl Desks {
    /// The first admin, signed in with a password.
    pub async fn open(url: &str, admin: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut desks = Self {
            http,
            url: url.to_owned(),
            tokens: BTreeMap::new(),
        };
        let login = json!({ "username": admin, "password": PASSWORD, "name": "窗口" });
        let session = desks.send("", Method::POST, "/v1/sessions", &login).await?;
        desks.keep(admin, &session)?;
        Ok(desks)
    }

    /// What `lianka admin create` reads.
    pub fn password() -> String {
        format!("{PASSWORD}\n")
    }

    fn keep(&mut self, username: &str, session: &Value) -> anyhow::Result<()> {
        let token = session["access_token"]
            .as_str()
            .context("a session without a token")?;
        self.tokens.insert(username.to_owned(), token.to_owned());
        Ok(())
    }

    /// Gives a user a desk.
    pub async fn enrol(&mut self, username: &str) -> anyhow::Result<()> {
        let code = self.code(username).await?;
        let session = self
            .send(
                "",
                Method::POST,
                "/v1/devices",
                &json!({ "code": code, "name": "窗口", "platform": "web" }),
            )
            .await?;
        self.keep(username, &session)
    }

    pub async fn code(&self, username: &str) -> anyhow::Result<String> {
        let answer = self
            .send(
                "admin",
                Method::POST,
                "/v1/enrolments",
                &json!({ "username": username }),
            )
            .await?;
        Ok(answer["code"]
            .as_str()
            .context("an answer without a code")?
            .to_owned())
    }

    /// Any request; an empty username sends no token.
    pub async fn send(
        &self,
        username: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.url))
            .header("accept-language", "en");
        if let Some(token) = self.tokens.get(username) {
            request = request.bearer_auth(token);
        }
        request = match body {
            Value::Null => request,
            Value::String(sheet) => request
                .header("content-type", "text/csv")
                .body(sheet.clone()),
            body => request.json(body),
        };
        let answer = request
            .send()
            .await
            .with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        if !status.is_success() {
            bail!(
                "{username}: {method} {path} {body}: {status} {}",
                String::from_utf8_lossy(&bytes)
            );
        }
        Ok(if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)?
        })
    }

    /// A request about the street.
    pub async fn post(&self, username: &str, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(
            username,
            Method::POST,
            &format!("/v1/streets/{STREET}/{path}"),
            &body,
        )
        .await
    }

    pub async fn assign(&self, username: &str, grids: &[&str]) -> anyhow::Result<()> {
        let path = format!("/v1/streets/{STREET}/assignments/{username}");
        self.send("admin", Method::PUT, &path, &json!({ "grids": grids }))
            .await
            .map(drop)
    }

    /// What a path of the street shows, all pages of it.
    pub async fn read(&self, username: &str, path: &str) -> anyhow::Result<Value> {
        let first = self.page(username, path, 1).await?;
        let Some(total) = first["total"].as_u64() else {
            return Ok(first);
        };
        let mut items = first["items"].as_array().cloned().unwrap_or_default();
        for page in 2..=(total as usize).div_ceil(PAGE_SIZE) {
            items.extend(
                self.page(username, path, page).await?["items"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        Ok(Value::Array(items))
    }

    async fn page(&self, username: &str, path: &str, page: usize) -> anyhow::Result<Value> {
        let whole = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/v1/streets/{STREET}/{path}")
        };
        let paged = !["records/", "transfers/", "verify"]
            .iter()
            .any(|one| path.contains(one));
        let query = if paged {
            format!(
                "{}page={page}&page_size={PAGE_SIZE}",
                if path.contains('?') { '&' } else { '?' }
            )
        } else {
            String::new()
        };
        self.send(
            username,
            Method::GET,
            &format!("{whole}{query}"),
            &Value::Null,
        )
        .await
    }
}
