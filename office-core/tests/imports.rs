//! Rows of a sheet, written beside what phones write, and taken back.

#[path = "suite/one_card.rs"]
mod one_card;

use lianka_office_core::acts::{
    Desk,
    compact::Compact,
    import::{
        CellWrite, Origin, Over, RowUndo, RowUndone, RowWrite, RowWritten, UndoRows, WriteRows,
    },
};
use lianka_sync_core::{
    access::Role,
    codec::change::Scalar,
    crdt::{rebuild, record::Edit},
};
use uuid::Uuid;

use one_card::{CARD, Scene, device};

impl Scene {
    fn desk() -> Desk {
        Desk {
            username: "root".into(),
            device: device(2),
            role: Role::Admin,
        }
    }

    fn origin() -> Origin {
        Origin {
            import: Uuid::from_u128(5),
            file: "roll.csv".into(),
            sheet: None,
        }
    }

    /// A row of a sheet that was made when the log was at `seen`.
    fn row(&mut self, seen: i64, key: &str, value: Option<&str>) -> RowUndo {
        let cell = CellWrite {
            key: key.to_owned(),
            value: value.map(Scalar::from),
            over: Over::Seen,
        };
        let write = RowWrite::Edit {
            record: CARD,
            cells: vec![cell],
            note: None,
            seen,
        };
        let act = WriteRows {
            by: Self::desk(),
            from: Self::origin(),
            rows: vec![(2, write)],
        };
        let now = self.now();
        let written = self
            .store
            .run(now, act)
            .expect("rows are written")
            .remove(0);
        let RowWritten::Written {
            hash, seq, before, ..
        } = written
        else {
            panic!("{written:?}");
        };
        RowUndo {
            record: CARD,
            hash,
            seq: Some(seq),
            before: Some(before),
        }
    }

    fn undo(&mut self, row: RowUndo) -> RowUndone {
        let act = UndoRows {
            by: Self::desk(),
            from: Self::origin(),
            rows: vec![(2, row)],
        };
        let now = self.now();
        self.store
            .run(now, act)
            .expect("rows are taken back")
            .remove(0)
    }

    /// Cuts what was overwritten off the history.
    fn compact(&mut self) {
        let now = self.now();
        let state = &self.store.records[&CARD].state;
        let document = self.store.document(CARD).expect("a document");
        let rebuilt = rebuild::compact(state, &document, now).expect("rebuilt");
        let compact = Compact {
            record: CARD,
            of: state.accepted().map(|(hash, _)| hash).collect(),
            rebuilt,
        };
        let done = self.store.run(now, compact).expect("compacted");
        assert!(done.is_some());
    }

    fn values(&self, key: &str) -> Vec<String> {
        let kept = &self.store.records[&CARD];
        let values = kept.state.visible(key).into_iter();
        let mut values: Vec<_> = values
            .filter_map(|(_, value)| value.as_str().map(str::to_owned))
            .collect();
        values.sort();
        values
    }
}

fn undone() -> RowUndone {
    RowUndone::Undone { kept: Vec::new() }
}

#[test]
fn a_cell_that_was_emptied_reads_as_before() {
    let mut scene = Scene::with(&[Edit::set("unit", "201")]);
    let row = scene.row(scene.store.head, "unit", None);
    assert!(scene.values("unit").is_empty());
    assert_eq!(scene.undo(row), undone());
    assert_eq!(scene.values("unit"), ["201"]);
}

#[test]
fn an_emptied_cell_that_somebody_filled_since_is_left() {
    let mut scene = Scene::with(&[Edit::set("unit", "201")]);
    let late = scene.edit(&[Edit::set("unit", "305")]);
    let row = scene.row(scene.store.head, "unit", None);
    scene.push(late);
    let kept = vec!["unit".to_owned()];
    assert_eq!(scene.undo(row), RowUndone::Undone { kept });
    assert_eq!(scene.values("unit"), ["305"]);
}

/// The phone wrote long ago and was heard only after the row: it wrote since all the same.
#[test]
fn what_an_offline_phone_wrote_before_and_sent_after_the_row_counts_as_written_since() {
    let mut scene = Scene::with(&[Edit::set("unit", "201")]);
    let late = scene.edit(&[Edit::set("unit", "305")]);
    // The desk's change has the higher number: others wrote on the card.
    scene.row(scene.store.head, "lane", Some("12"));
    let row = scene.row(scene.store.head, "unit", Some("202"));
    scene.push(late);
    assert_eq!(scene.values("unit"), ["202", "305"]);
    let kept = vec!["unit".to_owned()];
    assert_eq!(scene.undo(row), RowUndone::Undone { kept });
    assert_eq!(scene.values("unit"), ["202", "305"]);
}

/// What stood beside it before does so still.
#[test]
fn an_undo_puts_back_what_was_replaced_beside_what_came_before() {
    let mut scene = Scene::with(&[Edit::set("unit", "201")]);
    let seen = scene.store.head;
    let late = scene.edit(&[Edit::set("unit", "305")]);
    scene.push(late);
    let row = scene.row(seen, "unit", Some("202"));
    assert_eq!(scene.values("unit"), ["202", "305"]);
    assert_eq!(scene.undo(row), undone());
    assert_eq!(scene.values("unit"), ["305"]);
}

/// A creation of which a field from the middle was overwritten: a compacted history holds it in two parts, the later one under a new number.
fn cut_in_two() -> Scene {
    let mut scene = Scene::with(&[
        Edit::set("sign_name", "王记"),
        Edit::set("lane", "12"),
        Edit::set("unit", "201"),
    ]);
    let over = scene.edit(&[Edit::set("lane", "14")]);
    scene.push(over);
    scene
}

#[test]
fn what_a_sheet_shows_is_replaced_although_the_history_was_compacted_since() {
    let mut scene = cut_in_two();
    let seen = scene.store.head;
    scene.compact();
    scene.row(seen, "unit", Some("202"));
    assert_eq!(scene.values("unit"), ["202"]);
}

#[test]
fn a_row_is_taken_back_although_the_history_was_compacted_since() {
    let mut scene = cut_in_two();
    let late = scene.edit(&[Edit::set("unit", "305")]);
    let seen = scene.store.head;
    scene.push(late);
    let row = scene.row(seen, "unit", Some("202"));
    assert_eq!(scene.values("unit"), ["202", "305"]);
    scene.compact();
    assert_eq!(scene.undo(row), undone());
    assert_eq!(scene.values("unit"), ["305"]);
}
