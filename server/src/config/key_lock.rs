//! The operator's lock on signing keys: where there is one, the database and its backups hold no key that anybody could sign with.
//!
//! In: 32 bytes of the operator's own (`--key-file`), a key's name and its seed. Out: the seed under lock, and back. ChaCha20-Poly1305
//! (RFC 8439) with a random nonce; the name is authenticated with it, so that no row's seed is taken for another's. A seed without a lock is 32
//! bytes long, one under lock never is.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// First byte of a seed under lock: how it was locked.
const FORM: u8 = 1;
/// Length of a seed.
pub const SEED_BYTES: usize = 32;

/// See the module.
pub struct KeyLock(LessSafeKey);

impl fmt::Debug for KeyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLock")
    }
}

impl KeyLock {
    /// Of the text of a key file: 64 hexadecimal digits. `None` where it is something else.
    pub fn of_text(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = hex::decode(text.trim()).ok()?.try_into().ok()?;
        UnboundKey::new(&CHACHA20_POLY1305, &bytes)
            .ok()
            .map(LessSafeKey::new)
            .map(Self)
    }

    /// The seed of the key `kid` under lock. A nonce must never come twice: it is drawn at random, for a key a month.
    pub fn lock(
        &self,
        kid: &str,
        seed: &[u8; SEED_BYTES],
        nonce: [u8; NONCE_LEN],
    ) -> Option<Vec<u8>> {
        let mut sealed = seed.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(kid.as_bytes()),
                &mut sealed,
            )
            .ok()?;
        Some([&[FORM][..], &nonce, &sealed].concat())
    }

    /// The seed, if it was locked by this lock for this name.
    pub fn open(&self, kid: &str, locked: &[u8]) -> Option<[u8; SEED_BYTES]> {
        let (form, rest) = locked.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce)
            .ok()
            .filter(|_| *form == FORM)?;
        let seed = self
            .0
            .open_in_place(nonce, Aad::from(kid.as_bytes()), &mut sealed)
            .ok()?;
        (&*seed).try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_comes_back_to_its_own_lock_and_name_alone() {
        let lock = KeyLock::of_text(&"a1".repeat(32)).expect("64 digits");
        let locked = lock.lock("k1", &[7; 32], [3; 12]).expect("locked");
        assert_eq!(locked.len(), 1 + 12 + 32 + 16);
        assert!(!locked.windows(32).any(|part| part == [7; 32]));
        assert_eq!(lock.open("k1", &locked), Some([7; 32]));
        assert_eq!(lock.open("k2", &locked), None);
        assert_eq!(
            KeyLock::of_text(&"a2".repeat(32))
                .expect("64 digits")
                .open("k1", &locked),
            None
        );
        for at in 0..locked.len() {
            let mut changed = locked.clone();
            changed[at] ^= 1;
            assert_eq!(lock.open("k1", &changed), None, "byte {at}");
            assert_eq!(lock.open("k1", &locked[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn only_a_whole_key_is_a_lock_and_it_is_not_shown() {
        assert!(
            KeyLock::of_text(&format!("  {}\n", "Ab".repeat(32)))
                .is_some_and(|lock| format!("{lock:?}") == "KeyLock")
        );
        for text in [
            "",
            "a1",
            &"a1".repeat(31),
            &"a1".repeat(33),
            &"g1".repeat(32),
            &"密".repeat(64),
        ] {
            assert!(KeyLock::of_text(text).is_none(), "{text}");
        }
    }
}
