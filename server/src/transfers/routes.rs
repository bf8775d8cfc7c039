//! Transfers for the office: the queue with running clocks, one request with everything that happened, and the officers' events.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State, http::StatusCode};
use lianka_office_core::acts::{Refused, step::TakeStep};
use lianka_sync_core::{
    codec::change::{self, Action as Op},
    crdt::{merge::RegisterState, view::View},
    id::{EntryId, RecordId, StreetCode},
    kinds::{
        Class, Field, Kind, Meaning, Rule, Shape,
        transfer::{
            self, Case, CaseStatus, Event, Ruled, STEPS, State as TransferState, Step, Words,
            calendar::{self, Calendar},
            table,
        },
        transfer_request,
    },
    time::{DeviceTime, ServerTime},
    values::date,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use utoipa_axum::routes;

use crate::auth::{
    access::{Time::Quick, Who},
    route::{Route, route},
};
use crate::http::extract::{Body, Page, PageQuery, Paging, Path, Query};
use crate::{
    audit::{self, Action},
    auth::{Principal, StreetScope},
    http::error::{ApiError, ErrorCode},
    roll::store as roll,
    state::App,
    street::{
        error::ActError,
        history as past,
        store::{calendars, records},
        transaction,
    },
    transfers::store::{self as store, PersonalFields, QueueFilter, QueueRow},
};

/// The routes of this file.
pub fn table() -> Vec<Route<App>> {
    vec![
        route(routes!(list), Who::TRANSFER_READERS, Quick),
        route(routes!(show), Who::TRANSFER_READERS, Quick),
        route(routes!(act), Who::OFFICER, Quick),
    ]
}

/// Changes after a submission that are looked through for edits.
const LATER_CHANGES_MAX: i64 = 500;

/// Chinese and English.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub struct Both {
    zh: &'static str,
    en: &'static str,
}

impl From<Words> for Both {
    fn from(words: Words) -> Self {
        Self {
            zh: words.zh,
            en: words.en,
        }
    }
}

/// Which requests to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TransfersQuery {
    /// Only this state, for example `submitted`. Absent: every open request. `all`: every state but drafts.
    state: Option<String>,
    /// Only requests whose term ends before this day begins.
    #[param(example = "2026-12-01")]
    due_before: Option<String>,
    /// Only requests whose term is over (`true`) or not (`false`).
    overdue: Option<bool>,
    /// Only this grid.
    grid: Option<String>,
    /// `due` (default: the next to end first), `age` (longest in its state first) or `changed` (last first).
    sort: Option<String>,
    page: Option<u32>,
    page_size: Option<u32>,
}

impl TransfersQuery {
    fn filter(&self, now: ServerTime) -> Result<QueueFilter, ApiError> {
        let all = self.state.as_deref() == Some("all");
        let state = self
            .state
            .as_deref()
            .filter(|_| !all)
            .map(str::parse::<TransferState>)
            .transpose();
        let state = state.map_err(|_| {
            ApiError::invalid_field("state", "known_state")
                .detail("没有这种状态。", "There is no such state.")
        })?;
        let day = |text: &String| {
            date::parse(text)
                .ok_or_else(|| ApiError::invalid_field("due_before", "date_yyyy_mm_dd"))
        };
        let due_upto = self
            .due_before
            .as_ref()
            .map(day)
            .transpose()?
            .and_then(time::Date::previous_day)
            .map(calendar::end_of);
        Ok(QueueFilter {
            state: state.map(|state| state.to_string()),
            all,
            due_upto,
            overdue_at: self.overdue.filter(|overdue| *overdue).map(|_| now),
            not_overdue_at: self.overdue.filter(|overdue| !*overdue).map(|_| now),
            grid: self.grid.clone(),
        })
    }

    fn sort(&self) -> Result<&'static str, ApiError> {
        match self.sort.as_deref() {
            None | Some("due") => Ok("due"),
            Some("age") => Ok("age"),
            Some("changed") => Ok("changed"),
            Some(_) => Err(ApiError::invalid_field("sort", "one_of_due_age_changed")),
        }
    }
}

/// What has to happen next.
#[derive(Serialize, ToSchema)]
pub struct NextView {
    /// `secretary`, `officer`, `second_officer`, `origin`, `member` or `nobody`.
    acting: &'static str,
    acting_label: Both,
    what: Both,
    /// What has to be brought for it.
    bring: Both,
    /// The last day for it, where there is one.
    by: Option<String>,
}

/// The letter that carries the membership.
#[derive(Serialize, ToSchema)]
pub struct LetterView {
    number: String,
    issued_on: String,
    expires_on: String,
}

/// An acceptance.
#[derive(Serialize, ToSchema)]
pub struct AcceptanceView {
    #[schema(value_type = Uuid)]
    event: EntryId,
    branch: String,
    accepted_on: String,
    reference: String,
}

impl From<&transfer::Acceptance> for AcceptanceView {
    fn from(acceptance: &transfer::Acceptance) -> Self {
        Self {
            event: acceptance.event,
            branch: acceptance.branch.clone(),
            accepted_on: date::to_iso(acceptance.accepted_on),
            reference: acceptance.reference.clone(),
        }
    }
}

/// Something to deal with beside the next step.
#[derive(Serialize, ToSchema)]
pub struct TaskView {
    /// The event it is about: `complete_task` names it as `about`.
    #[schema(value_type = Uuid)]
    about: EntryId,
    /// `correction` or `referral`.
    kind: &'static str,
    label: Both,
}

/// Another open request that is likely of the same member.
#[derive(Clone, Serialize, ToSchema)]
pub struct PairedView {
    #[schema(value_type = Uuid)]
    record: RecordId,
    /// It was submitted before this one: steps that bind the member are refused here until one of the two is ended, or `not_same_person`.
    earlier: bool,
}

/// A request in the queue.
#[derive(Serialize, ToSchema)]
pub struct TransferView {
    #[schema(value_type = Uuid)]
    record: RecordId,
    grid: String,
    /// Sequence of its newest log entry.
    seq: i64,
    transfer_kind: Option<String>,
    member_alias: Option<String>,
    state: &'static str,
    state_label: Both,
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<ServerTime>,
    /// Whole days in this state.
    age_days: Option<i64>,
    #[schema(value_type = Option<String>, format = DateTime)]
    submitted_at: Option<ServerTime>,
    /// The moment the term of the state is over.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<ServerTime>,
    overdue: bool,
    /// Days to the last day of the term; negative: so many days late.
    days_left: Option<i64>,
    next: NextView,
    /// What the member is told.
    member: Both,
    /// `origin` or `target`.
    responsible: &'static str,
    revision: u32,
    letter: Option<LetterView>,
    acceptance: Option<AcceptanceView>,
    /// The clock found the letter's validity over; an officer confirms with `expire`.
    expiry_proposed: bool,
    /// Acceptances dated after the letter's expiry: `confirm_late` names one as `about`.
    late: Vec<AcceptanceView>,
    /// A first officer refused and a second has to.
    awaiting_second: bool,
    tasks: Vec<TaskView>,
    likely_pair: Vec<PairedView>,
    /// What an event now names as `seen`; null for a draft.
    #[schema(value_type = Option<Uuid>)]
    seen: Option<EntryId>,
    /// Events that are not ruled on yet.
    pending: usize,
}

impl TransferView {
    fn of(
        row: &QueueRow,
        state: &RegisterState,
        view: &View,
        case: &Case,
        now: ServerTime,
        pairs: &Pairs,
    ) -> Self {
        let status = &case.now;
        let next = status.next();
        let due_at = status
            .due(state.created_at(), &pairs.calendar)
            .map(|(at, _)| at);
        let last_day =
            due_at.map(|at| calendar::day_of(ServerTime::from_unix_ms(at.unix_ms() - 1)));
        let today = calendar::day_of(now);
        Self {
            record: row.record,
            grid: row.grid.clone(),
            seq: row.seq,
            transfer_kind: view
                .text(transfer_request::TRANSFER_KIND)
                .map(str::to_owned),
            member_alias: view.text(transfer_request::MEMBER_ALIAS).map(str::to_owned),
            state: status.state.as_str(),
            state_label: status.state.row().label.into(),
            since: status.since,
            age_days: status
                .since
                .or(state.created_at())
                .map(|since| (today - calendar::day_of(since)).whole_days()),
            submitted_at: status.submitted_at,
            due_at,
            overdue: due_at.is_some_and(|at| now >= at),
            days_left: last_day.map(|day| (day - today).whole_days()),
            next: NextView {
                acting: next.acting.as_str(),
                acting_label: next.acting.words().into(),
                what: next.what.into(),
                bring: next.bring.into(),
                by: last_day.map(date::to_iso),
            },
            member: next.member.into(),
            responsible: status.responsible().as_str(),
            revision: status.revision,
            letter: status.letter.as_ref().map(|letter| LetterView {
                number: letter.number.clone(),
                issued_on: date::to_iso(letter.issued_on),
                expires_on: date::to_iso(letter.expires_on),
            }),
            acceptance: status
                .acceptance
                .as_ref()
                .or(status.contest.as_ref().map(|(_, accepted)| accepted))
                .map(Into::into),
            expiry_proposed: status.expiry_proposed,
            late: status.open_late().map(Into::into).collect(),
            awaiting_second: status.refusal.is_some(),
            tasks: status
                .open_tasks()
                .map(|task| TaskView {
                    about: task.event,
                    kind: task.kind.as_str(),
                    label: task.kind.words().into(),
                })
                .collect(),
            likely_pair: pairs.of(row.record),
            seen: status.last,
            pending: case.pending().count(),
        }
    }
}

/// What the street says about its requests: which open ones are likely of the same member, and which days their terms count.
struct Pairs {
    open: Vec<store::OpenRequest>,
    different: BTreeSet<(RecordId, RecordId)>,
    calendar: Calendar,
}

impl Pairs {
    async fn load(conn: &mut PgConnection, street: &StreetCode) -> sqlx::Result<Self> {
        let open = store::open_requests(&mut *conn, street).await?;
        let different = store::different_people(&mut *conn, street).await?;
        Ok(Self {
            calendar: calendars::calendar(conn, street).await?,
            open,
            different: different
                .into_iter()
                .flat_map(|(a, b)| [(a, b), (b, a)])
                .collect(),
        })
    }

    fn of(&self, record: RecordId) -> Vec<PairedView> {
        let Some(at) = self
            .open
            .iter()
            .position(|request| request.record == record)
        else {
            return Vec::new();
        };
        let own = &self.open[at].member;
        let likely = |(_, other): &(usize, &store::OpenRequest)| {
            other.record != record
                && !self.different.contains(&(record, other.record))
                && own.is_likely(&other.member)
        };
        // The first submitted stand first.
        let others = self.open.iter().enumerate().filter(likely);
        others
            .map(|(n, other)| PairedView {
                record: other.record,
                earlier: n < at,
            })
            .collect()
    }
}

/// List transfers
///
/// The queue with running clocks: where each request stands, since when, who must act next, what to bring and by when, and what the member is
/// told. No sensitive field (P3) is listed.
#[utoipa::path(get, path = "/v1/streets/{street}/transfers", tag = "Transfers", params(("street" = String, Path), TransfersQuery),
    responses((status = OK, body = Page<TransferView>)))]
pub async fn list(
    State(app): State<App>,
    scope: StreetScope,
    Query(query): Query<TransfersQuery>,
) -> Result<Json<Page<TransferView>>, ApiError> {
    let paging = Paging::try_from(PageQuery::new(query.page, query.page_size))?;
    let now = app.clock.now();
    let (filter, sort) = (query.filter(now)?, query.sort()?);
    let mut conn = app.pool.acquire().await?;
    crate::street::store::streets::find_street(&mut conn, scope.street())
        .await?
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let (rows, total) = store::queue(
        &mut conn,
        scope.street(),
        &filter,
        sort,
        paging.limit(),
        paging.offset(),
    )
    .await?;
    let pairs = Pairs::load(&mut conn, scope.street()).await?;
    let items = rows.iter().map(|row| {
        let state = crate::store::registers(&row.state)?;
        let view = state.view();
        Ok(TransferView::of(
            row,
            &state,
            &view,
            &Case::of(&view),
            now,
            &pairs,
        ))
    });
    Ok(Json(
        paging.of(items.collect::<Result<_, ApiError>>()?, total),
    ))
}

/// A field of the request.
#[derive(Serialize, ToSchema)]
pub struct ContentView {
    key: String,
    label_zh: &'static str,
    label_en: &'static str,
    /// P0 public, P1 internal, P2 personal, P3 sensitive.
    class: String,
    /// Every concurrent value, the chosen one last; empty where the reader may not see it.
    values: Vec<String>,
    /// Only the office keeps it; no phone has it.
    sealed: bool,
}

/// An event and what became of it.
#[derive(Serialize, ToSchema)]
// The audit trail has events too: one name in the documentation is one shape.
#[schema(as = TransferEventView)]
pub struct EventView {
    #[schema(value_type = Uuid)]
    event: EntryId,
    r#type: &'static str,
    label: Both,
    #[schema(value_type = Option<Uuid>)]
    seen: Option<EntryId>,
    /// The fields of its form.
    fields: BTreeMap<String, String>,
    /// Who; null: the server's clock.
    username: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    device_time: Option<DeviceTime>,
    #[schema(value_type = Option<String>, format = DateTime)]
    received_at: Option<ServerTime>,
    /// Null: pending.
    ruling: Option<RulingView>,
}

/// What the server ruled.
#[derive(Serialize, ToSchema)]
pub struct RulingView {
    /// Order of the ruling, from 1.
    no: u32,
    #[schema(value_type = String, format = DateTime)]
    at: ServerTime,
    /// `applied`, `refused`, `contested`, `late`, `referral`, `awaiting_second` or `correction_task`.
    outcome: &'static str,
    outcome_label: Both,
    /// Why, where there is something to say.
    code: Option<&'static str>,
    code_label: Option<Both>,
    /// The state after it.
    state: &'static str,
}

impl From<&Ruled> for RulingView {
    fn from(ruled: &Ruled) -> Self {
        Self {
            no: ruled.no,
            at: ruled.at,
            outcome: ruled.ruling.outcome.as_str(),
            outcome_label: ruled.ruling.outcome.words().into(),
            code: ruled.ruling.code.map(transfer::Code::as_str),
            code_label: ruled.ruling.code.map(|code| code.words().into()),
            state: ruled.ruling.state.as_str(),
        }
    }
}

/// What was edited after the newest submission: it belongs to the next revision.
#[derive(Serialize, ToSchema)]
pub struct LaterEditView {
    key: String,
    label_zh: &'static str,
    label_en: &'static str,
    /// Null: deleted, or a field that the reader may not see.
    value: Option<String>,
    username: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    received_at: Option<ServerTime>,
}

/// A step that the present state allows.
#[derive(Serialize, ToSchema)]
pub struct StepView {
    r#type: &'static str,
    label: Both,
    /// Whose step it is.
    roles: Vec<&'static str>,
    form: Vec<InputView>,
    /// Of these, one must be there.
    one_of: &'static [&'static str],
}

/// A field of a step's form.
#[derive(Serialize, ToSchema)]
pub struct InputView {
    name: &'static str,
    label_zh: &'static str,
    label_en: &'static str,
    required: bool,
    /// What it may be, where that is a list.
    values: &'static [&'static str],
    /// What is usual here.
    usual: Option<String>,
}

/// One request.
#[derive(Serialize, ToSchema)]
pub struct TransferDetail {
    #[serde(flatten)]
    transfer: TransferView,
    content: Vec<ContentView>,
    note: String,
    /// Ruled ones in order, then pending ones.
    events: Vec<EventView>,
    /// What changed after the newest submission.
    edits_since_submission: Vec<LaterEditView>,
    void_letters: Vec<String>,
    /// What may be done now.
    steps: Vec<StepView>,
}

#[derive(Deserialize)]
pub struct TransferPath {
    record: RecordId,
}

async fn find(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
) -> Result<(QueueRow, RegisterState), ApiError> {
    let row = records::find(conn, street, record, None)
        .await?
        .filter(|row| row.kind == Kind::TransferRequest.as_str());
    let row = row.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let state = crate::store::registers(&row.state)?;
    Ok((
        QueueRow {
            record,
            grid: row.grid,
            seq: row.seq,
            state: Vec::new(),
        },
        state,
    ))
}

/// Show a transfer
///
/// Its content, every event with its ruling, what changed after the submission, and the steps that are possible now. Sensitive fields (P3) are
/// shown to officers alone, and each time the audit trail says so.
#[utoipa::path(get, path = "/v1/streets/{street}/transfers/{record}", tag = "Transfers",
    params(("street" = String, Path), ("record" = Uuid, Path)), responses((status = OK, body = TransferDetail)))]
pub async fn show(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<TransferPath>,
) -> Result<Json<TransferDetail>, ApiError> {
    let street = scope.street();
    let mut conn = app.pool.acquire().await?;
    let (row, state) = find(&mut conn, street, path.record).await?;
    let now = app.clock.now();
    let pairs = Pairs::load(&mut conn, street).await?;
    let view = state.view();
    let case = Case::of(&view);
    let reads_p3 = principal.role() == lianka_sync_core::access::Role::Officer;
    let personal = store::personal(&mut conn, street, path.record).await?;
    let content = content(&view, &case.now, reads_p3, &personal);
    let edits = later_edits(
        &mut conn,
        street,
        path.record,
        &state,
        &view,
        &case.now,
        reads_p3.then_some(&personal),
    )
    .await?;
    let events = events(&mut conn, &state, &view, &case).await?;
    if content
        .iter()
        .any(|field| field.class == "P3" && !field.values.is_empty())
    {
        let read = audit::Event::by(principal.username(), principal.device(), Action::ReadP3)
            .on(path.record);
        audit::tell(&mut conn, street.into(), now, &[read]).await?;
    }
    let steps = steps(&view, &case.now);
    let (note, void_letters) = (
        view.note.clone().unwrap_or_default(),
        case.now.void_letters.clone(),
    );
    let transfer = TransferView::of(&row, &state, &view, &case, now, &pairs);
    Ok(Json(TransferDetail {
        transfer,
        content,
        note,
        events,
        edits_since_submission: edits,
        void_letters,
        steps,
    }))
}

/// The request's own fields: those of the record, and what the office keeps up to the present revision.
fn content(
    view: &View,
    status: &CaseStatus,
    reads_p3: bool,
    personal: &[(u32, PersonalFields)],
) -> Vec<ContentView> {
    let own = |name: &&str| !matches!(*name, "kind" | "street" | "state");
    let registers = Kind::TransferRequest
        .fields()
        .iter()
        .filter(|field| field.pattern() == field.name && field.rule != Rule::Note);
    let shown = |field: &'static Field| {
        let mut values: Vec<String> = view
            .values
            .get(field.name)
            .into_iter()
            .flatten()
            .filter_map(|value| value.value.as_str().map(str::to_owned))
            .collect();
        if values.is_empty() {
            let kept = personal
                .iter()
                .rev()
                .filter(|(revision, _)| *revision <= status.revision)
                .find_map(|(_, fields)| fields.get(field.name));
            values = kept.cloned().unwrap_or_default();
        }
        let sealed = view.get(&transfer::sealed_key(field.name)).is_some();
        if values.is_empty() && !sealed {
            return None;
        }
        if field.class == Class::P3 && !reads_p3 {
            values.clear();
        }
        let class = format!("{:?}", field.class);
        Some(ContentView {
            key: field.name.to_owned(),
            label_zh: field.label_zh,
            label_en: field.label_en,
            class,
            values,
            sealed,
        })
    };
    registers
        .filter(|field| own(&field.name))
        .filter_map(shown)
        .collect()
}

async fn events(
    conn: &mut PgConnection,
    state: &RegisterState,
    view: &View,
    case: &Case,
) -> Result<Vec<EventView>, ApiError> {
    let written = |event: &Event| transfer::written(view, event.id);
    let devices: Vec<Uuid> = case
        .events
        .iter()
        .filter_map(written)
        .map(|value| value.op.actor.device().0)
        .collect();
    let names = roll::device_names(conn, &devices).await?;
    let author = |event: &Event| {
        let device = written(event)?.op.actor.device().0;
        names
            .iter()
            .find(|name| name.device == device)
            .map(|name| name.username.clone())
    };
    Ok(case
        .events
        .iter()
        .map(|event| EventView {
            event: event.id,
            r#type: event.step.as_str(),
            label: event.step.row().label.into(),
            seen: event.seen,
            fields: event.fields.clone(),
            username: event
                .ruled
                .as_ref()
                .map_or_else(|| author(event), |ruled| ruled.by.clone()),
            device_time: written(event).and_then(|value| value.time),
            received_at: written(event)
                .and_then(|value| Some(state.provenance(value.op)?.received_at)),
            ruling: event.ruled.as_ref().map(Into::into),
        })
        .collect())
}

/// What was edited after the newest submission, the last edit of each field.
async fn later_edits(
    conn: &mut PgConnection,
    street: &StreetCode,
    record: RecordId,
    state: &RegisterState,
    view: &View,
    status: &CaseStatus,
    personal: Option<&Vec<(u32, PersonalFields)>>,
) -> Result<Vec<LaterEditView>, ApiError> {
    let op = status
        .submission
        .and_then(|event| Some(transfer::written(view, event)?.op));
    let Some(submitted) = op.and_then(|op| state.provenance(op)) else {
        return Ok(Vec::new());
    };
    let mut edits: BTreeMap<String, LaterEditView> = BTreeMap::new();
    let labels = |key: &str| {
        Kind::TransferRequest
            .field(key)
            .map(|(field, _)| (field.label_zh, field.label_en, field.class))
    };
    for later in
        past::changes_after(conn, street, record, submitted.hash, LATER_CHANGES_MAX).await?
    {
        for op in change::decode(&later.bytes)
            .map_err(ApiError::internal)?
            .ops
        {
            let (key, value) = match op.action {
                Op::Put { key, value } => (key, Some(value)),
                Op::Delete { key } => (key, None),
                Op::MakeText { .. } | Op::Insert { .. } | Op::Remove { .. } => {
                    (lianka_sync_core::key::NOTE.to_owned(), None)
                }
            };
            let events = Shape::Entry {
                list: transfer::EVENTS,
            };
            let is_content =
                |field: &Field| field.meaning != Meaning::Process && field.shape != events;
            let field = Kind::TransferRequest.field(&key);
            if !field.is_some_and(|(field, _)| is_content(field)) {
                continue;
            }
            let Some((label_zh, label_en, class)) = labels(&key) else {
                continue;
            };
            let value = value
                .and_then(|value| value.as_str().map(str::to_owned))
                .filter(|_| class != Class::P3 || personal.is_some());
            let edit = LaterEditView {
                key: key.clone(),
                label_zh,
                label_en,
                value,
                username: later.username.clone(),
                received_at: Some(later.received_at),
            };
            edits.insert(key, edit);
        }
    }
    // Sensitive ones went to the office's own table at once, as part of the next revision.
    let next = store::personal(conn, street, record)
        .await?
        .into_iter()
        .find(|(revision, _)| *revision == status.revision + 1);
    for (key, values) in next.into_iter().flat_map(|(_, fields)| fields) {
        let Some((label_zh, label_en, _)) = labels(&key) else {
            continue;
        };
        let value = values.last().cloned().filter(|_| personal.is_some());
        edits.insert(
            key.clone(),
            LaterEditView {
                key,
                label_zh,
                label_en,
                value,
                username: None,
                received_at: None,
            },
        );
    }
    Ok(edits.into_values().collect())
}

/// The steps that the table allows in this state.
fn steps(view: &View, status: &CaseStatus) -> Vec<StepView> {
    let usual = |name: &str| match name {
        table::VALIDITY_DAYS => Some(
            table::usual_validity_days(
                view.text(transfer_request::TRANSFER_KIND)
                    .unwrap_or_default(),
            )
            .to_string(),
        ),
        _ => None,
    };
    let input = |input: &table::Input| {
        let (field, _) =
            Kind::TransferRequest.field(&transfer::event_key(EntryId::default(), input.name))?;
        let values = if let Rule::OneOf(list) = field.rule {
            list
        } else {
            &[]
        };
        let (label_zh, label_en) = (field.label_zh, field.label_en);
        Some(InputView {
            name: input.name,
            label_zh,
            label_en,
            required: input.required,
            values,
            usual: usual(input.name),
        })
    };
    STEPS
        .iter()
        .filter(|row| !row.roles.is_empty() && row.from.contains(&status.state))
        .map(|row| StepView {
            r#type: row.code,
            label: row.label.into(),
            roles: row.roles.iter().map(|role| role.as_str()).collect(),
            form: row.form.iter().filter_map(input).collect(),
            one_of: row.one_of,
        })
        .collect()
}

/// An officer's event.
#[derive(Deserialize, ToSchema)]
pub struct EventBody {
    /// What: one of the steps of docs/transfers.md that are an officer's.
    #[schema(example = "request_origin")]
    r#type: String,
    /// The newest event that the officer had seen: `seen` of the request as shown.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    seen: Option<EntryId>,
    /// An id of the caller's making: sending the same event again does nothing.
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    event: Option<EntryId>,
    /// The fields of the step's form, as texts.
    #[serde(flatten)]
    #[schema(value_type = Object, example = json!({ "addressee": "中共上海市徐汇区天平路街道工作委员会" }))]
    fields: BTreeMap<String, Value>,
}

/// An event that was ruled on.
#[derive(Serialize, ToSchema)]
pub struct RuledView {
    #[schema(value_type = Uuid)]
    event: EntryId,
    ruling: Option<RulingView>,
    transfer: TransferView,
}

/// Take a step in a transfer
///
/// The event is written into the record and ruled on at once: the ruling may be that it is refused, and both stay in the record. It is judged by what
/// the officer had `seen`. Sending the same `event` again answers what was ruled.
#[utoipa::path(post, path = "/v1/streets/{street}/transfers/{record}/events", tag = "Transfers", request_body = EventBody,
    params(("street" = String, Path), ("record" = Uuid, Path)),
    responses((status = CREATED, body = RuledView), (status = OK, description = "The event was there already", body = RuledView)))]
pub async fn act(
    State(app): State<App>,
    principal: Principal,
    scope: StreetScope,
    Path(path): Path<TransferPath>,
    Body(body): Body<EventBody>,
) -> Result<(StatusCode, Json<RuledView>), ApiError> {
    let (record, now) = (path.record, app.clock.now());
    let step = step(&body)?;
    let fields = form(&body)?;
    let entropy: [u8; 10] = app.entropy.bytes();
    let id = body
        .event
        .unwrap_or_else(|| EntryId::new_v7(now.unix_ms().unsigned_abs(), entropy));
    let step = TakeStep {
        by: principal.desk(),
        record,
        event: id,
        step,
        seen: body.seen,
        fields,
    };
    // What follows in the same transaction rules on it.
    let new = match transaction::act(&app.pool, scope.street(), now, step).await {
        Err(ActError::Refused(Refused::Rule(refusal))) => return Err(form_error(&refusal, id)),
        taken => taken?,
    };
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(ruled(&app, scope.street(), record, id).await?)))
}

fn step(body: &EventBody) -> Result<Step, ApiError> {
    let unknown = || {
        ApiError::invalid_field("type", "known_step")
            .detail("没有这种步骤。", "There is no such step.")
    };
    body.r#type.parse::<Step>().map_err(|_| unknown())
}

/// The form as texts: numbers and ticked boxes may come as JSON has them.
fn form(body: &EventBody) -> Result<BTreeMap<String, String>, ApiError> {
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok(Some((
            name.clone(),
            lianka_sync_core::values::text::nfc(text.trim()).into_owned(),
        ))),
        Value::Number(number) => Ok(Some((name.clone(), number.to_string()))),
        Value::Bool(true) => Ok(Some((name.clone(), table::YES[0].to_owned()))),
        Value::Null => Ok(None),
        Value::Bool(false) | Value::Array(_) | Value::Object(_) => {
            Err(ApiError::invalid_field(name.clone(), "shape"))
        }
    };
    Ok(body
        .fields
        .iter()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// A refusal names the key in the record; the caller knows the field's name.
fn form_error(refusal: &lianka_sync_core::crdt::merge::Refusal, event: EntryId) -> ApiError {
    use lianka_sync_core::{crdt::merge::Refusal, lang::Lang};
    match refusal {
        Refusal::Field { key, error } => {
            let name = key
                .strip_prefix(&transfer::event_key(event, ""))
                .unwrap_or(key)
                .to_owned();
            ApiError::invalid_field(name, error.code())
                .detail(error.message(Lang::Zh), error.message(Lang::En))
        }
        refusal => ApiError::refused(refusal),
    }
}

async fn ruled(
    app: &App,
    street: &StreetCode,
    record: RecordId,
    event: EntryId,
) -> Result<RuledView, ApiError> {
    let mut conn = app.pool.acquire().await?;
    let (row, state) = find(&mut conn, street, record).await?;
    let pairs = Pairs::load(&mut conn, street).await?;
    let view = state.view();
    let case = Case::of(&view);
    let ruling = case
        .event(event)
        .and_then(|event| event.ruled.as_ref())
        .map(Into::into);
    Ok(RuledView {
        event,
        ruling,
        transfer: TransferView::of(&row, &state, &view, &case, app.clock.now(), &pairs),
    })
}
