//! `lianka serve` as a process, on a database of the tests' cluster, told where to die.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
};

use lianka_server::pipeline_point::PipelinePoint;
use lianka_tests::{program, program_with_failpoints};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::until;

/// What `abort` raises.
pub const SIGABRT: i32 = 6;

/// A running server; dropping it kills it.
pub struct Server {
    pub child: Child,
    /// `None`: it died before it could tell.
    pub address: Option<String>,
    pub ops_address: String,
}

impl Server {
    /// Starts on a database, to be killed at `point` when it has passed it `nth` times.
    pub fn start(database_url: &str, point: Option<(PipelinePoint, u32)>) -> Self {
        let program = match point {
            Some(_) => program_with_failpoints(),
            None => program("lianka"),
        };
        let mut command = Command::new(program);
        command.arg("serve").arg("--database-url").arg(database_url);
        Self::run(command, point)
    }

    /// Starts on whatever store the command names.
    pub fn run(mut command: Command, point: Option<(PipelinePoint, u32)>) -> Self {
        command
            .args([
                "--listen=127.0.0.1:0",
                "--ops-listen=127.0.0.1:0",
                "--log=off",
            ])
            .env_remove("DATABASE_URL");
        if let Some((point, nth)) = point {
            command.env("LIANKA_ABORT_AT", format!("{}:{nth}", point.name()));
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("lianka runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped"))
            .read_line(&mut line)
            .expect("a line or the end");
        let mut addresses = line
            .split_whitespace()
            .filter_map(|word| word.split_once("http://"))
            .map(|(_, host)| host.trim_end_matches(')'));
        let address = addresses.next().map(str::to_owned);
        let ops_address = addresses.next().unwrap_or_default().to_owned();
        Self {
            child,
            address,
            ops_address,
        }
    }

    pub fn url(&self) -> String {
        format!(
            "http://{}",
            self.address.as_deref().expect("the server starts")
        )
    }

    /// Waits until it has died by its own hand.
    pub async fn died(&mut self, at: PipelinePoint) {
        let mut ended = None;
        until(&format!("the end at {}", at.name()), async || {
            ended = self.child.try_wait().expect("it can be waited for");
            ended.is_some()
        })
        .await;
        assert_eq!(
            ended.and_then(|status| status.signal()),
            Some(SIGABRT),
            "{} was reached",
            at.name()
        );
    }

    /// A JSON request; `None` where the connection broke before an answer.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        ask(self.address.as_deref()?, method, path, token, body).await
    }

    /// What operators are told: the status, and why.
    pub async fn readiness(&self) -> (u16, String) {
        let (status, body) = ask(&self.ops_address, "GET", "/readyz", "", &Value::Null)
            .await
            .expect("the operators' listener answers");
        (
            status,
            body["reason"]
                .as_str()
                .or(body["status"].as_str())
                .unwrap_or_default()
                .to_owned(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that died already is only taken off the list.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn ask(
    address: &str,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: lianka\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}
