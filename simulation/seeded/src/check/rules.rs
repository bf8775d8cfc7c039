//! Who may write what, and which fields keep conflicts: a small table of its own, from docs/domain.md and the tables of docs/protocol.md.

/// Fields whose concurrent values stay side by side. A pattern's `*` is one part of a key.
const CONFLICTS: &[&str] = &[
    "sign_name",
    "legal_name",
    "credit_code",
    "road",
    "number",
    "number_suffix",
    "lane",
    "unit",
    "point",
    "occupancy",
    "occupancy_observed_on",
    "opening_hours",
    "contacts/*/name",
    "contacts/*/phones",
    "contacts/*/role",
    "contacts/*/preferred_time",
    "contacts/*/party_status",
    "custom/*",
    "transfer_kind",
    "member_alias",
    "member_name",
    "member_status",
    "origin_organisation",
    "phone",
    "target_branch",
];
/// Written once.
const ONCE: &[&str] = &[
    "kind",
    "street",
    "consent/*/*",
    "events/*/*",
    "rulings/*/*",
    "shop",
    "at",
    "channel",
    "outcome",
    "remark",
    "card_version",
    "replaces",
    "voids/*/*",
];
/// Not a secretary's to write once the record is there.
const OFFICE: &[&str] = &[
    "grid",
    "kind",
    "street",
    "merged_into",
    "state",
    "rulings/*/*",
    "sealed/*",
    "companions/*",
    "topics/*",
];
/// Not a secretary's to write at all.
const SERVER: &[&str] = &["merged_into", "state", "rulings/*/*", "sealed/*"];
/// Steps of a transfer that a secretary takes.
const SECRETARYS_STEPS: &[&str] = &["submit", "resubmit", "withdraw", "home_contacted"];
/// Sensitive fields of a transfer: they leave the record when it is submitted.
pub const SEALED: &[&str] = &[
    "member_name",
    "member_status",
    "origin_organisation",
    "target_branch",
];

fn matches(pattern: &str, key: &str) -> bool {
    let (mut parts, mut wanted) = (key.split('/'), pattern.split('/'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part)) if wanted == "*" || wanted == part => {}
            _ => return false,
        }
    }
}

fn any(patterns: &[&str], key: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, key))
}

/// Whether values that differ are a conflict.
pub fn keeps_conflicts(key: &str) -> bool {
    any(CONFLICTS, key)
}

/// Whether the key is written once and never again.
pub fn once(key: &str) -> bool {
    any(ONCE, key)
}

/// Whether a secretary may write this.
pub fn secretary_may(creating: bool, key: &str, value: Option<&str>) -> bool {
    if key.starts_with("events/") && key.ends_with("/type") {
        return value.is_some_and(|step| SECRETARYS_STEPS.contains(&step));
    }
    !any(if creating { SERVER } else { OFFICE }, key)
}

/// The entry of a list that a key is about.
pub fn entry(key: &str) -> Option<&str> {
    let mut parts = key.split('/');
    let (_, entry, _) = (parts.next()?, parts.next()?, parts.next()?);
    Some(entry)
}

/// The consent whose key names its person.
pub fn consent(key: &str) -> Option<&str> {
    key.strip_prefix("consent/")?.strip_suffix("/contact")
}

/// Whether a value may be one that somebody typed: those stand once in a run, and hold the number of their step. Words of lists are written by several.
pub fn is_typed(value: &str) -> bool {
    value.bytes().any(|byte| byte.is_ascii_digit())
}

/// Refusals after which the phone sends the same again.
pub fn is_retryable(code: &str) -> bool {
    matches!(
        code,
        "dependency_missing" | "sequence_gap" | "document_unavailable" | "too_many_held"
    )
}

/// Codes that what an honest phone writes is never refused with.
pub const NEVER_HONEST: &[&str] = &[
    "malformed_change",
    "not_a_change",
    "checksum_mismatch",
    "change_too_large",
    "out_of_range",
    "nested_object",
    "operation_not_allowed",
    "wrong_type",
    "bad_actor",
    "not_canonical",
    "bad_start_op",
    "bad_predecessor",
    "kind_mismatch",
    "wrong_street",
    "unknown_field",
    "field_not_editable",
    "value_empty",
    "value_not_in_list",
    "value_not_nfc",
];

/// Those of them that tell of bytes and not of rules: a phone's own library never writes such.
pub const NEVER_HONEST_BYTES: &[&str] = &[
    "malformed_change",
    "not_a_change",
    "change_too_large",
    "out_of_range",
    "nested_object",
    "bad_actor",
    "not_canonical",
];

/// Where an applied step of a transfer leads: from, step, to. From docs/domain.md and docs/transfers.md.
pub fn step_leads(from: &str, step: &str, to: &str) -> bool {
    const TABLE: &[(&str, &str, &str)] = &[
        ("draft", "submit", "submitted"),
        ("submitted", "return", "returned"),
        ("returned", "resubmit", "submitted"),
        ("submitted", "request_origin", "awaiting_origin"),
        ("awaiting_origin", "dispatch", "in_transit"),
        ("in_transit", "arrive", "arrived"),
        ("arrived", "archive_check", "archive_check"),
        ("arrived archive_check", "accept", "accepted"),
        ("arrived archive_check", "confirm_late", "accepted"),
        ("accepted", "send_receipt", "receipt_sent"),
        ("receipt_sent", "close", "closed"),
        // From archive_check and floating only where the author had not seen the step that led there.
        (
            "submitted returned awaiting_origin in_transit arrived expired archive_check floating",
            "withdraw",
            "withdrawn",
        ),
        ("arrived archive_check", "refuse", "refused"),
        ("in_transit", "expire", "expired"),
        ("expired", "reissue", "in_transit"),
        ("submitted awaiting_origin", "floating", "floating"),
        ("floating", "home_contacted", "floating"),
        ("floating", "end_floating", "closed"),
        ("contested", "settle", "accepted"),
        ("contested", "settle", "withdrawn"),
        ("returned", "lapse", "lapsed"),
    ];
    match step {
        "complete_task" | "not_same_person" | "remind" | "propose_expiry" => from == to,
        _ => TABLE.iter().any(|(froms, does, leads)| {
            *does == step && *leads == to && froms.split(' ').any(|state| state == from)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds and keys without conflict or rule of their own that these tables were made for.
    const KINDS: &[&str] = &["shop_card", "transfer_request", "visit"];
    const PLAIN: &[&str] = &[
        "grid",
        "category",
        "address_raw",
        "tags/*",
        "confirmations/*",
        "merged_into",
        "note",
        "state",
        "sealed/*",
        "companions/*",
        "topics/*",
    ];

    #[test]
    fn no_kind_and_no_field_is_unknown_to_the_checkers() {
        use lianka_sync_core::kinds::{Kind, MergeRule};
        for kind in Kind::ALL {
            assert!(KINDS.contains(&kind.as_str()), "{kind} has no checkers");
            for field in kind.fields() {
                let key = field.pattern().replace(['<', '>'], "");
                let expected = match field.merge {
                    MergeRule::MultiValue => (true, false, false),
                    MergeRule::Log | MergeRule::WriteOnce => (false, true, false),
                    MergeRule::LastWriter | MergeRule::Set | MergeRule::Text => {
                        (false, false, true)
                    }
                };
                let known = (keeps_conflicts(&key), once(&key), any(PLAIN, &key));
                assert_eq!(
                    known, expected,
                    "{kind}: {key} stands in (CONFLICTS, ONCE, PLAIN) as on the left, and its merge rule asks for the right"
                );
            }
        }
    }

    #[test]
    fn keys_fall_under_their_rules() {
        assert!(
            keeps_conflicts("sign_name")
                && keeps_conflicts("contacts/x/phones")
                && keeps_conflicts("custom/消防")
        );
        assert!(
            !keeps_conflicts("category")
                && !keeps_conflicts("grid")
                && !keeps_conflicts("tags/late_night")
        );
        assert!(once("consent/x/scope") && once("kind") && !once("sign_name"));
        assert!(
            secretary_may(true, "grid", Some("A1")) && !secretary_may(false, "grid", Some("A1"))
        );
        assert!(
            secretary_may(false, "events/x/type", Some("withdraw"))
                && !secretary_may(false, "events/x/type", Some("accept"))
        );
        assert!(!secretary_may(true, "rulings/x/no", Some("1")));
        assert!(
            step_leads("draft", "submit", "submitted")
                && !step_leads("accepted", "withdraw", "withdrawn")
        );
        assert!(
            step_leads("floating", "remind", "floating")
                && !step_leads("floating", "remind", "closed")
        );
    }
}
