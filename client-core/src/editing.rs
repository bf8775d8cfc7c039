//! What a user does to a record, with or without a network.

use lianka_sync_core::{
    access::FieldError,
    crdt::{
        note::Note,
        record::{Edit, Record, RecordError},
        view::View,
    },
    id::{ChangeHash, RecordId},
    kinds::{
        Broken, Kind, MergeRule, key,
        transfer::{Code, State},
    },
    lang::Lang,
};

use crate::{
    Author, Draft, Effect, Moment, OutboxEntry, RecordState, document,
    rebase::{self, Rebased},
};

pub(crate) mod rules;
mod transfer;
mod undo;
mod visit;

pub use transfer::{Filing, appended, event_edits, foreseen, refusal, submission};
pub use undo::{Retraced, retrace, undo};
pub use visit::NewVisit;

/// Why an edit was not saved. Nothing of it was: an edit is one change, or none.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// A field rule, the same that the server applies.
    #[error("{key}: {}", error.code())]
    Field {
        /// The key.
        key: String,
        /// The rule.
        error: FieldError,
    },
    /// The phone does not hold the record.
    #[error("no such record on this phone")]
    NoSuchRecord,
    /// The record left the user's grids.
    #[error("the record left this phone's grids")]
    Leaving,
    /// The office would refuse this event of a transfer.
    #[error("{}", code.as_str())]
    Transfer {
        /// Why.
        code: Code,
        /// Where the request stands.
        state: State,
        /// The field that is missing, where one is.
        key: Option<&'static str>,
    },
    /// A new record names a grid that is not the user's.
    #[error("the grid is not one of yours")]
    NotYourGrid,
    /// The edit made the record, chose one of several values, is kept as it was written, or lies before a reviewer: no other edit takes it back.
    #[error("this edit cannot be taken back")]
    NoWayBack,
    /// The stored document cannot be read, or the change not be encoded.
    #[error(transparent)]
    Record(Box<RecordError>),
}

impl EditError {
    /// The stable code, the same as the server's verdict would carry.
    pub fn code(&self) -> &str {
        match self {
            Self::Field { error, .. } => error.code(),
            Self::Transfer { code, .. } => code.as_str(),
            Self::NoSuchRecord => "no_such_record",
            Self::NoWayBack => "no_way_back",
            Self::Leaving | Self::NotYourGrid => "not_your_grid",
            Self::Record(error) => match &**error {
                RecordError::Edit(error) => error.code(),
                _ => "record_unreadable",
            },
        }
    }

    /// For a person, in their language.
    pub fn message(&self, lang: Lang) -> String {
        let (zh, en) = match self {
            Self::Field { key, error } => return format!("{key}: {}", error.message(lang)),
            Self::Transfer { code, state, key } => {
                let (state, code) = (state.row().label.text(lang), code.words().text(lang));
                let key = key.map(|key| format!(" ({key})")).unwrap_or_default();
                return match lang {
                    Lang::Zh => format!("{code}{key}（现为：{state}）"),
                    Lang::En => format!("{code}{key} (now: {state})"),
                };
            }
            Self::NoSuchRecord => (
                "手机上没有这条记录；先用 cards 查看，或联网 sync 取回",
                "no such record on this phone; look with `cards`, or `sync` first",
            ),
            Self::Leaving => (
                "该记录已不在您的网格内，不能再改",
                "the record is no longer in one of your grids and cannot be changed",
            ),
            Self::NotYourGrid => (
                "该网格不在您的负责范围内；用 status 查看您的网格",
                "the grid is not one of yours; `status` lists them",
            ),
            Self::NoWayBack => (
                "这条修改新建了记录、在几个值中选定了一个，或正等街道审核，不能撤销；可以再修改一次",
                "this edit made the record, chose one of several values or waits for a reviewer, and cannot be taken back; edit it again instead",
            ),
            Self::Record(error) => {
                return match lang {
                    Lang::Zh => format!("无法写入该记录：{error}"),
                    Lang::En => format!("the record cannot be written: {error}"),
                };
            }
        };
        match lang {
            Lang::Zh => zh,
            Lang::En => en,
        }
        .to_owned()
    }
}

impl From<RecordError> for EditError {
    fn from(error: RecordError) -> Self {
        Self::Record(Box::new(error))
    }
}

impl From<Broken> for EditError {
    fn from(Broken { key, error }: Broken) -> Self {
        Self::Field { key, error }
    }
}

/// What an edit comes to.
#[derive(Debug)]
pub struct Edited {
    /// The record.
    pub record: RecordId,
    /// The change; `None` where the record said so already.
    pub hash: Option<ChangeHash>,
    /// For the store, in one transaction.
    pub effects: Vec<Effect>,
}

/// Edits a record: one change, all or nothing.
pub fn edit(
    author: &Author<'_>,
    state: &RecordState,
    edits: &[Edit],
    moment: &Moment,
) -> Result<Edited, EditError> {
    let (Some(stored), Some(opened)) = (&state.stored, document::open(state)?) else {
        return Err(EditError::NoSuchRecord);
    };
    if stored.leaving {
        return Err(EditError::Leaving);
    }
    let mut effects = Vec::new();
    let mut edits = edits.to_vec();
    let (mut document, epoch) = if opened.lost.is_empty() {
        (opened.document, author.epoch)
    } else {
        // Own changes that the copy cannot take: write them anew first, so that this edit stands on all the user has done.
        let mut rebased = rebase::rebase(author, state, moment)?.ok_or(EditError::NoSuchRecord)?;
        rebase_note(author, opened.document, &mut rebased, &mut edits, moment)?;
        effects.extend(rebased.effects);
        (rebased.document, rebased.epoch)
    };
    let view = document.view()?;
    let edits = rules::effective(&view, &edits);
    rules::check(
        stored.kind,
        author.identity.role,
        author.identity.device,
        false,
        &view,
        &edits,
        moment.said(),
    )?;
    let actor = Author { epoch, ..*author }.actor();
    let change = if edits.is_empty() {
        None
    } else {
        document.edit(actor, moment.now, &edits, "")?
    };
    if let Some(change) = &change {
        let entry = OutboxEntry::new(
            state.record,
            stored.kind,
            stored.generation,
            change,
            edits,
            moment.now,
        );
        effects.push(Effect::Enqueue(Box::new(entry)));
    }
    Ok(Edited {
        record: state.record,
        hash: change.map(|change| change.hash),
        effects,
    })
}

/// The user edited the note as the copy showed it: their own words that only the rebase brought back stay in it.
fn rebase_note(
    author: &Author<'_>,
    mut shown: Record,
    rebased: &mut Rebased,
    edits: &mut [Edit],
    moment: &Moment,
) -> Result<(), RecordError> {
    for edit in edits
        .iter_mut()
        .filter(|edit| matches!(edit, Edit::Note { .. }))
    {
        let note = match rebased.note.take() {
            Some(note) => note,
            None => Note::of(&mut rebased.document)?,
        };
        // Made on the copy that they saw, for its operations alone.
        if let Some(change) =
            shown.edit(author.actor(), moment.now, std::slice::from_ref(edit), "")?
        {
            let note = note.with(&change);
            *edit = Edit::Note { text: note.text() };
            rebased.note = Some(note);
        }
    }
    Ok(())
}

/// Creates a record: one change that writes kind, street, grid and `edits`.
pub fn create(
    author: &Author<'_>,
    kind: Kind,
    grid: &str,
    edits: &[Edit],
    moment: &Moment,
) -> Result<Edited, EditError> {
    let identity = author.identity;
    if !identity.role.sees_whole_street() && !identity.grids.iter().any(|own| own.grid == grid) {
        return Err(EditError::NotYourGrid);
    }
    let fixed = [
        (key::KIND, kind.as_str()),
        (key::STREET, identity.street.as_str()),
        (key::GRID, grid),
    ];
    let given = edits
        .iter()
        .filter(|edit| !matches!(edit, Edit::Put { key, .. } | Edit::Delete { key } if fixed.iter().any(|(name, _)| name == key)));
    // Nothing is there to delete.
    let given = given
        .filter(|edit| !matches!(edit, Edit::Delete { .. }))
        .cloned();
    let edits: Vec<_> = fixed
        .iter()
        .map(|(key, value)| Edit::set(*key, value))
        .chain(given)
        .collect();
    rules::check(
        kind,
        identity.role,
        identity.device,
        true,
        &View::default(),
        &edits,
        moment.said(),
    )?;
    let written = |name: &str| {
        edits
            .iter()
            .any(|edit| matches!(edit, Edit::Put { key, .. } if key == name))
    };
    if let Some(missing) = kind
        .fields()
        .iter()
        .find(|field| field.required && field.merge != MergeRule::Text && !written(field.name))
    {
        return Err(EditError::Field {
            key: missing.name.to_owned(),
            error: FieldError::Missing,
        });
    }
    let mut entropy = [0; 10];
    entropy.copy_from_slice(&moment.entropy[..10]);
    let record = RecordId::new_v7(moment.now.unix_ms().max(0) as u64, entropy);
    let (_, change) = Record::create(author.actor(), moment.now, &edits)?;
    let entry = OutboxEntry::new(record, kind, 1, &change, edits, moment.now);
    let effects = vec![
        Effect::CreateRecord {
            record,
            kind,
            grid: grid.to_owned(),
        },
        Effect::Enqueue(Box::new(entry)),
    ];
    Ok(Edited {
        record,
        hash: Some(change.hash),
        effects,
    })
}

/// Tries a draft again: as an edit of its record, or as a new record where it was to create one. `state` is of the draft's record.
pub fn retry(
    author: &Author<'_>,
    id: i64,
    draft: &Draft,
    state: &RecordState,
    moment: &Moment,
) -> Result<Edited, EditError> {
    let mut edited = if draft.creating && state.stored.is_none() {
        let grid = draft.edits.iter().find_map(|edit| match edit {
            Edit::Put { key, value } if key == key::GRID => value.as_str(),
            _ => None,
        });
        create(
            author,
            draft.kind,
            grid.unwrap_or_default(),
            &draft.edits,
            moment,
        )?
    } else {
        edit(author, state, &draft.edits, moment)?
    };
    edited.effects.push(Effect::RemoveDraft { id });
    Ok(edited)
}
