//! A bound on guessing one user's password, in this server's memory.
//!
//! Counts tries by username, known or not, so that the answer tells nothing. The full lock-out, shared by all servers, is the store's to keep.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use lianka_sync_core::time::ServerTime;

use crate::error::{ApiError, ErrorCode};

const TRIES_MAX: u32 = 10;
const WINDOW_MS: i64 = 5 * 60_000;
/// Usernames remembered at once; beyond it the table starts anew, which costs a guesser more than it gives.
const USERNAMES_MAX: usize = 10_000;

/// Tries by username.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<String, Window>>);

#[derive(Debug)]
struct Window {
    opened_at: ServerTime,
    tries: u32,
}

impl Attempts {
    /// Counts one try; refuses it when the window is full.
    pub fn admit(&self, username: &str, now: ServerTime) -> Result<(), ApiError> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |window: &Window| (0..WINDOW_MS).contains(&(now.unix_ms() - window.opened_at.unix_ms()));
        if windows.len() >= USERNAMES_MAX && !windows.contains_key(username) {
            windows.retain(|_, window| is_open(window));
            if windows.len() >= USERNAMES_MAX {
                windows.clear();
            }
        }
        let window = windows.entry(username.to_owned()).or_insert(Window { opened_at: now, tries: 0 });
        if !is_open(window) {
            *window = Window { opened_at: now, tries: 0 };
        }
        if window.tries >= TRIES_MAX {
            let rest_ms = window.opened_at.unix_ms() + WINDOW_MS - now.unix_ms();
            return Err(ApiError::new(ErrorCode::RateLimited).retry_after_s((rest_ms / 1000 + 1) as u32));
        }
        window.tries += 1;
        Ok(())
    }

    /// Forgets the tries of somebody who got in.
    pub fn forget(&self, username: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(username);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_try_waits_for_the_window_to_pass() {
        let attempts = Attempts::default();
        let at = |seconds: i64| ServerTime::from_unix_seconds(1_000_000 + seconds);
        for _ in 0..TRIES_MAX {
            assert!(attempts.admit("wang.fang", at(0)).is_ok());
        }
        assert_eq!(attempts.admit("wang.fang", at(299)).unwrap_err().code(), ErrorCode::RateLimited);
        assert!(attempts.admit("li.na", at(299)).is_ok());
        assert!(attempts.admit("wang.fang", at(300)).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..=2 * USERNAMES_MAX {
            assert!(attempts.admit(&n.to_string(), ServerTime::from_unix_seconds(0)).is_ok());
        }
        assert!(attempts.0.lock().unwrap().len() <= USERNAMES_MAX);
    }
}
