//! A route is one row: its handler, who may call it, and its class of time. Method, path and documentation stand at the handler.

use axum::{http::Method, routing::MethodRouter};
use utoipa::openapi::{
    RefOr,
    path::{PathItem, Paths},
    schema::Schema,
};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::auth::access::{Rule, Time, Who};

/// A row of a feature's routes, for the state `S` that its handlers take.
pub struct Route<S> {
    pub rule: Rule,
    pub handler: MethodRouter<S>,
    /// For the `OpenAPI` document; a page of our own has none.
    pub documented: Option<Documented>,
}

/// What `utoipa` knows of a handler.
pub struct Documented {
    pub schemas: Vec<(String, RefOr<Schema>)>,
    pub paths: Paths,
}

/// The row of one handler, as `routes!(handler)` gives it.
///
/// # Panics
/// Where `routes!` was given more than one handler: each has a row of its own. The tests build all rows.
pub fn route<S>(
    (schemas, paths, handler): UtoipaMethodRouter<S>,
    who: Who,
    time: Time,
) -> Route<S> {
    let mut operations = paths
        .paths
        .iter()
        .flat_map(|(path, item)| methods(item).map(move |method| (method, path.clone())));
    let (Some((method, path)), None) = (operations.next(), operations.next()) else {
        panic!("a row is one method of one path");
    };
    drop(operations);
    Route {
        rule: Rule {
            method,
            path,
            who,
            wiped_devices: false,
            time,
        },
        handler,
        documented: Some(Documented { schemas, paths }),
    }
}

/// The row of something that is not documented: a check of health, a page.
pub fn undocumented<S>(path: &str, handler: MethodRouter<S>, who: Who, time: Time) -> Route<S> {
    Route {
        rule: Rule {
            method: Method::GET,
            path: path.to_owned(),
            who,
            wiped_devices: false,
            time,
        },
        handler,
        documented: None,
    }
}

impl<S> Route<S> {
    /// Also open to a revoked device that is to be wiped.
    #[must_use]
    pub fn for_wiped_devices(mut self) -> Self {
        self.rule.wiped_devices = true;
        self
    }
}

fn methods(item: &PathItem) -> impl Iterator<Item = Method> {
    [
        item.get.as_ref().map(|_| Method::GET),
        item.post.as_ref().map(|_| Method::POST),
        item.put.as_ref().map(|_| Method::PUT),
        item.patch.as_ref().map(|_| Method::PATCH),
        item.delete.as_ref().map(|_| Method::DELETE),
    ]
    .into_iter()
    .flatten()
}
