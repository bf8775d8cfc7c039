//! Extractors whose refusals are problem documents, and the one form of paging.

mod strict_json;

use std::borrow::Cow;

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use self::strict_json::StrictJson;
use crate::{
    edge::was_too_slow,
    http::error::{ApiError, ErrorCode},
};

/// The whole body of a stream or a file, at most `bytes_max` long. How long it may take is for the [`edge`](crate::edge) to say.
pub async fn whole_body(body: axum::body::Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, bytes_max)
        .await
        .map_err(|error| {
            if was_too_slow(&error) {
                return ApiError::new(ErrorCode::BodyTooSlow);
            }
            let too_large = std::error::Error::source(&error)
                .is_some_and(|source| source.to_string().contains("length limit"));
            ApiError::new(if too_large {
                ErrorCode::BodyTooLarge
            } else {
                ErrorCode::Malformed
            })
            .because(error)
        })
}

/// A JSON body, read one way only (`strict_json`). Unknown keys are for the type to refuse.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers().get(header::CONTENT_TYPE)) {
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| unread(&rejection))?;
        let json = &mut serde_json::Deserializer::from_slice(&bytes);
        let sent: StrictJson = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
            match error.inner().classify() {
                serde_json::error::Category::Data => {
                    wrong_shape(&error.path().to_string(), error.inner())
                }
                _ => malformed(error.inner()),
            }
        })?;
        let value = serde_path_to_error::deserialize(sent)
            .map_err(|error| wrong_shape(&error.path().to_string(), error.inner()))?;
        json.end().map_err(|error| malformed(&error))?;
        Ok(Self(value))
    }
}

fn is_json(content_type: Option<&axum::http::HeaderValue>) -> bool {
    let essence = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn unread(rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::new(ErrorCode::BodyTooLarge)
    } else if was_too_slow(rejection) {
        ApiError::new(ErrorCode::BodyTooSlow)
    } else {
        ApiError::new(ErrorCode::Malformed).detail(
            "未能读完请求内容。",
            "The body could not be read to its end.",
        )
    }
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    ApiError::new(ErrorCode::Malformed).detail(
        format!("JSON 第 {line} 行第 {column} 列有误。"),
        format!("The JSON is broken at line {line}, column {column}."),
    )
}

fn wrong_shape(path: &str, error: &impl std::fmt::Display) -> ApiError {
    let field: Cow<'static, str> = if path == "." || path == "?" {
        Cow::Borrowed("")
    } else {
        Cow::Owned(path.to_owned())
    };
    ApiError::invalid_field(field, "shape").detail(
        format!("字段的形状不对：{error}"),
        format!("It has the wrong shape: {error}"),
    )
}

/// Query parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| {
                // axum says "Failed to deserialize query string: page: invalid digit …"; the path stands between.
                let text = rejection.body_text();
                let said = text
                    .split_once(": ")
                    .map_or(text.as_str(), |(_, rest)| rest);
                let (path, message) = said.split_once(": ").unwrap_or(("", said));
                wrong_shape(path, &message)
            })
    }
}

/// Path parameters. What cannot be read names nothing, so it is not found.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(_) => Err(ApiError::new(ErrorCode::NotFound)),
        }
    }
}

/// Most items on a page.
pub const PAGE_SIZE_MAX: u32 = 200;
const PAGE_SIZE_DEFAULT: u32 = 50;
/// A page further back than this is not browsing any more.
const PAGE_MAX: u32 = 100_000;

/// `?page=1&page_size=50`, as on every list.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// From 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// At most 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    page_size: Option<u32>,
}

impl PageQuery {
    /// For a route whose own query holds the two numbers.
    pub fn new(page: Option<u32>, page_size: Option<u32>) -> Self {
        Self { page, page_size }
    }
}

/// A checked page.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    page: u32,
    page_size: u32,
}

impl Paging {
    /// Rows to take.
    pub fn limit(self) -> i64 {
        i64::from(self.page_size)
    }

    /// Rows to pass over.
    pub fn offset(self) -> i64 {
        i64::from(self.page - 1) * i64::from(self.page_size)
    }

    /// The answer: these items, of `total`.
    pub fn of<T>(self, items: Vec<T>, total: i64) -> Page<T> {
        Page {
            items,
            page: self.page,
            page_size: self.page_size,
            total,
        }
    }
}

impl TryFrom<PageQuery> for Paging {
    type Error = ApiError;

    fn try_from(query: PageQuery) -> Result<Self, ApiError> {
        let page = query.page.unwrap_or(1);
        let page_size = query.page_size.unwrap_or(PAGE_SIZE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&page) {
            return Err(ApiError::invalid_field("page", "range_1_100000"));
        }
        if !(1..=PAGE_SIZE_MAX).contains(&page_size) {
            return Err(ApiError::invalid_field("page_size", "range_1_200"));
        }
        Ok(Self { page, page_size })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state).await?;
        query.try_into()
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// From 1.
    pub page: u32,
    pub page_size: u32,
    /// Items on all pages together.
    pub total: i64,
}
