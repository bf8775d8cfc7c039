//! The phone's web app, as `make web` built it into this program.
//!
//! In: a path below `/app/`. Out: a file, packed where the browser takes it so. Knows nothing of records, and asks nobody who they are: what it
//! serves is the same for everybody. Hashed files are kept for ever, the page and its service worker are asked for anew every time.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};

use crate::http;

struct File {
    name: &'static str,
    plain: &'static [u8],
    packed: Option<&'static [u8]>,
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web_files.rs"));

/// Scripts of this origin and wasm alone; nothing from anywhere else, and nobody else's frame.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const KEPT_FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASKED_ANEW: &str = "no-cache";

const NOT_BUILT: &str = "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
    <title>联卡 Lianka</title><h1>这个程序里没有手机应用</h1><p>在源代码文件夹里运行 <code>make web</code>，再重新构建。</p>\
    <p lang=\"en\">This program was built without the phone's app: run <code>make web</code> in the sources, then build again.</p></html>";

/// `/app/` and what lies below, and `/`, which leads there.
pub fn router() -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/app/")))
        .route("/app", get(async || Redirect::to("/app/")))
        .route("/app/", get(page))
        .route("/app/{*name}", get(file))
}

async fn page(headers: HeaderMap) -> Response {
    match find("index.html") {
        Some(file) => served(file, &headers),
        None => Html(NOT_BUILT).into_response(),
    }
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match find(&name) {
        Some(file) => served(file, &headers),
        None => http::not_found().await.into_response(),
    }
}

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

fn served(file: &File, asked: &HeaderMap) -> Response {
    let takes_packed = asked
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| {
            let mut parts = one.split(';').map(str::trim);
            parts.next() == Some("br") && !parts.any(|weight| weight == "q=0")
        });
    let packed = file.packed.filter(|_| takes_packed);
    let caching = if file.name.starts_with("assets/") {
        KEPT_FOR_EVER
    } else {
        ASKED_ANEW
    };
    let headers = [
        (header::CONTENT_TYPE, media_type(file.name)),
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::VARY, "accept-encoding"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    let mut response = (headers, packed.unwrap_or(file.plain)).into_response();
    if packed.is_some() {
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: File = File {
        name: "index.html",
        plain: b"page",
        packed: Some(b"packed"),
    };

    #[test]
    fn a_file_comes_packed_only_to_whoever_takes_it_so() {
        for (asked, packed) in [
            ("gzip, br", true),
            ("br;q=0.5", true),
            ("br;q=0, gzip", false),
            ("gzip", false),
            ("brotli", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(asked));
            let response = served(&PAGE, &headers);
            let encoding = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(encoding.is_some(), packed, "{asked}");
        }
    }

    #[test]
    fn only_hashed_files_are_kept() {
        let caching = |name| {
            let response = served(&File { name, ..PAGE }, &HeaderMap::new());
            response.headers()[header::CACHE_CONTROL].clone()
        };
        assert_eq!(caching("assets/core-abc.wasm"), KEPT_FOR_EVER);
        for name in ["index.html", "sw.js", "manifest.webmanifest"] {
            assert_eq!(caching(name), ASKED_ANEW, "{name}");
        }
    }
}
