//! What an act of the office refuses, as a problem for the caller: one table.

use lianka_office_core::{acts::Refused, street::ForgetError};
use lianka_sync_core::lang::Lang;
use uuid::Uuid;

use crate::http::error::{ApiError, ErrorCode};

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound | Refused::NoRecord(_) | Refused::Forget(ForgetError::NoRecord) => {
                Self::new(ErrorCode::NotFound)
            }
            Refused::Unavailable => Self::new(ErrorCode::Unavailable),
            Refused::StaleHeads(heads) => Self::stale_heads(heads),
            Refused::AlreadyExists => Self::new(ErrorCode::AlreadyExists),
            Refused::ConflictChanged => Self::new(ErrorCode::ConflictChanged),
            Refused::AlreadyUndone => Self::new(ErrorCode::AlreadyUndone),
            Refused::EditedSince => Self::new(ErrorCode::EditedSince),
            Refused::AlreadyMerged => Self::new(ErrorCode::AlreadyMerged),
            Refused::MergeUndone => Self::new(ErrorCode::MergeUndone),
            Refused::MergeNotLast => Self::new(ErrorCode::MergeNotLast),
            Refused::Decided => Self::new(ErrorCode::HeldDecided),
            Refused::Needs(needs) => {
                let ids: Vec<_> = needs.iter().map(Uuid::to_string).collect();
                let ids = ids.join(", ");
                Self::new(ErrorCode::HeldNeeds).detail(
                    format!("请先接受：{ids}，或带 with_needed。"),
                    format!("Accept these first, or send with_needed: {ids}."),
                )
            }
            Refused::NoGrid => Self::invalid_field("to_grid", "exists")
                .detail("没有这个网格。", "There is no such grid in this street."),
            Refused::NoEntry => Self::invalid_field("entry", "exists").detail(
                "该卡没有这位联系人。",
                "The record has no such contact person.",
            ),
            Refused::NoField => Self::invalid_field("field", "unknown_field"),
            Refused::ReservedKey(key) => Self::invalid_field(format!("set.{key}"), "reserved")
                .detail(
                    "街道和类型不由字段指定。",
                    "Street and kind are not given as fields.",
                ),
            Refused::NoteIsText => Self::invalid_field("note", "wrong_type"),
            Refused::SameCard => Self::invalid_field("winner", "one_of_the_pair"),
            Refused::Rule(refusal) | Refused::HeldRefused(refusal) => Self::refused(&refusal),
            Refused::CardRefuses(refusal) => {
                let code = if refusal.retryable() {
                    ErrorCode::Unavailable
                } else {
                    ErrorCode::CardRefuses
                };
                Self::new(code).detail(refusal.message(Lang::Zh), refusal.message(Lang::En))
            }
            Refused::Forget(error @ ForgetError::Rebuild(_)) => Self::internal(error),
        }
    }
}
