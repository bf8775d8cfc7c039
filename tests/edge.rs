//! The edge, over real sockets: peers that are slow, silent, greedy, confused or gone keep nobody else waiting, and nothing half-sent is stored.
//!
//! Limits are set to a fraction of a second; a test then waits for what must happen, a socket that closes or an answer, and never for time.

use std::{io, net::SocketAddr, time::Duration};

use axum::http::StatusCode;
use lianka_server::edge::{self, Limits, Pace};
use lianka_sync_core::codec::wire::{PushedChange, RequestItem};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::sync::phone::{HOME, Office, STORE, put};

/// Far more than any limit below; who meets it has found a mistake.
const OUTER: Duration = Duration::from_mins(1);
/// Short for a test, long for a machine that is busy with others.
const SHORT: Duration = Duration::from_millis(800);
const LONG: Duration = Duration::from_mins(10);
/// Between two bytes of one who trickles.
const PAUSE: Duration = Duration::from_millis(40);

/// Limits that no test meets by being slow.
fn patient() -> Limits {
    let pace = Pace {
        stall: LONG,
        bytes_per_second_min: 1,
    };
    Limits {
        connections_max: 200,
        connections_per_peer_max: 200,
        trusted: Vec::new(),
        head: LONG,
        idle: LONG,
        pace,
    }
}

struct Edge {
    office: Office,
    address: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

impl Edge {
    async fn open(limits: Limits) -> Self {
        let office = Office::open().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, stopping) = (
            listener.local_addr().expect("its address"),
            CancellationToken::new(),
        );
        let serving = tokio::spawn(edge::serve(
            listener,
            office.test.router.clone(),
            limits,
            stopping.clone(),
        ));
        Self {
            office,
            address,
            stopping,
            serving,
        }
    }

    async fn connect(&self) -> Peer {
        Peer(TcpStream::connect(self.address).await.expect("it listens"))
    }

    async fn connect_from(&self, own: &str) -> Peer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(format!("{own}:0").parse().expect("an address"))
            .expect("every loopback address is ours");
        Peer(socket.connect(self.address).await.expect("it listens"))
    }

    /// Somebody else is served.
    async fn serves(&self) {
        let mut honest = self.connect().await;
        honest.say(&get("/readyz")).await;
        assert_eq!(honest.answer().await.status, 200);
    }
}

/// The other end of a connection.
struct Peer(TcpStream);

struct Heard {
    status: u16,
    head: String,
    json: Value,
}

impl Heard {
    fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
}

impl Peer {
    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("it listens");
    }

    /// Sends as much as is taken.
    async fn shout(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// One answer with a content-length.
    async fn answer(&mut self) -> Heard {
        timeout(OUTER, self.try_answer())
            .await
            .expect("an answer in time")
            .expect("an answer")
    }

    async fn try_answer(&mut self) -> io::Result<Heard> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect("a status");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok(Heard {
            status,
            head,
            json: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    /// Whatever comes until the server closes.
    async fn closes(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut piece = [0; 4096];
        let reading = async {
            while let Ok(length @ 1..) = self.0.read(&mut piece).await {
                rest.extend_from_slice(&piece[..length]);
            }
        };
        timeout(OUTER, reading).await.expect("the server closes");
        rest
    }

    /// Sends a byte now and then until the server has had enough.
    async fn trickles(&mut self, bytes: impl Iterator<Item = u8>) -> bool {
        let mut piece = [0; 4096];
        for byte in bytes {
            if self.0.write_all(&[byte]).await.is_err() {
                return true;
            }
            // It says something, or nothing more.
            if timeout(PAUSE, self.0.peek(&mut piece)).await.is_ok() {
                return true;
            }
        }
        false
    }

    /// Whether the server holds the connection still.
    async fn stands(&mut self) -> bool {
        self.say(&get("/healthz")).await;
        matches!(
            timeout(OUTER, self.try_answer()).await,
            Ok(Ok(Heard { status: 200, .. }))
        )
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: lianka\r\n\r\n").into_bytes()
}

fn post(path: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: lianka\r\ncontent-length: {length}\r\n{headers}\r\n")
        .into_bytes()
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn a_head_that_does_not_come_is_waited_for_no_longer_than_it_may() {
    let edge = Edge::open(Limits {
        head: SHORT,
        ..patient()
    })
    .await;
    let mut silent = edge.connect().await;
    assert!(
        silent.closes().await.is_empty(),
        "who says nothing hears nothing"
    );
    let mut half = edge.connect().await;
    half.say(b"GET /healthz HTTP/1.1\r\nhost: lia").await;
    assert!(half.closes().await.is_empty());
    let mut trickling = edge.connect().await;
    let endless = b"GET /healthz HTTP/1.1\r\nx: "
        .iter()
        .copied()
        .chain(std::iter::repeat(b'x'));
    assert!(
        trickling.trickles(endless.take(2_000)).await,
        "a byte now and then is no head"
    );
    let mut later = edge.connect().await;
    assert!(later.stands().await);
    later.say(b"GET /hea").await;
    assert!(
        later.closes().await.is_empty(),
        "nor is half a second request"
    );
    edge.serves().await;
}

#[tokio::test]
async fn a_connection_rests_between_requests_as_long_as_it_may() {
    let edge = Edge::open(Limits {
        head: SHORT,
        ..patient()
    })
    .await;
    let mut resting = edge.connect().await;
    assert!(resting.stands().await);
    assert!(
        edge.connect().await.closes().await.is_empty(),
        "the time for a head is over"
    );
    assert!(resting.stands().await, "a rest is no late head");

    let edge = Edge::open(Limits {
        idle: SHORT,
        ..patient()
    })
    .await;
    let mut resting = edge.connect().await;
    assert!(resting.stands().await);
    assert!(resting.closes().await.is_empty());
    edge.serves().await;
}

#[tokio::test]
async fn a_body_that_stands_still_or_trickles_is_given_up_with_words() {
    let pace = Pace {
        stall: SHORT,
        bytes_per_second_min: 100_000,
    };
    let edge = Edge::open(Limits { pace, ..patient() }).await;
    for trickle in [false, true] {
        let mut slow = edge.connect().await;
        slow.say(&post("/v1/tokens", JSON, 5_000)).await;
        if trickle {
            assert!(slow.trickles(std::iter::repeat_n(b' ', 4_000)).await);
        }
        let heard = slow.answer().await;
        assert_eq!(
            (heard.status, heard.code()),
            (408, "body_too_slow"),
            "trickle: {trickle}"
        );
        assert_eq!(heard.json["retryable"], true);
        slow.closes().await;
    }
    edge.serves().await;
}

#[tokio::test]
async fn a_slow_body_that_keeps_coming_is_waited_for() {
    let pace = Pace {
        stall: SHORT,
        bytes_per_second_min: 10,
    };
    let edge = Edge::open(Limits { pace, ..patient() }).await;
    let mut slow = edge.connect().await;
    let body = format!("{{\"refresh_token\":\"{}\"}}", "x".repeat(40));
    slow.say(&post("/v1/tokens", JSON, body.len())).await;
    // Three times as long as the line may stand still.
    for piece in body.as_bytes().chunks(1) {
        slow.say(piece).await;
        assert!(
            timeout(PAUSE, slow.0.peek(&mut [0])).await.is_err() || piece.ends_with(b"}"),
            "not given up"
        );
    }
    assert_eq!(slow.answer().await.code(), "refresh_invalid");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let pace = Pace {
        stall: SHORT,
        bytes_per_second_min: 1 << 20,
    };
    let edge = Edge::open(Limits { pace, ..patient() }).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut greedy = Peer(socket.connect(edge.address).await.expect("it listens"));
    // Some hundred kilobytes each, and none of them read.
    let asked = 200;
    greedy.shout(&get("/v1/openapi.json").repeat(asked)).await;
    edge.serves().await;
    // A server that stops waits for requests under way; this one is not waited for.
    edge.stopping.cancel();
    timeout(OUTER, edge.serving)
        .await
        .expect("the answer was given up")
        .expect("the server ends well");
    let taken = greedy.closes().await;
    let answers = String::from_utf8_lossy(&taken)
        .matches("HTTP/1.1 200")
        .count();
    assert!((1..asked).contains(&answers), "{answers} of {asked}");
}

#[tokio::test]
async fn idle_connections_make_room() {
    let edge = Edge::open(Limits {
        connections_max: 16,
        ..patient()
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut peer = edge.connect().await;
        peer.shout(b"GET /never HTTP/1.1\r\n").await;
        idle.push(peer);
    }
    edge.serves().await;
    assert!(
        idle[0].closes().await.is_empty(),
        "who was waited for longest is gone"
    );
    let mut newest = idle.pop().expect("a hundred");
    newest.say(b"host: lianka\r\n\r\n").await;
    assert_eq!(newest.answer().await.status, 404, "the newest are heard");
}

#[tokio::test]
async fn one_address_takes_its_share_and_no_more() {
    let limits = Limits {
        connections_per_peer_max: 4,
        ..patient()
    };
    let edge = Edge::open(limits.clone()).await;
    let mut honest = edge.connect_from("127.0.0.2").await;
    assert!(honest.stands().await);
    let mut greedy = Vec::new();
    for _ in 0..50 {
        greedy.push(edge.connect_from("127.0.0.3").await);
    }
    for gone in &mut greedy[..40] {
        assert!(gone.closes().await.is_empty());
    }
    assert!(greedy[49].stands().await);
    assert!(honest.stands().await, "nobody else's connection was taken");

    let edge = Edge::open(Limits {
        trusted: edge::networks("127.0.0.3").expect("an address"),
        ..limits
    })
    .await;
    let mut proxied = Vec::new();
    for _ in 0..50 {
        let mut peer = edge.connect_from("127.0.0.3").await;
        assert!(peer.stands().await);
        proxied.push(peer);
    }
    for peer in &mut proxied {
        assert!(peer.stands().await, "a proxy speaks for many");
    }
}

#[tokio::test]
async fn where_everybody_is_being_served_the_next_is_told_to_come_back() {
    let edge = Edge::open(Limits {
        connections_max: 8,
        ..patient()
    })
    .await;
    let mut sending = Vec::new();
    for _ in 0..8 {
        let mut peer = edge.connect().await;
        // A body under way, for the first seconds of which nobody is sent away. The server asks for it, so it has the head.
        peer.say(&post(
            "/v1/tokens",
            &format!("{JSON}expect: 100-continue\r\n"),
            40,
        ))
        .await;
        assert_eq!(peer.answer().await.status, 100);
        sending.push(peer);
    }
    let mut late = edge.connect().await;
    late.shout(&get("/healthz")).await;
    let heard = late.answer().await;
    assert_eq!((heard.status, heard.code()), (503, "overloaded"));
    assert!(
        heard.head.contains("retry-after: ") && heard.head.contains("connection: close"),
        "{}",
        heard.head
    );
    late.closes().await;
    for peer in &mut sending {
        peer.say(&[b' '; 40]).await;
        assert_eq!(
            peer.answer().await.status,
            400,
            "those under way are finished"
        );
    }
    edge.serves().await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let edge = Edge::open(patient()).await;
    let long = "x".repeat(edge::HEAD_BYTES_MAX);
    let many = (0..=edge::HEADERS_MAX)
        .map(|n| format!("x-{n}: 1\r\n"))
        .collect::<Vec<_>>()
        .concat();
    for (request, status) in [
        (
            format!("GET /healthz HTTP/1.1\r\nhost: lianka\r\nx: {long}\r\n\r\n"),
            431,
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: lianka\r\n\r\n"), 431),
        (
            format!("GET /healthz HTTP/1.1\r\nhost: lianka\r\n{many}\r\n"),
            431,
        ),
        ("GET /healthz HTTP/9.9\r\n\r\n".into(), 400),
        ("GET /healthz\r\n\r\n".into(), 400),
        ("G\u{0}T / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nhost : lianka\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n folded: x\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nx: a\u{0}b\r\n\r\n".into(), 400),
        (
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".into(),
            400,
        ),
    ] {
        let mut peer = edge.connect().await;
        peer.shout(request.as_bytes()).await;
        let heard = String::from_utf8_lossy(&peer.closes().await).into_owned();
        let status = format!("HTTP/1.1 {status} ");
        assert!(
            heard.starts_with(&status) && heard.matches("HTTP/1.1 ").count() == 1,
            "{request:.60?}: {heard}"
        );
    }
    let mut other = edge.connect().await;
    other.shout(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(
        other.closes().await.is_empty(),
        "HTTP/2 is for the proxy in front"
    );
    edge.serves().await;
}

/// Two ways to say where a body ends: whoever stands between must never be made to believe the other one.
#[tokio::test]
async fn a_request_cannot_be_smuggled_behind_another() {
    let edge = Edge::open(patient()).await;
    let smuggled = "GET /v1/openapi.json HTTP/1.1\r\nhost: lianka\r\n\r\n";
    for framing in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "content-length: 0\r\ncontent-length: 4\r\n",
        "content-length: 0, 4\r\n",
        "content-length: +4\r\n",
        "content-length: 0x4\r\n",
        "content-length: 4 4\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding:\u{b}chunked\r\n",
    ] {
        for path in [
            "/v1/tokens",
            "/no/such/route",
            &format!("/v1/streets/{HOME}/sync"),
        ] {
            let mut peer = edge.connect().await;
            // Whichever end is believed, a second request seems to follow.
            peer.shout(
                format!(
                    "POST {path} HTTP/1.1\r\nhost: lianka\r\n{JSON}{framing}\r\n0\r\n\r\n{smuggled}"
                )
                .as_bytes(),
            )
            .await;
            let heard = String::from_utf8_lossy(&peer.closes().await).into_owned();
            assert!(
                heard.starts_with("HTTP/1.1 4"),
                "{framing:?} {path}: {heard}"
            );
            assert_eq!(
                heard.matches("HTTP/1.1 ").count(),
                1,
                "{framing:?} {path}: {heard}"
            );
        }
    }
    edge.serves().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_up_to_the_junk() {
    let edge = Edge::open(patient()).await;
    let mut peer = edge.connect().await;
    let mut all = [get("/healthz"), get("/no/such/route")].concat().repeat(25);
    all.extend(b"\x00\x01 this is no request\r\n\r\n");
    all.extend(get("/healthz"));
    peer.shout(&all).await;
    let heard = String::from_utf8_lossy(&peer.closes().await).into_owned();
    let statuses: Vec<_> = heard
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(
        statuses[..50],
        ["200", "404"].repeat(25)[..],
        "{heard:.500}"
    );
    assert_eq!(statuses[50..], ["400"], "nothing behind the junk is read");
    edge.serves().await;
}

#[tokio::test]
async fn who_has_said_everything_may_still_listen() {
    let edge = Edge::open(patient()).await;
    let mut half = edge.connect().await;
    half.say(&get("/readyz")).await;
    half.0.shutdown().await.expect("half of it closes");
    assert_eq!(half.answer().await.status, 200);
    assert!(half.closes().await.is_empty());
}

#[tokio::test]
async fn an_upload_that_is_cut_stores_nothing_and_the_next_one_everything() {
    let edge = Edge::open(patient()).await;
    let mut phone = edge.office.secretary("wang.fang", &["A1"]).await;
    for n in 0..20 {
        phone.create("A1", &[put("sign_name", &format!("店{n}"))]);
    }
    let before = edge.office.rows(&STORE).await;
    let items: Vec<_> = std::iter::once(phone.hello(true))
        .chain(phone.outbox.iter().cloned().map(RequestItem::Change))
        .collect();
    let body = phone.body(&items);
    let bearer = format!(
        "authorization: Bearer {}\r\ncontent-type: {}\r\n",
        phone.token,
        phone.form.encoding.media_type()
    );
    let head = post(&format!("/v1/streets/{HOME}/sync"), &bearer, body.len());
    for (upto, half_closed) in [
        (0, false),
        (body.len() / 2, false),
        (body.len() - 1, false),
        (body.len() / 2, true),
    ] {
        let mut peer = edge.connect().await;
        peer.say(&head).await;
        peer.say(&body[..upto]).await;
        if half_closed {
            peer.0.shutdown().await.expect("half of it closes");
            let answer = String::from_utf8_lossy(&peer.closes().await).into_owned();
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
                "{answer}"
            );
        }
    }
    // The last item's end is missing, and the length says so: a body that seems whole because it is cut between two items.
    let line = body[..body.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .expect("lines")
        + 1;
    let mut peer = edge.connect().await;
    peer.say(&head).await;
    peer.say(&body[..line]).await;
    drop(peer);
    edge.serves().await;
    assert_eq!(
        edge.office.rows(&STORE).await,
        before,
        "nothing of a cut upload is stored"
    );

    let mut peer = edge.connect().await;
    peer.say(&head).await;
    peer.say(&body).await;
    peer.0.shutdown().await.expect("half of it closes");
    let answer = String::from_utf8_lossy(&peer.closes().await).into_owned();
    assert_eq!(
        answer.matches("\"status\":\"accepted\"").count(),
        20,
        "{answer}"
    );
}

#[tokio::test]
async fn a_refusal_reaches_the_sender_of_a_large_body() {
    let edge = Edge::open(patient()).await;
    let body = vec![b' '; lianka_sync_core::limits::SYNC_BODY_BYTES_MAX];
    for (headers, code) in [
        ("authorization: Bearer x\r\n", "token_invalid"),
        ("", "unauthenticated"),
    ] {
        let mut peer = edge.connect().await;
        peer.say(&post(
            &format!("/v1/streets/{HOME}/sync"),
            headers,
            body.len(),
        ))
        .await;
        // Nothing is read before everything is sent, as many clients do.
        timeout(OUTER, peer.0.write_all(&body))
            .await
            .expect("it is taken")
            .expect("it is taken to its end");
        assert_eq!(peer.answer().await.code(), code);
        assert!(
            peer.stands().await,
            "and the connection is good for another request"
        );
    }
    // Who asks first is told before it sends.
    let mut asking = edge.connect().await;
    asking
        .say(&post(
            &format!("/v1/streets/{HOME}/sync"),
            "expect: 100-continue\r\n",
            body.len(),
        ))
        .await;
    assert_eq!(asking.answer().await.status, 401);
}

#[tokio::test]
async fn a_server_that_stops_lets_requests_finish_and_idle_connections_go() {
    let edge = Edge::open(patient()).await;
    let mut idle = edge.connect().await;
    assert!(idle.stands().await);
    let mut sending = edge.connect().await;
    sending
        .say(&post(
            "/v1/tokens",
            &format!("{JSON}expect: 100-continue\r\n"),
            40,
        ))
        .await;
    assert_eq!(sending.answer().await.status, 100);
    edge.stopping.cancel();
    assert!(idle.closes().await.is_empty());
    assert!(
        TcpStream::connect(edge.address).await.is_err(),
        "nobody new is let in"
    );
    sending.say(&[b' '; 40]).await;
    let heard = sending.answer().await;
    assert_eq!((heard.status, StatusCode::BAD_REQUEST.as_u16()), (400, 400));
    timeout(OUTER, edge.serving)
        .await
        .expect("it ends")
        .expect("it ends well");
}

/// Whoever reads its answer slowly must not hold what the store has few of.
#[tokio::test]
async fn answers_that_nobody_reads_hold_no_connection_of_the_store() {
    let office = Office::open().await;
    let mut first = office.secretary("wang.fang", &["A1"]).await;
    for _ in 0..100 {
        first.create(
            "A1",
            &[
                put("custom/栏", &"长".repeat(400)),
                put("custom/目", &"长".repeat(400)),
            ],
        );
    }
    assert_eq!(first.sync().await.codes(), ["accepted"; 100]);
    let mut unread = Vec::new();
    for _ in 0..3 {
        let mut phone = office.phone("wang.fang").await;
        phone.sync().await;
        // The office alone moves a card: each edit is refused, and its record comes back whole.
        let records: Vec<_> = phone.records.keys().copied().collect();
        for record in records {
            phone.edit(record, &[put("grid", "A2")]);
        }
        let changes = phone.outbox.iter().cloned().map(RequestItem::Change);
        let body = phone.body(
            &std::iter::once(phone.hello(true))
                .chain(changes)
                .collect::<Vec<_>>(),
        );
        for _ in 0..3 {
            let answer = phone.send(&[], body.clone()).await;
            assert_eq!(answer.status(), StatusCode::OK);
            unread.push(answer);
        }
    }
    let reply = office
        .secretary("li.na", &["A1"])
        .await
        .push(true, &[])
        .await;
    assert_eq!(
        (reply.status, reply.snapshots().len()),
        (StatusCode::OK, 100),
        "{}",
        reply.json
    );
}

/// A device that sends what no phone writes is kept away before it costs anything; nobody else is, and nothing is lost.
#[tokio::test]
async fn a_device_that_sends_nonsense_is_kept_away_for_a_while() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let card = phone.create("A1", &[put("sign_name", "店")]);
    let good = phone.outbox.clone();
    let junk: Vec<_> = (0..150_u8)
        .map(|n| PushedChange {
            bytes: vec![n; 60],
            ..good[0].clone()
        })
        .collect();
    let reply = phone.push(false, &junk).await;
    assert!(
        reply
            .codes()
            .iter()
            .all(|code| *code == "malformed_change" || *code == "not_a_change"),
        "{:?}",
        reply.codes()
    );
    let refused = phone.push(true, &good).await;
    assert_eq!(
        (refused.status, refused.json["code"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("too_many_refusals"))
    );
    assert_eq!(
        (
            refused.json["retryable"].as_bool(),
            &refused.headers["retry-after"]
        ),
        (Some(true), &"100".parse().expect("a value"))
    );
    let mut other = office.phone("wang.fang").await;
    other.create("A1", &[put("sign_name", "别的店")]);
    assert_eq!(
        other.sync().await.codes(),
        ["accepted"],
        "another phone of the same person works"
    );
    office.test.clock.advance_ms(100_000);
    assert_eq!(
        phone.sync().await.codes(),
        ["accepted"],
        "what waited is taken"
    );
    assert!(phone.records.contains_key(&card));
}

/// Each chunk is kept by itself until the body is whole: a megabyte in chunks of a byte is thirty in memory, and a minute of a processor.
#[tokio::test]
async fn a_body_in_crumbs_is_refused_and_one_in_small_pieces_is_not() {
    let edge = Edge::open(patient()).await;
    let chunked = |piece: &[u8], times: usize| {
        let head =
            b"POST /v1/tokens HTTP/1.1\r\nhost: lianka\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        [
            head,
            b"2\r\n{}\r\n".to_vec(),
            chunk.repeat(times),
            b"0\r\n\r\n".to_vec(),
        ]
        .concat()
    };
    for (piece, times, code) in [
        (b" ".to_vec(), 8_000, "malformed"),
        (b" ".repeat(100), 600, "invalid_field"),
        (b" ".to_vec(), 2_000, "invalid_field"),
    ] {
        let mut peer = edge.connect().await;
        peer.shout(&chunked(&piece, times)).await;
        assert_eq!(
            peer.answer().await.code(),
            code,
            "{times} chunks of {} bytes",
            piece.len()
        );
    }
    edge.serves().await;
}

#[tokio::test]
async fn a_device_synchronises_a_few_times_at_once_and_others_beside_it() {
    let office = Office::open().await;
    let phone = office.secretary("wang.fang", &["A1"]).await;
    let body = || phone.body(&[phone.hello(true)]);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(phone.send(&[], body()).await);
    }
    let fourth = phone.post(&[], body()).await;
    assert_eq!(
        (fourth.status, fourth.json["code"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("rate_limited"))
    );
    assert!(fourth.headers.contains_key("retry-after"));
    assert_eq!(
        office.phone("wang.fang").await.push(true, &[]).await.status,
        StatusCode::OK
    );
    drop(open);
    assert_eq!(
        phone.post(&[], body()).await.status,
        StatusCode::OK,
        "answers that were read or dropped do not count"
    );
}
