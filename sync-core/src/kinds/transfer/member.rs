//! Whether two requests are of the same member: what the office is shown as a likely pair. Never merged by itself.

use crate::{
    id::{EntryId, RecordId},
    kinds::{
        transfer::calendar::day_of,
        transfer_request::{MEMBER_ALIAS, MEMBER_NAME, ORIGIN, PHONE},
    },
    search,
    time::ServerTime,
    values::text,
};

/// What is compared of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// 党员姓名
    pub name: Option<String>,
    /// 联系电话, as typed.
    pub phone: Option<String>,
    /// 转出组织
    pub origin: Option<String>,
    /// 党员代称
    pub alias: Option<String>,
}

impl Member {
    /// As a request says; what it does not say any more, `sealed` may.
    pub fn of(
        text: impl Fn(&str) -> Option<String>,
        sealed: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let either = |key| text(key).or_else(|| sealed(key));
        Self {
            name: either(MEMBER_NAME),
            phone: text(PHONE),
            origin: either(ORIGIN),
            alias: text(MEMBER_ALIAS),
        }
    }

    /// Whether the two are likely the same person: the same name, and the same telephone, origin or alias beside it; or no name to compare, and
    /// the same telephone and alias.
    pub fn is_likely(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| {
            let (a, b) = (folded(a.as_deref()), folded(b.as_deref()));
            !a.is_empty() && a == b
        };
        let phone = {
            let (a, b) = (
                digits(self.phone.as_deref()),
                digits(other.phone.as_deref()),
            );
            a.len() >= 7 && a == b
        };
        let alias = same(&self.alias, &other.alias);
        match (&self.name, &other.name) {
            (Some(_), Some(_)) => {
                same(&self.name, &other.name)
                    && (phone || alias || same(&self.origin, &other.origin))
            }
            _ => phone && alias,
        }
    }
}

/// One script, no blanks, half-width.
fn folded(typed: Option<&str>) -> String {
    search::fold(&text::half_width(typed.unwrap_or_default()))
        .split_whitespace()
        .collect()
}

fn digits(typed: Option<&str>) -> String {
    text::half_width(typed.unwrap_or_default())
        .chars()
        .filter(char::is_ascii_digit)
        .collect()
}

/// The id of an event by the server's clock: the same whichever server writes it, so that it is never written twice.
pub fn clock_event_id(record: RecordId, no: u32, at: ServerTime) -> EntryId {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    hasher.update(record.0.as_bytes());
    hasher.update(no.to_be_bytes());
    let hash = hasher.finalize();
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&hash[..10]);
    // Midnight of the day in China: servers whose clocks differ by seconds write the same id.
    EntryId::new_v7(
        super::calendar::end_of(day_of(at)).unix_ms().unsigned_abs(),
        entropy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, phone: &str, origin: &str, alias: &str) -> Member {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Member {
            name: some(name),
            phone: some(phone),
            origin: some(origin),
            alias: some(alias),
        }
    }

    #[test]
    fn a_name_alone_is_no_pair() {
        let one = member("陈建国", "13800000001", "某市某区甲支部", "陈师傅");
        for (other, likely) in [
            (member("陈建国", "13800000001", "", ""), true),
            (member("陈 建國", "138-0000-0001", "别处", "老陈"), true),
            (member("陈建国", "13900000002", "某市某区甲支部", ""), true),
            (member("陈建国", "13900000002", "乙支部", "陈师傅"), true),
            (member("陈建国", "13900000002", "乙支部", "老陈"), false),
            (
                member("李卫东", "13800000001", "某市某区甲支部", "陈师傅"),
                false,
            ),
            (member("", "13800000001", "", "陈师傅"), true),
            (member("", "13800000001", "", ""), false),
        ] {
            assert_eq!(one.is_likely(&other), likely, "{other:?}");
            assert_eq!(other.is_likely(&one), likely, "{other:?}");
        }
    }
}
