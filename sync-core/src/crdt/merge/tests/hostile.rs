//! Changes that no honest phone writes, one forgery each: refused, and the record does not move. And the limits of a record, to the last unit.

use crate::crdt::merge::tests::*;

type Verdict = Result<Merged, &'static str>;

/// The last that a record holds, and the one after it.
const EDGE: [Verdict; 2] = [Ok(Merged::Accepted), Err("record_full")];

/// What becomes of a change after `forge`, with what the record then says.
fn offered_as(
    target: &mut Target,
    change: &Change,
    forge: impl FnOnce(&mut Change),
    circumstance: impl FnOnce(&mut Context<'_>),
) -> Verdict {
    let mut change = change.clone();
    forge(&mut change);
    let change = change::decode(&encode(&change)).expect("the gate sees nothing in it");
    let street = street();
    let mut context = Context {
        device: change.actor.device(),
        ..context(&street, 0)
    };
    circumstance(&mut context);
    let before = target.state.clone();
    let verdict = merge(target, &change, &context).map_err(|refusal| refusal.code());
    assert!(
        verdict.is_ok() || target.state == before,
        "a refused change moved the record"
    );
    verdict
}

fn offered(target: &mut Target, change: &Change, forge: impl FnOnce(&mut Change)) -> Verdict {
    offered_as(target, change, forge, |_| ())
}

fn visible(target: &Target, key: &str) -> Vec<(OpId, Scalar)> {
    target.state.as_ref().unwrap().visible(key)
}

#[test]
fn a_place_in_a_sequence_is_taken_once() {
    let (mut target, mut a) = created();
    for unit in ["1室", "2室"] {
        push(&mut target, &edit(&mut a, 1, &[put("unit", unit)])).unwrap();
    }
    let third = edit(&mut a, 1, &[put("unit", "3室")]);
    for (seq, code) in [
        (1, "actor_forked"),
        (2, "actor_forked"),
        (4, "sequence_gap"),
    ] {
        assert_eq!(
            offered(&mut target, &third, |c| c.seq = seq),
            Err(code),
            "{seq}"
        );
    }
    assert_eq!(offered(&mut target, &third, |_| ()), Ok(Merged::Accepted));
}

#[test]
fn an_author_has_seen_their_own_last_change() {
    let (mut target, mut a) = created();
    let mut b = fork(&mut a);
    push(&mut target, &edit(&mut a, 1, &[put("unit", "1室")])).unwrap();
    let blind = edit(&mut b, 1, &[put("lane", "5")]);
    assert_eq!(
        offered(&mut target, &blind, |c| c.seq = 2),
        Err("actor_forked")
    );
}

/// Also where others wrote more meanwhile than the author has seen.
#[test]
fn counters_go_on_from_what_was_seen() {
    let (mut target, mut a) = created();
    let mut b = fork(&mut a);
    for unit in ["1室", "2室"] {
        push(&mut target, &edit(&mut a, 1, &[put("unit", unit)])).unwrap();
    }
    let beside = edit(&mut b, 2, &[put("unit", "3室")]);
    for wrong in [
        beside.start_op - 1,
        beside.start_op + 1,
        beside.start_op + 2,
    ] {
        assert_eq!(
            offered(&mut target, &beside, |c| c.start_op = wrong),
            Err("bad_start_op"),
            "{wrong}"
        );
    }
    assert_eq!(offered(&mut target, &beside, |_| ()), Ok(Merged::Accepted));
}

#[test]
fn nobody_replaces_what_they_have_not_seen() {
    let (mut target, mut a) = created();
    let mut b = fork(&mut a);
    let one = edit(&mut a, 1, &[put("unit", "1室")]);
    push(&mut target, &one).unwrap();
    let beside = edit(&mut b, 2, &[put("unit", "2室"), put("lane", "5")]);
    assert_eq!(
        offered(&mut target, &beside, |c| c.ops[0].pred = vec![one.op_id(0)]),
        Err("bad_predecessor")
    );
    let forward = beside.op_id(1);
    assert_eq!(
        offered(&mut target, &beside, |c| c.ops[0].pred = vec![forward]),
        Err("bad_predecessor"),
        "its own, on another key and later"
    );
    assert_eq!(offered(&mut target, &beside, |_| ()), Ok(Merged::Accepted));
    assert_eq!(visible(&target, "unit").len(), 2);
}

#[test]
fn a_key_written_twice_in_one_change_says_the_later() {
    let (mut target, mut a) = created();
    let twice = edit(&mut a, 1, &[put("unit", "1室"), put("lane", "5")]);
    let first = twice.op_id(0);
    let again = Op {
        action: Action::Put {
            key: "unit".into(),
            value: "2室".into(),
        },
        pred: vec![first],
    };
    assert_eq!(
        offered(&mut target, &twice, |c| c.ops[1] = again),
        Ok(Merged::Accepted)
    );
    assert_eq!(visible(&target, "unit"), [(twice.op_id(1), "2室".into())]);
}

#[test]
fn nothing_in_the_note_hangs_on_what_was_not_seen() {
    let (mut target, mut a) = created();
    target.document = Some(NoteDocument::load(&a.save()).unwrap());
    let (mut b, mut c) = (fork(&mut a), fork(&mut a));
    let one = edit(
        &mut a,
        1,
        &[Edit::Note {
            text: "门口积水甲".into(),
        }],
    );
    push(&mut target, &one).unwrap();
    let object = target
        .state
        .as_ref()
        .map(|state| state.op_id(state.note_object))
        .unwrap();
    let unseen = one.op_id(0);
    let beside = edit(
        &mut b,
        2,
        &[Edit::Note {
            text: "门口积水乙".into(),
        }],
    );
    assert!(
        matches!(beside.ops[..], [Op { action: Action::Insert { object: of, .. }, .. }] if of == object),
        "{:?}",
        beside.ops
    );
    let after = |element| Action::Insert {
        object,
        after: Some(element),
        text: "乙".into(),
    };
    assert_eq!(
        offered(&mut target, &beside, |c| c.ops[0].action = after(unseen)),
        Err("bad_predecessor")
    );
    let remove = Op {
        action: Action::Remove {
            object,
            element: unseen,
        },
        pred: vec![unseen],
    };
    assert_eq!(
        offered(&mut target, &beside, |c| c.ops[0] = remove),
        Err("bad_predecessor")
    );
    // An operation that the author has seen, and the document too, but no character.
    let seen = edit(&mut c, 3, &[put("lane", "5")]);
    assert_eq!(offered(&mut target, &seen, |_| ()), Ok(Merged::Accepted));
    let behind = edit(
        &mut c,
        4,
        &[Edit::Note {
            text: "门口积水丙".into(),
        }],
    );
    assert_eq!(
        offered(&mut target, &behind, |c| c.ops[0].action =
            after(seen.op_id(0))),
        Err("bad_predecessor")
    );
    let itself = beside.op_id(0);
    assert_eq!(
        offered(&mut target, &beside, |c| c.ops[0].action = after(itself)),
        Err("bad_predecessor")
    );
    for (text, verdict) in [
        ("\u{1b}", Err("value_control_character")),
        ("\t", Err("value_control_character")),
        ("\n", Ok(Merged::Accepted)),
    ] {
        let forge = |c: &mut Change| {
            if let Action::Insert { text: inserted, .. } = &mut c.ops[0].action {
                text.clone_into(inserted);
            }
        };
        assert_eq!(offered(&mut target, &beside, forge), verdict, "{text:?}");
    }
}

#[test]
fn a_note_too_long_by_accident_may_only_become_shorter() {
    let (mut target, mut a) = created();
    target.document = Some(NoteDocument::load(&a.save()).unwrap());
    let note = |record: &mut Record, n: u8, text: &str| {
        edit(record, n, &[Edit::Note { text: text.into() }])
    };
    let longest = "长".repeat(limits::NOTE_CHARS_MAX);
    let over = note(&mut fork(&mut a), 3, &format!("{longest}长"));
    assert_eq!(offered(&mut target, &over, |_| ()), Err("value_too_long"));
    assert_eq!(
        offered(&mut target, &note(&mut a, 1, &longest), |_| ()),
        Ok(Merged::Accepted)
    );
    // Two put another character in the place of the same one.
    let mut b = fork(&mut a);
    let rest = "长".repeat(limits::NOTE_CHARS_MAX - 1);
    let two = note(&mut b, 2, &format!("乙{rest}"));
    assert_eq!(
        offered(&mut target, &note(&mut a, 1, &format!("甲{rest}")), |_| ()),
        Ok(Merged::Accepted)
    );
    assert_eq!(offered(&mut target, &two, |_| ()), Ok(Merged::Accepted));
    a.apply([two.bytes.as_slice()]).unwrap();
    let both = a.note().unwrap().unwrap();
    assert_eq!(both.chars().count(), limits::NOTE_CHARS_MAX + 1);
    assert_eq!(
        target.state.as_ref().unwrap().view().note.as_deref(),
        Some(both.as_str())
    );
    let longer = note(&mut fork(&mut a), 4, &format!("{both}长"));
    assert_eq!(offered(&mut target, &longer, |_| ()), Err("value_too_long"));
    let other = format!("{}短", both.strip_suffix("长").unwrap());
    assert_eq!(
        offered(&mut target, &note(&mut a, 1, &other), |_| ()),
        Ok(Merged::Accepted)
    );
    assert_eq!(
        offered(&mut target, &note(&mut a, 1, &rest), |_| ()),
        Ok(Merged::Accepted)
    );
}

/// Also where it hangs on no character, so that nothing else would ask for the document.
#[test]
fn the_note_is_not_edited_without_the_document() {
    let (mut target, mut a) = created();
    target.document = None;
    let change = edit(
        &mut a,
        1,
        &[Edit::Note {
            text: "东门口积水".into(),
        }],
    );
    assert!(
        matches!(
            change.ops[..],
            [Op {
                action: Action::Insert { after: None, .. },
                ..
            }]
        ),
        "{:?}",
        change.ops
    );
    let street = street();
    let refusal = merge(&mut target, &change, &context(&street, 1)).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.retryable()),
        ("document_unavailable", true)
    );
    assert_eq!(
        target.state.unwrap().view().note.as_deref(),
        Some("门口积水")
    );
}

#[test]
fn a_change_known_already_is_known_under_every_generation() {
    let (mut target, mut a) = created();
    let change = edit(&mut a, 1, &[put("unit", "1室")]);
    push(&mut target, &change).unwrap();
    assert_eq!(
        offered_as(&mut target, &change, |_| (), |c| c.generation = 2),
        Ok(Merged::Duplicate)
    );
}

#[test]
fn a_record_is_created_by_the_first_change_of_its_author() {
    let (_, first) = Record::create(actor(0), at(0), &creation()).unwrap();
    let fresh = |forge: &dyn Fn(&mut Change), circumstance: &dyn Fn(&mut Context<'_>)| {
        offered_as(&mut Target::default(), &first, forge, circumstance)
    };
    let say = |key: &'static str, value: &'static str| {
        move |c: &mut Change| {
            let said = c.ops.iter_mut().find_map(|op| match &mut op.action {
                Action::Put {
                    key: written,
                    value,
                } if written == key => Some(value),
                _ => None,
            });
            *said.unwrap() = value.into();
        }
    };
    assert_eq!(fresh(&|_| (), &|_| ()), Ok(Merged::Accepted));
    assert_eq!(
        fresh(&|c| c.deps = vec![ChangeHash([7; 32])], &|_| ()),
        Err("dependency_missing")
    );
    assert_eq!(fresh(&|c| c.seq = 2, &|_| ()), Err("sequence_gap"));
    assert_eq!(fresh(&|c| c.start_op = 2, &|_| ()), Err("bad_start_op"));
    assert_eq!(
        fresh(&|_| (), &|c| c.generation = 2),
        Err("stale_generation")
    );
    assert_eq!(
        fresh(&|_| (), &|c| c.generation = 0),
        Err("stale_generation")
    );
    assert_eq!(
        fresh(&|_| (), &|c| c.device = device(9)),
        Err("actor_not_yours")
    );
    assert_eq!(
        fresh(&|_| (), &|c| c.writer = Role::Auditor.into()),
        Err("field_not_editable")
    );
    assert_eq!(
        fresh(&say("street", "310105009"), &|_| ()),
        Err("wrong_street")
    );
    assert_eq!(
        fresh(&say("kind", "transfer_request"), &|_| ()),
        Err("kind_mismatch")
    );
    let twice = Op {
        action: Action::Put {
            key: "kind".into(),
            value: "shop_card".into(),
        },
        pred: vec![],
    };
    assert_eq!(
        fresh(&|c| c.ops.push(twice.clone()), &|_| ()),
        Err("write_once")
    );
    let other_text = |c: &mut Change| {
        for op in &mut c.ops {
            if let Action::MakeText { key } = &mut op.action {
                *key = "remark".into();
            }
        }
    };
    assert_eq!(fresh(&other_text, &|_| ()), Err("nested_object"));
    let replacing = |c: &mut Change| {
        let id = c.op_id(0);
        let text = c
            .ops
            .iter_mut()
            .find(|op| matches!(op.action, Action::MakeText { .. }));
        text.unwrap().pred = vec![id];
    };
    assert_eq!(fresh(&replacing, &|_| ()), Err("nested_object"));
}

#[test]
fn a_full_record_takes_no_more() {
    let full = |fill: &dyn Fn(&mut RegisterState, usize), edits: &[Edit], n: u8| {
        [0, 1].map(|beyond| {
            let (mut target, mut a) = created();
            push(&mut target, &edit(&mut a, 1, &[put("unit", "1室")])).unwrap();
            let change = edit(&mut a, n, edits);
            fill(target.state.as_mut().unwrap(), beyond);
            offered(&mut target, &change, |_| ())
        })
    };
    let unit = [put("unit", "2室")];
    let changes = |state: &mut RegisterState, beyond: usize| {
        let one = state.history[0].clone();
        state
            .history
            .resize(limits::RECORD_CHANGES_MAX - 1 + beyond, one);
    };
    assert_eq!(full(&changes, &unit, 1), EDGE);
    let actors = |state: &mut RegisterState, beyond: usize| {
        let from = state.actors.len();
        for n in from..limits::RECORD_ACTORS_MAX - 1 + beyond {
            state.intern(Actor::new(device(9), n as u32));
        }
    };
    assert_eq!(full(&actors, &unit, 2), EDGE);
    assert_eq!(
        full(&actors, &unit, 1),
        [Ok(Merged::Accepted), Ok(Merged::Accepted)],
        "an actor that is known takes no place"
    );
    let keys = |state: &mut RegisterState, beyond: usize| {
        for n in state.registers.len()..limits::RECORD_KEYS_MAX - 1 + beyond {
            state
                .registers
                .insert(format!("custom/{n}"), Register::default());
        }
    };
    assert_eq!(
        full(&keys, &[put("lane", "5"), put("unit", "2室")], 1),
        EDGE
    );
    let overwritten = |state: &mut RegisterState, beyond: usize| {
        let register = state.registers.get_mut("unit").unwrap();
        register.overwritten = (0..(limits::REGISTER_OVERWRITTEN_MAX - 1 + beyond) as u32)
            .map(|n| OpRef {
                counter: 0,
                actor: n,
            })
            .collect();
    };
    assert_eq!(full(&overwritten, &unit, 1), EDGE);
}

/// One byte more than is left is too much, and exactly what is left is not.
#[test]
fn the_bytes_of_a_record_are_used_to_the_last() {
    for (missing, verdict) in [(0, Ok(Merged::Accepted)), (1, Err("record_full"))] {
        let (mut target, mut a) = created();
        let change = edit(&mut a, 1, &[put("unit", "1室")]);
        target.state.as_mut().unwrap().bytes =
            limits::RECORD_BYTES_MAX - change.bytes.len() as u64 + missing;
        assert_eq!(offered(&mut target, &change, |_| ()), verdict);
    }
}

#[test]
fn a_key_holds_so_many_values_side_by_side() {
    let (mut target, _) = created();
    let mut beside = |n: usize| {
        let write = Write {
            key: "unit".into(),
            value: Some(format!("{n}室").as_str().into()),
            replaces: Replaces::Nothing,
        };
        let change = target
            .state
            .as_ref()
            .unwrap()
            .compose(actor(1), at(1), &[write], "")
            .unwrap()
            .unwrap();
        offered(&mut target, &change, |_| ())
    };
    for n in 0..limits::REGISTER_VALUES_MAX {
        assert_eq!(beside(n), Ok(Merged::Accepted), "{n}");
    }
    assert_eq!(beside(limits::REGISTER_VALUES_MAX), Err("record_full"));
    assert_eq!(visible(&target, "unit").len(), limits::REGISTER_VALUES_MAX);
}

/// Beside a value that nobody replaced, too.
#[test]
fn no_status_is_written_without_the_consent_that_is_about_it() {
    let consent = |entry: u8, scope: &str, decision: &str| {
        [
            ("contact", CONTACT),
            ("scope", scope),
            ("decision", decision),
        ]
        .map(|(field, value)| {
            put(
                &format!("consent/0198c0de-0000-7000-8000-0000000000{entry:02}/{field}"),
                value,
            )
        })
        .to_vec()
    };
    let status = |value: &str| put(&format!("contacts/{CONTACT}/party_status"), value);
    let with = |edits: Vec<Edit>, value: &str| [edits, vec![status(value)]].concat();
    let (mut target, mut a) = created();
    let other = edit(
        &mut fork(&mut a),
        1,
        &with(consent(1, "photo", "grant"), "群众"),
    );
    assert_eq!(
        offered(&mut target, &other, |_| ()),
        Err("consent_missing"),
        "a consent to something else"
    );
    let withdrawn = edit(
        &mut fork(&mut a),
        1,
        &with(
            [
                consent(1, "party_status", "grant"),
                consent(2, "party_status", "withdraw"),
            ]
            .concat(),
            "群众",
        ),
    );
    assert_eq!(
        offered(&mut target, &withdrawn, |_| ()),
        Err("consent_missing")
    );
    let granted = edit(
        &mut a,
        0,
        &with(
            [
                consent(3, "party_status", "grant"),
                consent(4, "photo", "withdraw"),
            ]
            .concat(),
            "群众",
        ),
    );
    assert_eq!(
        offered(&mut target, &granted, |_| ()),
        Ok(Merged::Accepted),
        "a withdrawal of something else"
    );
    let mut b = fork(&mut a);
    push(
        &mut target,
        &edit(&mut a, 0, &consent(5, "party_status", "withdraw")),
    )
    .unwrap();
    let late = edit(&mut b, 2, &[status("党员")]);
    for beside in [false, true] {
        let forge = |c: &mut Change| {
            if beside {
                c.ops[0].pred.clear();
            }
        };
        assert_eq!(
            offered(&mut target, &late, forge),
            Err("consent_missing"),
            "{beside}"
        );
    }
}

#[test]
fn an_event_of_a_transfer_arrives_whole_and_from_those_who_may_write_it() {
    let begin = [
        put("kind", "transfer_request"),
        put("street", "310104003"),
        put("grid", "康平01"),
        put("transfer_kind", "in_city_e"),
        put("member_alias", "甲"),
        Edit::Note {
            text: String::new(),
        },
    ];
    let event = |fields: &[(&str, &str)]| {
        let put = |(field, value): &(&str, &str)| {
            put(
                &format!("events/0198c0de-0000-7000-8000-000000000001/{field}"),
                value,
            )
        };
        fields.iter().map(put).collect::<Vec<_>>()
    };
    let role = |role: Role| {
        move |c: &mut Context<'_>| (c.kind, c.writer) = (Kind::TransferRequest, role.into())
    };
    let (mut record, first) = Record::create(actor(0), at(0), &begin).unwrap();
    let mut target = Target::default();
    assert_eq!(
        offered_as(&mut target, &first, |_| (), role(Role::Secretary)),
        Ok(Merged::Accepted)
    );
    let submit = [("type", "submit"), ("member_present", "yes")];
    for (fields, by, code) in [
        (&submit[..1], Role::Secretary, "event_incomplete"),
        (&submit[1..], Role::Secretary, "event_incomplete"),
        (
            &[submit[0], submit[1], ("branch", "一支部")],
            Role::Secretary,
            "not_in_form",
        ),
        (
            &[("type", "refuse"), ("reason", "材料不符")],
            Role::Secretary,
            "field_not_editable",
        ),
    ] {
        let change = edit(&mut fork(&mut record), 1, &event(fields));
        assert_eq!(
            offered_as(&mut target, &change, |_| (), role(by)),
            Err(code),
            "{fields:?}"
        );
    }
    let change = edit(&mut record, 1, &event(&submit));
    assert_eq!(
        offered_as(&mut target, &change, |_| (), role(Role::Secretary)),
        Ok(Merged::Accepted)
    );
}
