//! `/v1/streets/{street}/calendar`: which days are worked, by the yearly notices of public holidays.

use axum::{
    Json,
    extract::{Request, State},
};
use lianka_sync_core::{
    kinds::transfer::calendar::{Calendar, day_of},
    time::ServerTime,
    values::date,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::{
    admin::{acts, notices},
    audit::Action,
    auth::{
        Principal, StreetScope,
        access::{Time::Quick, Who},
        route::{Route, route},
    },
    http::{error::ApiError, extract::whole_body},
    state::App,
    street::store::calendars,
};

/// Bytes of a notice: a year's days, with what people write around them.
const NOTICE_BYTES_MAX: usize = 64 * 1024;

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(show), Who::EVERY_ROLE, Quick),
        route(routes!(import), Who::ADMIN, Quick),
    ]
}

/// A day that is otherwise than the week has it.
#[derive(Serialize, ToSchema)]
pub struct DayView {
    #[schema(example = "2027-10-01")]
    day: String,
    /// `holiday` or `workday`.
    kind: &'static str,
}

/// Which days are worked.
#[derive(Serialize, ToSchema)]
pub struct CalendarView {
    /// Years of which a notice is known: shipped, or imported.
    years: Vec<i32>,
    /// The year whose notice is missing although it is time: the present one, or in December the next. Import it.
    lacks: Option<i32>,
    days: Vec<DayView>,
}

impl CalendarView {
    fn of(calendar: &Calendar, now: ServerTime) -> Self {
        let days = calendar.days().map(|(day, kind)| DayView {
            day: date::to_iso(day),
            kind: kind.as_str(),
        });
        Self {
            years: calendar.years().into_iter().collect(),
            lacks: calendar.lacks(day_of(now)),
            days: days.collect(),
        }
    }
}

/// Show the calendar of public holidays
///
/// Terms of transfers count working days by it.
#[utoipa::path(get, path = "/v1/streets/{street}/calendar", tag = "Streets", params(("street" = String, Path)),
    responses((status = OK, body = CalendarView)))]
pub async fn show(
    State(app): State<App>,
    scope: StreetScope,
) -> Result<Json<CalendarView>, ApiError> {
    acts::street(&app, &scope).await?;
    let calendar = calendars::calendar(&mut *app.pool.acquire().await?, scope.street()).await?;
    Ok(Json(CalendarView::of(&calendar, app.clock.now())))
}

/// Import the yearly notice of public holidays
///
/// The body is text, a line for each day: `2027-10-01,holiday` or `2027-10-09,workday` (a weekend day that is worked instead); `ordinary` takes a
/// day back. 放假, 休, 上班 and 补班 are understood as well. What other days are known stays. Repeating it changes nothing.
#[utoipa::path(put, path = "/v1/streets/{street}/calendar", tag = "Streets", params(("street" = String, Path)),
    request_body(content = String, content_type = "text/csv"), responses((status = OK, body = CalendarView)))]
pub async fn import(
    State(app): State<App>,
    admin: Principal,
    scope: StreetScope,
    request: Request,
) -> Result<Json<CalendarView>, ApiError> {
    acts::street(&app, &scope).await?;
    let body = whole_body(request.into_body(), NOTICE_BYTES_MAX).await?;
    let text = String::from_utf8_lossy(&body);
    let now = app.clock.now();
    let event = admin.did(Action::Calendar);
    let calendar = notices::put(&app.pool, scope.street(), &text, event, now).await?;
    Ok(Json(CalendarView::of(&calendar, now)))
}
