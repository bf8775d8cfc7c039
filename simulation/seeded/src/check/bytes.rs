//! What bytes say, as plain Automerge reads them.

use std::collections::BTreeMap;

use automerge::{
    ActorId, AutoCommit, Change, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, Value,
    legacy::{Key, ObjectId, OpType},
};
use uuid::Uuid;

use super::finding::{About, Finding};
use crate::office::Evidence;

/// An operation's id, in Automerge's order.
pub type OpId = (u64, ActorId);

/// A write to a key of the root map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub op: OpId,
    pub key: String,
    /// `None`: a deletion.
    pub value: Option<String>,
    /// What it replaces.
    pub preds: Vec<OpId>,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// In hex.
    pub hash: String,
    /// The device that signs.
    pub device: Uuid,
    pub seq: u64,
    /// In hex.
    pub deps: Vec<String>,
    pub writes: Vec<Write>,
    /// Whether it makes, or edits, the note.
    pub note: bool,
    /// The characters that it inserts, one after another.
    pub typed: String,
    /// The same, each under the id of its operation.
    pub inserted: Vec<(OpId, String)>,
    /// Characters of the note that it removes.
    pub removed: Vec<OpId>,
}

/// The device that an actor belongs to.
pub fn device(actor: &ActorId) -> Uuid {
    actor
        .to_bytes()
        .get(..16)
        .and_then(|bytes| Uuid::from_slice(bytes).ok())
        .unwrap_or_default()
}

fn text(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Str(text) => text.to_string(),
        ScalarValue::Boolean(flag) => flag.to_string(),
        ScalarValue::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Reads a change chunk.
pub fn change(bytes: &[u8]) -> Option<Said> {
    Change::from_bytes(bytes.to_vec())
        .ok()
        .map(|change| said(&change))
}

fn said(change: &Change) -> Said {
    let actor = change.actor_id().clone();
    let start = change.start_op().get();
    let mut said = Said {
        hash: change.hash().to_string(),
        device: device(&actor),
        seq: change.seq(),
        deps: change.deps().iter().map(ToString::to_string).collect(),
        writes: Vec::new(),
        note: false,
        typed: String::new(),
        inserted: Vec::new(),
        removed: Vec::new(),
    };
    for (index, op) in change.decode().operations.into_iter().enumerate() {
        let (ObjectId::Root, Key::Map(key)) = (&op.obj, &op.key) else {
            said.note = true;
            match &op.action {
                OpType::Put(ScalarValue::Str(typed)) => {
                    said.typed.push_str(typed);
                    said.inserted
                        .push(((start + index as u64, actor.clone()), typed.to_string()));
                }
                OpType::Delete => said.removed.extend(
                    op.pred
                        .iter()
                        .map(|pred| (pred.counter(), pred.actor().clone())),
                ),
                _ => {}
            }
            continue;
        };
        let value = match &op.action {
            OpType::Put(value) => Some(text(value)),
            OpType::Delete => None,
            _ => {
                said.note = true;
                continue;
            }
        };
        let preds = op
            .pred
            .iter()
            .map(|pred| (pred.counter(), pred.actor().clone()))
            .collect();
        said.writes.push(Write {
            op: (start + index as u64, actor.clone()),
            key: key.to_string(),
            value,
            preds,
        });
    }
    said
}

/// A document as plain Automerge reads it.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Every key with every visible value.
    pub fields: BTreeMap<String, Vec<(OpId, String)>>,
    /// Of keys with several values, the one that Automerge gives when asked for one.
    pub won: BTreeMap<String, String>,
    pub note: Option<String>,
    /// In causal order.
    pub changes: Vec<Said>,
}

impl Document {
    /// Whether the value was ever written, under whatever key.
    pub fn wrote(&self, value: &str) -> bool {
        let mut writes = self.changes.iter().flat_map(|change| &change.writes);
        writes.any(|write| write.value.as_deref() == Some(value))
    }

    /// The winning value.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields
            .get(key)?
            .iter()
            .max_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a document, or a document and the changes after it.
pub fn document(bytes: &[u8]) -> Result<Document, String> {
    let mut read = AutoCommit::load(bytes).map_err(|error| error.to_string())?;
    let mut document = Document::default();
    let keys: Vec<String> = read.keys(ROOT).collect();
    for key in keys {
        if let Ok(Some((Value::Scalar(value), _))) = read.get(ROOT, key.as_str()) {
            document.won.insert(key.clone(), text(&value));
        }
        for (value, id) in read
            .get_all(ROOT, key.as_str())
            .map_err(|error| error.to_string())?
        {
            match (value, &id) {
                (Value::Scalar(value), ObjId::Id(counter, actor, _)) => {
                    document
                        .fields
                        .entry(key.clone())
                        .or_default()
                        .push(((*counter, actor.clone()), text(&value)));
                }
                (Value::Object(ObjType::Text), _) => document.note = read.text(&id).ok(),
                (other, _) => return Err(format!("{key} holds {other:?}")),
            }
        }
    }
    document.won.retain(|key, _| {
        document
            .fields
            .get(key)
            .is_some_and(|values| values.len() > 1)
    });
    document.changes = read.get_changes(&[]).iter().map(said).collect();
    Ok(document)
}

/// Every record's document at the office; one that does not load is a finding.
pub fn documents(evidence: &Evidence, found: &mut Vec<Finding>) -> BTreeMap<Uuid, Document> {
    let mut documents = BTreeMap::new();
    for (record, kept) in &evidence.records {
        match document(&kept.document) {
            Ok(document) => drop(documents.insert(*record, document)),
            Err(error) => {
                found.push(Finding::new(
                    "documents load",
                    About::record(*record),
                    format!("record {record} does not load: {error}"),
                ));
            }
        }
    }
    documents
}
