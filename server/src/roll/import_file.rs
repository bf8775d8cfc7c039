//! The body of an import → the bytes of the file in it.
//!
//! A program sends the file alone; a form sends it as one part among others. Of a form the part with the file counts, and there must be one only.

use std::convert::Infallible;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::stream;
use multer::Multipart;

/// Why a body holds no file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormError {
    #[error("no file was found in the request")]
    NoFile,
    #[error("the form holds more than one file")]
    ManyFiles,
}

/// Parts of a form that are looked at.
const PARTS_MAX: usize = 100;

/// The file, and its name where the body tells it.
pub async fn file_of(
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(Bytes, Option<String>), FormError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") && looks_like_a_form(&body)
    {
        return Err(FormError::NoFile);
    }
    let boundary = if essence.eq_ignore_ascii_case("multipart/form-data") {
        multer::parse_boundary(content_type).map_err(|_| FormError::NoFile)?
    } else if essence.to_ascii_lowercase().starts_with("multipart/") {
        return Err(FormError::NoFile);
    } else if let Some(boundary) = boundary_within(&body) {
        boundary
    } else {
        return Ok((body, None));
    };
    let whole = stream::once(async { Ok::<_, Infallible>(body) });
    let mut form = Multipart::new(whole, boundary);
    let mut found = None;
    for _ in 0..PARTS_MAX {
        let next = form.next_field().await;
        let Some(part) = next.map_err(|_| FormError::NoFile)? else {
            return found.ok_or(FormError::NoFile);
        };
        let name = part.file_name().map(str::to_owned);
        let is_file = name.is_some() || part.name() == Some("file");
        let bytes = part.bytes().await;
        let bytes = bytes.map_err(|_| FormError::NoFile)?;
        // A field for a file that nobody chose is sent empty.
        if !is_file || bytes.is_empty() {
            continue;
        }
        if found.replace((bytes, name)).is_some() {
            return Err(FormError::ManyFiles);
        }
    }
    Err(FormError::NoFile)
}

/// The boundary of a form that was sent under another type.
fn boundary_within(body: &[u8]) -> Option<String> {
    let head = body.strip_prefix(b"--")?;
    let head = &head[..head.len().min(1_024)];
    let line = head.iter().position(|byte| *byte == b'\r')?;
    let boundary = std::str::from_utf8(&head[..line]).ok()?;
    let next = head.get(line + 2..)?;
    let named = b"content-disposition: form-data";
    let is_form = next.get(..named.len())?.eq_ignore_ascii_case(named);
    (is_form && (1..=70).contains(&boundary.len())).then(|| boundary.to_owned())
}

/// `name=value&…`: a command-line program sends a file under this type too, unless it is told another.
fn looks_like_a_form(body: &[u8]) -> bool {
    body.len() < 4_096
        && body.contains(&b'=')
        && body
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'<' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(content_type: &str, body: &[u8]) -> Result<(Vec<u8>, Option<String>), u16> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            content_type.parse().expect("a header"),
        );
        let read = file_of(&headers, Bytes::copy_from_slice(body)).await;
        read.map(|(file, name)| (file.to_vec(), name))
            .map_err(|_| 415)
    }

    #[tokio::test]
    async fn a_form_gives_its_file_and_nothing_else() {
        let sent = include_bytes!("../../../tests/fixtures/rolls/cases/19-multipart-body.bin");
        let form = "multipart/form-data; boundary=X-BOUNDARY-1";
        let (file, name) = read(form, sent).await.expect("the part");
        assert_eq!(file, "店招,地址,网格\r\n王记,天平路1号,G1\r\n".as_bytes());
        assert_eq!(name.as_deref(), Some("roll.csv"));
        assert_eq!(read("text/csv", sent).await.expect("the part").0, file);
        assert_eq!(read("multipart/form-data", sent).await, Err(415));
        assert_eq!(
            read("multipart/mixed; boundary=X-BOUNDARY-1", sent).await,
            Err(415)
        );
        assert_eq!(
            read("multipart/form-data; boundary=other", sent).await,
            Err(415)
        );
        assert_eq!(read(form, &sent[..60]).await, Err(415));
        let part = |name: &str, text: &str| {
            format!("--B\r\nContent-Disposition: form-data; {name}\r\n\r\n{text}\r\n")
        };
        let form = "multipart/form-data; boundary=\"B\"";
        let with = |parts: &[String]| parts.concat() + "--B--\r\n";
        let (field, file, none) = (
            part("name=\"note\"", "x"),
            part("name=\"f\"; filename=\"a.csv\"", "店招,地址"),
            part("name=\"g\"; filename=\"\"", ""),
        );
        let body = with(&[field.clone(), none, file.clone()]);
        let (bytes, _) = read(form, body.as_bytes()).await.expect("the file");
        assert_eq!(bytes, "店招,地址".as_bytes());
        let plain = with(&[part("name=\"file\"", "a,b")]);
        assert!(read(form, plain.as_bytes()).await.is_ok());
        assert_eq!(read(form, with(&[field]).as_bytes()).await, Err(415));
        let twice = with(&[file.clone(), file]);
        assert_eq!(read(form, twice.as_bytes()).await, Err(415));
    }

    #[tokio::test]
    async fn a_file_alone_is_taken_under_any_type() {
        let text = "店招,地址\n甲,天平路1号\n".as_bytes();
        for content_type in [
            "text/csv",
            "application/octet-stream",
            "application/x-www-form-urlencoded",
            "application/vnd.ms-excel",
        ] {
            let (file, name) = read(content_type, text).await.expect(content_type);
            assert_eq!((file.as_slice(), name), (text, None));
        }
        let form = read("application/x-www-form-urlencoded", b"file=roll.csv&x=1").await;
        assert_eq!(form, Err(415));
    }
}
