//! What a seal signs, and whether a signature holds.

use time::OffsetDateTime;

use crate::audit::{Chain, store::SealRow};

const FORM: &[u8] = b"lianka audit seal 1";

/// What is signed.
pub(crate) fn message(chain: Chain<'_>, no: i64, hash: &[u8], at: OffsetDateTime) -> Vec<u8> {
    let mut message = FORM.to_vec();
    let at = (at.unix_timestamp_nanos() / 1_000) as i64;
    for part in [
        chain.as_str().as_bytes(),
        &no.to_be_bytes(),
        hash,
        &at.to_be_bytes(),
    ] {
        message.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend(part);
    }
    message
}

/// Whether the signature is one of the key that the seal itself names.
pub(crate) fn holds(chain: Chain<'_>, seal: &SealRow) -> bool {
    let verify = || {
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(seal.public_key.as_slice().try_into().ok()?)
                .ok()?;
        let signature = ed25519_dalek::Signature::from_slice(&seal.signature).ok()?;
        key.verify_strict(&message(chain, seal.no, &seal.hash, seal.at), &signature)
            .ok()
    };
    verify().is_some()
}
