//! A file of unsent edits, sealed with a passphrase: AES-256-GCM under a key by Argon2id. The browser's worker writes the same.
//!
//! In and out: one line of JSON, so that it survives being sent as a message. Its numbers are in hexadecimal digits.

use lianka_client_core::rescue::{SALT_BYTES, Unsent, file_key};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

/// What the file says it is, bound to what it holds.
const FORMAT: &str = "lianka-unsent/1";

/// Why a file is not read, or not written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RescueError {
    /// It is no such file, or one of a newer version.
    #[error("not a file of unsent edits")]
    Foreign,
    /// The passphrase is another, or the file was damaged on its way.
    #[error("the passphrase does not open it")]
    Closed,
    /// Too short a passphrase.
    #[error("the passphrase is too short")]
    TooShort,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    format: String,
    salt: String,
    nonce: String,
    #[serde(rename = "sealed")]
    bytes: String,
}

/// Seals; salt and nonce are fresh.
pub fn seal(
    unsent: &Unsent,
    passphrase: &str,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_LEN],
) -> Result<String, RescueError> {
    let mut bytes = serde_json::to_vec(unsent).map_err(|_| RescueError::Foreign)?;
    key(passphrase, &salt)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(FORMAT),
            &mut bytes,
        )
        .map_err(|_| RescueError::Foreign)?;
    let sealed = Sealed {
        format: FORMAT.to_owned(),
        salt: hex(&salt),
        nonce: hex(&nonce),
        bytes: hex(&bytes),
    };
    serde_json::to_string(&sealed).map_err(|_| RescueError::Foreign)
}

/// Opens.
pub fn open(text: &str, passphrase: &str) -> Result<Unsent, RescueError> {
    let sealed: Sealed = serde_json::from_str(text).map_err(|_| RescueError::Foreign)?;
    let parts = (
        array(&sealed.salt),
        array(&sealed.nonce),
        unhex(&sealed.bytes),
    );
    let (Some(salt), Some(nonce), Some(mut bytes)) = parts else {
        return Err(RescueError::Foreign);
    };
    if sealed.format != FORMAT {
        return Err(RescueError::Foreign);
    }
    let opened = key(passphrase, &salt)?
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(FORMAT),
            &mut bytes,
        )
        .map_err(|_| RescueError::Closed)?;
    serde_json::from_slice(opened).map_err(|_| RescueError::Foreign)
}

fn key(passphrase: &str, salt: &[u8; SALT_BYTES]) -> Result<LessSafeKey, RescueError> {
    let key = file_key(passphrase, salt).ok_or(RescueError::TooShort)?;
    let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| RescueError::Foreign)?;
    Ok(LessSafeKey::new(key))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    let bytes = digits.chunks_exact(2);
    Some(bytes.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}
