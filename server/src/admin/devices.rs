//! `/v1/enrolments`, `/v1/devices`.

use axum::{Json, extract::State, http::StatusCode};
use lianka_sync_core::{id::DeviceId, time::ServerTime};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use utoipa_axum::routes;

use crate::auth::{
    Auth,
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::{Body, Page, Paging, Path, Query};
use crate::{
    admin::acts,
    auth::{
        self, Principal, Session,
        store::devices::{self, DevicePage, Thresholds},
    },
    http::error::ApiError,
    state::App,
};

/// The routes of this file.
pub fn table() -> Vec<Route<Auth>> {
    vec![
        route(routes!(create_enrolment), Who::ADMIN, Quick),
        route(routes!(enrol), Who::Anyone, Quick),
        route(routes!(list), Who::ADMIN, Quick),
        route(routes!(revoke), Who::ADMIN, Quick),
    ]
}

/// For whom a code is made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    username: String,
}

/// A code to hand over; it is shown only here.
#[derive(Serialize, ToSchema)]
pub struct EnrolmentView {
    /// Ten characters without I, L, O and U; case, spaces and hyphens do not matter when it is typed.
    code: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: ServerTime,
}

/// Make an enrolment code
///
/// Good for one device, for ten minutes unless configured otherwise.
#[utoipa::path(post, path = "/v1/enrolments", tag = "Devices", request_body = NewEnrolment, responses((status = CREATED, body = EnrolmentView)))]
pub async fn create_enrolment(
    State(app): State<Auth>,
    admin: Principal,
    Body(new): Body<NewEnrolment>,
) -> Result<(StatusCode, Json<EnrolmentView>), ApiError> {
    let enrolment = acts::enrolment(&app, &admin, &new.username).await?;
    Ok((
        StatusCode::CREATED,
        Json(EnrolmentView {
            code: enrolment.code,
            expires_at: enrolment.expires_at,
        }),
    ))
}

/// A device that holds a code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    code: String,
    /// What the owner calls it, 1 to 100 characters.
    name: String,
    /// For example `android`, `ios`, `web`, `terminal`; not `desk`.
    platform: String,
}

/// Enrol a device
///
/// Spends the code. A code that is wrong, used or expired is refused in one and the same way.
#[utoipa::path(post, path = "/v1/devices", tag = "Signing in", request_body = NewDevice, responses((status = CREATED, body = Session)))]
pub async fn enrol(
    State(app): State<Auth>,
    Body(new): Body<NewDevice>,
) -> Result<(StatusCode, Json<Session>), ApiError> {
    let session = auth::enrol(&app, &new.code, &new.name, &new.platform).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// Something that is wrong with a device.
#[derive(Serialize, ToSchema)]
pub struct TroubleView {
    /// Stable word.
    code: String,
    message_zh: &'static str,
    message_en: &'static str,
}

/// A device as an admin sees it.
#[derive(Serialize, ToSchema)]
pub struct DeviceView {
    #[schema(value_type = String, format = Uuid)]
    device_id: DeviceId,
    username: String,
    name: String,
    platform: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: ServerTime,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_sync_at: Option<ServerTime>,
    client_version: Option<String>,
    /// Changes still on the phone after its last synchronisation, as it told.
    unsent: Option<i32>,
    /// Its changes that wait for a reviewer, as it told.
    held: Option<i32>,
    /// Its clock minus the server's.
    clock_skew_ms: Option<i64>,
    /// Times that two copies of it wrote under one name.
    forks: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<ServerTime>,
    /// Its next sync has its changes held, gets no data and is told to wipe.
    wipe: bool,
    /// When it told that it has cleared itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    wiped_reported_at: Option<ServerTime>,
    /// What is wrong with it, the most pressing first.
    troubles: Vec<TroubleView>,
}

impl From<devices::Device> for DeviceView {
    fn from(device: devices::Device) -> Self {
        let trouble = |code: String| {
            let known = devices::TROUBLES
                .iter()
                .find(|(known, _, _)| *known == code);
            let (_, message_zh, message_en) = known.copied().unwrap_or_default();
            TroubleView {
                code,
                message_zh,
                message_en,
            }
        };
        Self {
            device_id: device.device,
            username: device.username,
            name: device.name,
            platform: device.platform,
            created_at: device.created_at,
            last_sync_at: device.last_sync_at,
            client_version: device.client_version,
            unsent: device.unsent,
            held: device.held,
            clock_skew_ms: device.clock_skew_ms,
            forks: device.forks,
            revoked_at: device.revoked_at,
            wipe: device.wipe,
            wiped_reported_at: device.wiped_reported_at,
            troubles: device.troubles.into_iter().map(trouble).collect(),
        }
    }
}

/// Changes on a phone from which on somebody should ask why they do not come.
const UNSENT_MIN: i32 = 100;
/// A clock that is off by more makes times of edits misleading.
const CLOCK_SKEW_MS_MIN: i64 = 5 * 60_000;

fn thresholds(app: &App) -> Thresholds {
    let lease_ms = app.config.lease.as_millis() as i64;
    let stale_before = ServerTime::from_unix_ms(app.clock.now().unix_ms() - lease_ms);
    Thresholds {
        stale_before,
        unsent_min: UNSENT_MIN,
        clock_skew_ms_min: CLOCK_SKEW_MS_MIN,
    }
}

/// List devices
///
/// Failing ones first, with the reasons; then those in use, and among them the longest unheard.
#[utoipa::path(get, path = "/v1/devices", tag = "Devices", params(crate::http::extract::PageQuery), responses((status = OK, body = Page<DeviceView>)))]
pub async fn list(
    State(app): State<Auth>,
    admin: Principal,
    paging: Paging,
) -> Result<Json<Page<DeviceView>>, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let page = DevicePage {
        within: admin.home_street(),
        device: None,
        thresholds: thresholds(&app),
        limit: paging.limit(),
        offset: paging.offset(),
    };
    let (devices, total) = devices::page(&mut conn, page).await?;
    Ok(Json(
        paging.of(devices.into_iter().map(Into::into).collect(), total),
    ))
}

/// How to revoke.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Revocation {
    /// Also tell the device to forget what it holds, once its changes are rescued.
    #[serde(default)]
    wipe: bool,
}

/// Revoke a device
///
/// Takes effect at once. Repeating it changes nothing, except that a wipe may be added.
#[utoipa::path(delete, path = "/v1/devices/{device}", tag = "Devices", params(("device" = String, Path), Revocation), responses((status = OK, body = DeviceView)))]
pub async fn revoke(
    State(app): State<Auth>,
    admin: Principal,
    Path(device): Path<DeviceId>,
    Query(revocation): Query<Revocation>,
) -> Result<Json<DeviceView>, ApiError> {
    let (wipe, thresholds) = (revocation.wipe, thresholds(&app));
    let device = acts::revoke_device(&app, &admin, device, wipe, thresholds).await?;
    Ok(Json(device.into()))
}
