//! One street: its transaction, its queue, its rows and its history.

pub mod error;
pub mod history;
pub mod merge;
pub mod projection;
pub mod queue;
pub mod store;
pub mod transaction;

use crate::{
    http::error::{ApiError, ErrorCode},
    street::error::MergeError,
};

impl From<MergeError> for ApiError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::NoStreet => ApiError::new(ErrorCode::NotFound),
            MergeError::Store(error) => error.into(),
        }
    }
}
