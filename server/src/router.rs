//! The router and the document of its routes, put together from the features' rows.

use std::{
    ops::Deref,
    sync::{Arc, LazyLock},
};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use serde_json::Value;
use sqlx::PgPool;
use utoipa::openapi::{ComponentsBuilder, OpenApi, RefOr, path::Paths, schema::Schema};

use crate::{
    admin::{accounts, audit_trail, calendar, devices, streets},
    auth::{
        self, Auth, Gate,
        access::{Rule, Time},
        gate,
        route::Route,
    },
    clock::{Clock, Entropy},
    config::ServeConfig,
    duplicates, held,
    http::{self, Within},
    openapi,
    privacy::{erasures, persons},
    review::{conflicts, edits, moves},
    roll::{export_routes, import_routes, records},
    state::{App, StartError},
    sync::{self, Pipeline},
    transfers,
    upkeep::health,
    web_app,
};

/// The running server: what its routes take. Dereferences to the [`App`].
#[derive(Clone)]
pub struct Server {
    app: App,
    pub auth: Auth,
    pub pipeline: Pipeline,
}

impl Deref for Server {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Server {
    /// See [`App::start`].
    pub async fn start(
        pool: PgPool,
        config: Arc<ServeConfig>,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StartError> {
        let app = App::start(pool, config, clock, entropy).await?;
        Ok(Self {
            auth: Auth::new(app.clone()),
            pipeline: Pipeline::new(app.clone()),
            app,
        })
    }
}

/// Every route that phones and desks may call, with all layers on.
pub fn router(server: &Server) -> Router {
    let app = server.app.clone();
    // Layers run from the last to the first: observe, frame, catch_panic, then those of the route (within_time, gate), then its handler.
    Assembly::of(Some(server))
        .router
        .merge(web_app::router())
        .layer(DefaultBodyLimit::max(http::JSON_BODY_BYTES_MAX))
        .fallback(http::not_found)
        .method_not_allowed_fallback(http::method_not_allowed)
        .layer(http::observe::catch_panic())
        .layer(middleware::from_fn_with_state(app.clone(), http::frame))
        .layer(middleware::from_fn_with_state(app, http::observe::observe))
}

/// The rows of all routes.
pub fn rules() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| Assembly::of(None).rules);
    &RULES
}

/// The document of the routes, with access and refusals on every operation.
pub fn document() -> Result<Value, serde_json::Error> {
    let assembly = Assembly::of(None);
    openapi::document(&assembly.described(), &assembly.rules)
}

/// All routes, with handlers that can be called where there is a server.
struct Assembly<'s> {
    server: Option<&'s Server>,
    rules: Vec<Rule>,
    schemas: Vec<(String, RefOr<Schema>)>,
    paths: Paths,
    router: Router,
}

impl<'s> Assembly<'s> {
    fn of(server: Option<&'s Server>) -> Self {
        let mut all = Self {
            server,
            rules: Vec::new(),
            schemas: Vec::new(),
            paths: Paths::new(),
            router: Router::new(),
        };
        let app = |server: &Server| server.app.clone();
        let auth = |server: &Server| server.auth.clone();
        all.add(auth::routes::table(), auth);
        all.add(devices::table(), auth);
        all.add(accounts::table(), auth);
        all.add(streets::table(), app);
        all.add(calendar::table(), app);
        all.add(sync::routes::table(), |server| server.pipeline.clone());
        all.add(import_routes::table(), app);
        all.add(records::table(), app);
        all.add(export_routes::table(), app);
        all.add(persons::table(), app);
        all.add(duplicates::routes::table(), app);
        all.add(duplicates::contacts::table(), app);
        all.add(edits::table(), app);
        all.add(conflicts::table(), app);
        all.add(moves::table(), app);
        all.add(held::routes::table(), app);
        all.add(erasures::table(), app);
        all.add(transfers::routes::table(), app);
        all.add(audit_trail::table(), app);
        all.add(health::table(), app);
        // Last: what it serves tells of all others.
        let document = openapi::document(&all.described(), &all.rules);
        let document =
            document.map_or_else(|error| Err(error.to_string()), |it| Ok(it.to_string()));
        let document: openapi::Served = Arc::new(document);
        all.add(openapi::table(), |_| document);
        all
    }

    fn add<S: Clone + Send + Sync + 'static>(
        &mut self,
        table: Vec<Route<S>>,
        state: impl FnOnce(&Server) -> S,
    ) {
        let context = self.server.map(|server| (server, state(server)));
        for Route {
            rule,
            handler,
            documented,
        } in table
        {
            if let Some((server, state)) = &context {
                let waits = &server.config.store.waits;
                let within = Within(match rule.time {
                    Time::Quick => waits.request,
                    Time::Long => waits.unhurried(),
                });
                let guard = Gate {
                    auth: server.auth.clone(),
                    rule: Arc::new(rule.clone()),
                };
                let handler = handler
                    .with_state(state.clone())
                    .route_layer(middleware::from_fn_with_state(guard, gate))
                    .route_layer(middleware::from_fn_with_state(within, http::within_time));
                self.router = std::mem::take(&mut self.router).route(&rule.path, handler);
            }
            if let Some(documented) = documented {
                self.schemas.extend(documented.schemas);
                for (path, item) in documented.paths.paths {
                    match self.paths.paths.get_mut(&path) {
                        Some(there) => there.merge_operations(item),
                        None => drop(self.paths.paths.insert(path, item)),
                    }
                }
            }
            self.rules.push(rule);
        }
    }

    /// What the handlers' annotations say.
    fn described(&self) -> OpenApi {
        let mut described = openapi::head();
        described.paths = self.paths.clone();
        let components = described.components.take().unwrap_or_default();
        let components = ComponentsBuilder::from(components)
            .schemas_from_iter(self.schemas.iter().cloned())
            .build();
        described.components = Some(components);
        described
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_stands_twice() {
        let rules = rules();
        for (n, rule) in rules.iter().enumerate() {
            assert!(
                rules[..n]
                    .iter()
                    .all(|other| (&other.method, &other.path) != (&rule.method, &rule.path)),
                "{} {}",
                rule.method,
                rule.path
            );
        }
    }

    #[test]
    fn every_v1_route_is_documented_and_says_who_may_call_it() {
        let document = document().unwrap();
        for rule in rules()
            .iter()
            .filter(|rule| rule.path.starts_with("/v1/") && !rule.path.starts_with("/v1/docs"))
        {
            let operation =
                &document["paths"][&rule.path][rule.method.as_str().to_ascii_lowercase()];
            assert!(
                rule.path == "/v1/openapi.json" || operation.get("security").is_some(),
                "{} {}",
                rule.method,
                rule.path
            );
        }
        let documented = document["paths"].as_object().unwrap().values();
        let operations: usize = documented.map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(
            operations,
            rules().len() - 5,
            "health and the pages stand aside"
        );
    }

    #[test]
    fn references_lead_somewhere() {
        let document = document().unwrap();
        let text = document.to_string();
        for reference in text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
