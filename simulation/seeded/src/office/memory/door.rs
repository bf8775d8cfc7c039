//! Signing in: docs/protocol.md, "Signing in". Tokens are opaque here; the rules of their chains are the real ones.

use std::collections::BTreeMap;

use lianka_office_core::push::Author;
use lianka_sync_core::{id::DeviceId, time::ServerTime};
use serde_json::{Value, json};

use super::{MemoryOffice, Problem};

const ACCESS_SECONDS: i64 = 900;
const CODE_MS: i64 = 10 * 60_000;
const DAY_MS: i64 = 86_400_000;
const REFRESH_MS: i64 = 180 * DAY_MS;
/// How long a lost answer may be asked for again.
const GRACE_MS: i64 = 14 * DAY_MS;
/// How long a spent token is remembered.
const SPENT_MS: i64 = 30 * DAY_MS;

const UNAUTHENTICATED: Problem = Problem {
    status: 401,
    code: "unauthenticated",
};
const TOKEN_INVALID: Problem = Problem {
    status: 401,
    code: "token_invalid",
};
const TOKEN_EXPIRED: Problem = Problem {
    status: 401,
    code: "token_expired",
};
const ENROLMENT_REFUSED: Problem = Problem {
    status: 401,
    code: "enrolment_refused",
};
const REFRESH_INVALID: Problem = Problem {
    status: 401,
    code: "refresh_invalid",
};
const REFRESH_REUSED: Problem = Problem {
    status: 401,
    code: "refresh_reused",
};
const DEVICE_REVOKED: Problem = Problem {
    status: 401,
    code: "device_revoked",
};

/// Who may come in: devices, codes and tokens.
#[derive(Clone, Default)]
pub struct Door {
    devices: BTreeMap<DeviceId, Device>,
    codes: BTreeMap<String, Code>,
    links: BTreeMap<String, Link>,
}

/// What became of a phone or a desk.
#[derive(Clone, Debug, Default)]
struct Device {
    revoked: bool,
    /// To be told to clear itself.
    wipe: bool,
    /// It says that it has.
    wiped: bool,
}

/// A code to enrol with, until it is spent.
#[derive(Clone, Debug)]
struct Code {
    username: String,
    expires_at: ServerTime,
}

/// A refresh token, one link of a device's chain.
#[derive(Clone, Debug)]
struct Link {
    device: DeviceId,
    issued_at: ServerTime,
    expires_at: ServerTime,
    /// When it was exchanged first.
    spent_at: Option<ServerTime>,
    /// The token it was given for.
    given_for: Option<String>,
    /// Another token given for the same one was exchanged.
    void: bool,
}

fn after(at: ServerTime, ms: i64) -> ServerTime {
    ServerTime::from_unix_ms(at.unix_ms() + ms)
}

impl MemoryOffice {
    /// A code for another device of a user.
    pub(super) fn code_for(&mut self, username: &str) -> Option<String> {
        const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        self.state.store.users.get(username)?;
        let drawn = self.names.secret();
        let code: String = (0..10)
            .map(|at| char::from(LETTERS[(drawn >> (5 * at)) as usize & 31]))
            .collect();
        let expires_at = after(self.now, CODE_MS);
        self.state.door.codes.insert(
            code.clone(),
            Code {
                username: username.to_owned(),
                expires_at,
            },
        );
        Some(code)
    }

    /// A new device of a user.
    pub(super) fn open_device(&mut self, username: &str) -> DeviceId {
        let device = self.names.device(self.now);
        let known = (username.to_owned(), username.to_owned());
        self.state.store.devices.insert(device, known);
        self.state.door.devices.insert(device, Device::default());
        device
    }

    pub(super) fn enrol(&mut self, body: &Value) -> Result<Value, Problem> {
        let typed = body["code"].as_str().ok_or(Problem::MALFORMED)?;
        let meant: String = typed
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| read_as(c.to_ascii_uppercase()))
            .collect();
        let now = self.now;
        match self.state.door.codes.get(&meant) {
            Some(code) if code.expires_at > now => {}
            _ => return Err(ENROLMENT_REFUSED),
        }
        let username = self
            .state
            .door
            .codes
            .remove(&meant)
            .map(|code| code.username)
            .ok_or(ENROLMENT_REFUSED)?;
        let device = self.open_device(&username);
        Ok(self.session(device, None, now))
    }

    pub(super) fn renew(&mut self, body: &Value) -> Result<Value, Problem> {
        let token = body["refresh_token"]
            .as_str()
            .ok_or(Problem::MALFORMED)?
            .to_owned();
        let now = self.now;
        let link = self
            .state
            .door
            .links
            .get(&token)
            .cloned()
            .ok_or(REFRESH_INVALID)?;
        let device = self
            .state
            .door
            .devices
            .get(&link.device)
            .ok_or(REFRESH_INVALID)?;
        if device.revoked && (!device.wipe || device.wiped) {
            return Err(DEVICE_REVOKED);
        }
        if link.expires_at <= now {
            return Err(REFRESH_INVALID);
        }
        let issued_at = match link.spent_at {
            // Later than the one before, whatever the clock says: the order of issue is the order of the chain.
            None if !link.void => {
                let at = now.max(after(link.issued_at, 1));
                self.spend(&token, &link, at);
                at
            }
            Some(spent_at)
                if !self.was_followed(&token) && now.unix_ms() - spent_at.unix_ms() <= GRACE_MS =>
            {
                now.max(spent_at)
            }
            None | Some(_) => {
                self.revoke(link.device, false);
                for other in self
                    .state
                    .door
                    .links
                    .values_mut()
                    .filter(|other| other.device == link.device)
                {
                    other.void = true;
                }
                return Err(REFRESH_REUSED);
            }
        };
        Ok(self.session(link.device, Some(token), issued_at))
    }

    /// Exchanged: what was given beside it is worth nothing any more, and what was spent long ago is forgotten.
    fn spend(&mut self, token: &str, link: &Link, at: ServerTime) {
        let forgotten = after(self.now, -SPENT_MS);
        let old = |other: &Link| {
            other.device == link.device
                && other
                    .spent_at
                    .or(other.void.then_some(other.issued_at))
                    .is_some_and(|spent| spent < forgotten)
        };
        self.state.door.links.retain(|_, other| !old(other));
        for (name, other) in &mut self.state.door.links {
            if name == token {
                other.spent_at = Some(at);
            } else if other.device == link.device
                && other.given_for == link.given_for
                && other.spent_at.is_none()
            {
                other.void = true;
            }
        }
    }

    /// Whether a token given for this one was exchanged.
    fn was_followed(&self, token: &str) -> bool {
        self.state.door.links.values().any(|other| {
            other.given_for.as_deref() == Some(token) && (other.spent_at.is_some() || other.void)
        })
    }

    fn session(
        &mut self,
        device: DeviceId,
        given_for: Option<String>,
        issued_at: ServerTime,
    ) -> Value {
        let refresh_token = format!("refresh-{:016x}", self.names.secret());
        let expires_at = after(issued_at, REFRESH_MS);
        self.state.door.links.insert(
            refresh_token.clone(),
            Link {
                device,
                issued_at,
                expires_at,
                spent_at: None,
                given_for,
                void: false,
            },
        );
        let expires = self.now.unix_seconds() + ACCESS_SECONDS;
        let username = self.username(device).unwrap_or_default().to_owned();
        let user = self.state.store.users.get(&username);
        let role = user.map_or("secretary", |user| user.role.as_str());
        let grid = |grid: &String| json!({ "grid": grid, "name": grid, "area": "康平" });
        let of_user = user
            .filter(|user| !user.role.sees_whole_street())
            .map(lianka_office_core::memory::User::grids);
        let grids: Vec<_> = of_user
            .as_ref()
            .unwrap_or(&self.state.store.grids)
            .iter()
            .map(grid)
            .collect();
        let street = json!({ "street": self.state.store.street, "name": "天平路街道", "district": "徐汇区", "grids": grids });
        let to_wipe = self
            .state
            .door
            .devices
            .get(&device)
            .is_some_and(|device| device.revoked && device.wipe);
        json!({
            "device_id": device,
            "access_token": format!("access.{device}.{expires}"),
            "expires_in": ACCESS_SECONDS,
            "refresh_token": refresh_token,
            "user": { "username": username, "display_name": username, "role": role },
            "streets": if to_wipe { Vec::new() } else { vec![street] },
        })
    }

    fn username(&self, device: DeviceId) -> Option<&str> {
        let (username, _) = self.state.store.devices.get(&device)?;
        Some(username)
    }

    /// Who calls.
    pub(super) fn author(&self, authorization: Option<&str>) -> Result<Author, Problem> {
        let token = authorization
            .and_then(|value| value.split_once(' '))
            .map(|(_, token)| token.trim())
            .ok_or(UNAUTHENTICATED)?;
        let mut parts = token.split('.');
        let (Some("access"), Some(device), Some(expires)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(TOKEN_INVALID);
        };
        let (Ok(device), Ok(expires)) = (device.parse::<DeviceId>(), expires.parse::<i64>()) else {
            return Err(TOKEN_INVALID);
        };
        if expires <= self.now.unix_seconds() {
            return Err(TOKEN_EXPIRED);
        }
        let known = self.state.door.devices.get(&device).ok_or(TOKEN_INVALID)?;
        let to_wipe = known.revoked && known.wipe && !known.wiped;
        if known.revoked && !to_wipe {
            return Err(DEVICE_REVOKED);
        }
        let username = self.username(device).ok_or(TOKEN_INVALID)?;
        let user = self.state.store.users.get(username).ok_or(TOKEN_INVALID)?;
        Ok(Author {
            username: username.to_owned(),
            role: user.role,
            device,
            wiped: to_wipe,
        })
    }

    pub(super) fn revoke(&mut self, device: DeviceId, wipe: bool) -> bool {
        let Some(device) = self.state.door.devices.get_mut(&device) else {
            return false;
        };
        device.revoked = true;
        device.wipe |= wipe;
        true
    }

    /// The device says that it has cleared itself: its tokens are worth nothing from now on.
    pub(super) fn note_wiped(&mut self, device: DeviceId) {
        if let Some(device) = self.state.door.devices.get_mut(&device) {
            device.wiped = true;
        }
    }
}

/// What is read where people confuse letters and digits.
fn read_as(c: char) -> char {
    match c {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    }
}
