//! The audit trail: what is told, who may read it, and that nobody changes it unseen.

use lianka_server::{
    admin::audit_proof::{self, Anchor, Proof},
    audit::Chain,
    config::ServeConfig,
    upkeep::sealing as seal,
};
use lianka_sync_core::id::RecordId;
use lianka_tests::TestApp;
use serde_json::json;

use crate::sync::phone::{HOME, OTHER, Office, Phone, put};

/// A street with a card that was pushed, edited and shown.
struct Scene {
    office: Office,
    phone: Phone,
    card: RecordId,
}

impl Scene {
    async fn open() -> Self {
        Self::on(Office::open().await).await
    }

    async fn on(office: Office) -> Self {
        let mut phone = office.secretary("wang.fang", &["A1"]).await;
        let card = phone.create("A1", &[put("sign_name", "王记包子")]);
        phone.create("A1", &[put("sign_name", "李家面馆")]);
        phone.sync().await;
        phone.edit(card, &[put("unit", "201")]);
        phone.sync().await;
        Self {
            office,
            phone,
            card,
        }
    }

    async fn proof(&self) -> Proof {
        self.proof_of(HOME).await
    }

    async fn proof_of(&self, chain: &str) -> Proof {
        audit_proof::verify(&self.office.test.app.pool, Chain::named(chain), None)
            .await
            .expect("a proof")
    }

    async fn sql(&self, statement: &str) {
        let hit = self.office.execute(statement).await;
        assert!(hit > 0, "{statement} hit nothing");
    }

    /// What the proof finds after `statement`, which is then taken back.
    async fn found_after(&self, statement: &str) -> Vec<(String, i64)> {
        let tables = ["audit_event", "audit_head", "audit_seal", "change_log"];
        for table in tables {
            let copy = format!("create table kept_{table} as table {table}");
            self.office.execute(&copy).await;
        }
        self.sql(statement).await;
        let proof = self.proof().await;
        for table in tables {
            let back = format!(
                "delete from {table}; insert into {table} select * from kept_{table}; drop table kept_{table}"
            );
            self.office.execute(&back).await;
        }
        assert_eq!(proof.ok, proof.problems.is_empty(), "{proof:?}");
        proof
            .problems
            .iter()
            .map(|problem| (problem.code.to_owned(), problem.no))
            .collect()
    }
}

fn codes(found: &[(String, i64)]) -> Vec<&str> {
    found.iter().map(|(code, _)| code.as_str()).collect()
}

#[tokio::test]
async fn an_honest_trail_holds() {
    let scene = Scene::open().await;
    let proof = scene.proof().await;
    assert!(proof.ok, "{proof:?}");
    assert_eq!((proof.first, proof.changes), (Some(1), 3));
    assert!(proof.last > Some(5) && proof.hash.is_some());
    let deployment = scene.proof_of("deployment").await;
    assert!(deployment.ok && deployment.events > 0, "{deployment:?}");
}

#[tokio::test]
async fn every_changed_column_of_every_row_is_found() {
    let scene = Scene::open().await;
    for (column, value) in [
        ("at", "at + interval '1 microsecond'"),
        ("username", "coalesce(username, '') || 'x'"),
        ("username", "null"),
        ("device", "gen_random_uuid()"),
        ("action", "'erase'"),
        ("record", "gen_random_uuid()"),
        ("detail", "detail || ' '"),
        (
            "previous",
            "set_byte(previous, 0, get_byte(previous, 0) # 1)",
        ),
        ("hash", "set_byte(hash, 31, get_byte(hash, 31) # 1)"),
        ("street", "street || 'x'"),
    ] {
        let found = scene
            .found_after(&format!(
                "update audit_event set {column} = {value} where street = '{HOME}' and no = 3"
            ))
            .await;
        assert!(
            found.iter().any(|(_, no)| (3..=4).contains(no)),
            "{column} = {value}: {found:?}"
        );
    }
}

#[tokio::test]
async fn deleted_swapped_and_inserted_rows_are_found() {
    let scene = Scene::open().await;
    let last = scene.proof().await.last.unwrap();
    let of = |what: &str| format!("{what} and street = '{HOME}'");
    let check = async |statement: String, expected: &[(&str, i64)]| {
        let found = scene.found_after(&statement).await;
        let expected: Vec<_> = expected
            .iter()
            .map(|(code, no)| ((*code).to_owned(), *no))
            .collect();
        assert_eq!(found, expected, "{statement}");
    };
    check(
        of("delete from audit_event where no = 3"),
        &[("missing", 4)],
    )
    .await;
    check(
        of("delete from audit_event where no in (2, 3)"),
        &[("missing", 4)],
    )
    .await;
    let found = scene
        .found_after(&of("delete from audit_event where no = 1"))
        .await;
    assert_eq!(codes(&found), ["start_unsealed", "pruned_unrecorded"]);
    let swap = format!(
        "update audit_event set no = -3 where no = 3 and street = '{HOME}'; update audit_event set no = 3 where no = 4 and street = '{HOME}';
         update audit_event set no = 4 where no = -3 and street = '{HOME}'"
    );
    let found = scene.found_after(&swap).await;
    assert!(
        codes(&found)
            .iter()
            .filter(|code| **code == "changed")
            .count()
            == 2,
        "{found:?}"
    );
    // The last one told of a change, which nothing tells of now.
    check(
        of(&format!("delete from audit_event where no = {last}")),
        &[("truncated", last), ("content_untold", last - 1)],
    )
    .await;
    let insert = format!(
        "insert into audit_event select street, no + 1, at, username, device, action, record, detail, hash, hash from audit_event
         where street = '{HOME}' and no = {last}"
    );
    let found = scene.found_after(&insert).await;
    assert!(
        codes(&found).contains(&"changed") && codes(&found).contains(&"beyond_head"),
        "{found:?}"
    );
    check(format!("update audit_head set hash = previous from audit_event e where e.street = audit_head.street and e.no = 2 and audit_head.street = '{HOME}'"), &[("head_differs", last)]).await;
    check(
        format!("delete from audit_head where street = '{HOME}'"),
        &[("head_missing", last)],
    )
    .await;
    assert!(scene.proof().await.ok, "all was taken back");
}

#[tokio::test]
async fn a_cut_end_with_a_mended_head_needs_an_anchor_kept_elsewhere() {
    let scene = Scene::open().await;
    let honest = scene.proof().await;
    let last = honest.last.unwrap();
    let anchor: Anchor = format!("{last}:{}", honest.hash.unwrap()).parse().unwrap();
    let verify = async |anchor: &Anchor| {
        let proof = audit_proof::verify(
            &scene.office.test.app.pool,
            Chain::named(HOME),
            Some(anchor),
        )
        .await
        .unwrap();
        proof
            .problems
            .iter()
            .map(|problem| problem.code)
            .collect::<Vec<_>>()
    };
    assert!(verify(&anchor).await.is_empty());
    assert_eq!(
        verify(&Anchor {
            hash: [0; 32],
            ..anchor.clone()
        })
        .await,
        ["anchor_differs"]
    );
    // An event that names no change: cutting it off hides who signed in, and the head can be made to fit.
    scene.office.desk("li.na", "reviewer").await;
    let honest = scene.proof().await;
    let anchor: Anchor = format!("{}:{}", honest.last.unwrap(), honest.hash.unwrap())
        .parse()
        .unwrap();
    scene
        .sql(&format!(
            "delete from audit_event where street = '{HOME}' and no > {last}"
        ))
        .await;
    scene
        .sql(&format!("update audit_head h set no = {last}, hash = e.hash from audit_event e where e.street = h.street and e.no = {last} and h.street = '{HOME}'"))
        .await;
    assert!(
        scene.proof().await.ok,
        "what nobody kept a note of cannot be missed"
    );
    assert_eq!(verify(&anchor).await, ["anchor_missing"]);
}

#[tokio::test]
async fn content_is_held_to_the_log() {
    let scene = Scene::open().await;
    let check = async |statement: &str, expected: &str| {
        let found = scene.found_after(statement).await;
        assert_eq!(codes(&found), [expected], "{statement}: {found:?}");
    };
    check(
        "update change_log set bytes = (select bytes from change_log where seq = 1) where seq = 3",
        "content_changed",
    )
    .await;
    check(
        "update change_log set hash = set_byte(hash, 0, get_byte(hash, 0) # 1) where seq = 2",
        "content_changed",
    )
    .await;
    check(
        "update change_log set record = gen_random_uuid() where seq = 3",
        "content_changed",
    )
    .await;
    check("delete from change_log where seq = 3", "content_missing").await;
    check(
        "update change_log set type = 'leave' where seq = 3",
        "content_missing",
    )
    .await;
    let insert =
        "insert into change_log select street, 9, type, gen_random_uuid(), generation, grid, hash, device, bytes, received_at, composed
                  from change_log where seq = 3";
    check(insert, "content_untold").await;
}

#[tokio::test]
async fn a_street_whose_trail_is_gone_is_found_by_its_log() {
    let scene = Scene::open().await;
    let statement = format!(
        "delete from audit_head where street = '{HOME}'; delete from audit_event where street = '{HOME}'"
    );
    let found = scene.found_after(&statement).await;
    assert_eq!(codes(&found), ["content_untold"; 3]);
}

#[tokio::test]
async fn seals_are_made_once_a_day_and_cannot_be_forged_or_removed() {
    let scene = Scene::open().await;
    let pass = async || {
        seal::pass(&scene.office.test.app.auth)
            .await
            .expect("a pass")
    };
    assert_eq!(
        pass().await.sealed,
        3,
        "two streets' chains and the deployment's"
    );
    assert_eq!(pass().await.sealed, 0, "nothing happened since");
    let proof = scene.proof().await;
    assert!(
        proof.ok && proof.seals == 1 && proof.sealed_upto == proof.last,
        "{proof:?}"
    );
    let no = proof.last.unwrap();
    for (statement, expected) in [
        (
            format!("delete from audit_seal where street = '{HOME}'"),
            "seal_missing",
        ),
        (
            format!(
                "update audit_seal set signature = set_byte(signature, 0, get_byte(signature, 0) # 1) where street = '{HOME}'"
            ),
            "seal_broken",
        ),
        (
            format!("update audit_seal set at = at + interval '1 second' where street = '{HOME}'"),
            "seal_broken",
        ),
        (
            format!(
                "update audit_seal set hash = set_byte(hash, 0, get_byte(hash, 0) # 1) where street = '{HOME}'"
            ),
            "seal_broken",
        ),
        (
            format!(
                "update audit_seal set public_key = set_byte(public_key, 0, get_byte(public_key, 0) # 1) where street = '{HOME}'"
            ),
            "seal_broken",
        ),
        (
            format!("update audit_seal set no = 1 where street = '{HOME}'"),
            "seal_foreign",
        ),
    ] {
        let found = scene.found_after(&statement).await;
        assert!(codes(&found).contains(&expected), "{statement}: {found:?}");
        assert!(
            found.iter().all(|(_, at)| [1, no].contains(at)),
            "{found:?}"
        );
    }
    scene.office.test.clock.advance_ms(86_400_000);
    assert_eq!(pass().await.sealed, 0, "a quiet chain rests");
}

#[tokio::test]
async fn the_trail_is_pruned_only_when_it_is_old_enough_and_only_up_to_a_seal() {
    let config = ServeConfig {
        audit_retention: std::time::Duration::from_hours(24 * 180),
        ..ServeConfig::for_tests()
    };
    let office = Office::on(TestApp::start_with(config).await).await;
    office.street(HOME, "天平路街道").await;
    office.grid(HOME, "A1").await;
    let mut scene = Scene::on(office).await;
    let day = 86_400_000;
    seal::pass(&scene.office.test.app.auth).await.unwrap();
    let sealed = scene.proof().await.last.unwrap();
    scene.office.test.clock.advance_ms(180 * day);
    assert_eq!(
        seal::pass(&scene.office.test.app.auth)
            .await
            .unwrap()
            .pruned,
        0,
        "not a moment before its time"
    );
    assert_eq!(scene.proof().await.first, Some(1));
    scene.office.test.clock.advance_ms(1);
    let pruned = seal::pass(&scene.office.test.app.auth)
        .await
        .unwrap()
        .pruned;
    assert!(pruned >= sealed as u64 - 1, "{pruned}");
    let proof = scene.proof().await;
    assert!(proof.ok && proof.first == Some(sealed), "{proof:?}");
    // It goes on, and is still held to the log.
    scene.office.admin = scene.office.token("root").await;
    scene.phone = scene.office.phone("wang.fang").await;
    scene.phone.sync().await;
    scene.phone.edit(scene.card, &[put("unit", "202")]);
    scene.phone.sync().await;
    let proof = scene.proof().await;
    assert!(proof.ok && proof.changes == 1, "{proof:?}");
    for (statement, expected) in [
        (
            format!("delete from audit_event where street = '{HOME}' and no = {sealed}"),
            "start_unsealed",
        ),
        (
            format!(
                "update audit_event set previous = set_byte(previous, 0, 0) where street = '{HOME}' and no = {sealed}"
            ),
            "changed",
        ),
        (
            format!("delete from audit_seal where street = '{HOME}' and no = {sealed}"),
            "seal_missing",
        ),
        (
            format!(
                "update audit_event set action = 'grid' where street = '{HOME}' and action = 'prune'"
            ),
            "pruned_unrecorded",
        ),
    ] {
        let found = scene.found_after(&statement).await;
        assert!(codes(&found).contains(&expected), "{statement}: {found:?}");
    }
    // A quiet chain comes to rest: pruning and sealing do not feed each other.
    for _ in 0..3 {
        scene.office.test.clock.advance_ms(200 * day);
        seal::pass(&scene.office.test.app.auth).await.unwrap();
    }
    scene.office.test.clock.advance_ms(200 * day);
    assert_eq!(
        seal::pass(&scene.office.test.app.auth).await.unwrap(),
        seal::Pass::default()
    );
    assert!(scene.proof().await.ok);
}

#[tokio::test]
async fn many_writers_make_one_chain() {
    let scene = Scene::open().await;
    let path = format!("/v1/streets/{HOME}/grids");
    let make = |n: usize| {
        let (office, path) = (&scene.office, &path);
        async move {
            let grid = json!({ "grid": format!("N{n}"), "name": "新", "area": "康平" });
            office.call("POST", path, Some(&office.admin), grid).await
        }
    };
    let mut phones = Vec::new();
    for n in 0..4 {
        let mut phone = scene.office.phone("wang.fang").await;
        phone.create("A1", &[put("sign_name", &format!("店{n}"))]);
        phones.push(phone);
    }
    let pushes = futures::future::join_all(phones.iter_mut().map(Phone::sync));
    let grids = futures::future::join_all((0..8).map(make));
    futures::join!(pushes, grids);
    let proof = scene.proof().await;
    assert!(proof.ok && proof.changes == 7, "{proof:?}");
}

#[tokio::test]
async fn what_is_told_names_who_and_what_but_no_values_and_no_people() {
    let scene = Scene::open().await;
    let auditor = scene.office.desk("auditor", "auditor").await;
    let page = auditor.get("audit?page_size=200").await;
    let events = page["items"].as_array().unwrap();
    let actions: std::collections::BTreeSet<_> = events
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    for expected in [
        "grid",
        "user_created",
        "assignment",
        "enrolment",
        "device_enrolled",
        "content",
    ] {
        assert!(
            actions.contains(expected),
            "{expected} is missing in {actions:?}"
        );
    }
    let content = events
        .iter()
        .find(|event| event["action"] == "content")
        .unwrap();
    assert_eq!(
        (&content["username"], &content["device"]),
        (&json!("wang.fang"), &json!(scene.phone.device))
    );
    assert_eq!(content["detail"]["changes"][0][1], json!(scene.card));
    let text = page.to_string();
    for personal in ["王记包子", "李家面馆", "201", "sign_name"] {
        assert!(!text.contains(personal), "{personal}");
    }
    assert_eq!(events[0]["no"], page["total"], "the newest first");
}

#[tokio::test]
async fn the_list_is_filtered_and_the_proof_is_a_route() {
    let scene = Scene::open().await;
    let auditor = scene.office.desk("auditor", "auditor").await;
    let total = async |query: &str| {
        let page = auditor.get(&format!("audit?{query}")).await;
        page["total"].as_i64().unwrap()
    };
    assert_eq!(total("action=content").await, 2);
    assert_eq!(total("username=wang.fang&action=content").await, 2);
    assert_eq!(total("username=nobody").await, 0);
    assert_eq!(
        total(&format!("record={}", scene.card)).await,
        2,
        "also where it stands among the changes"
    );
    assert_eq!(total(&format!("record={}", RecordId::default())).await, 0);
    assert_eq!(
        total("from=2026-11-21T08:00:00Z&to=2026-11-21T08:00:01Z&action=content").await,
        2
    );
    assert_eq!(total("to=2026-11-21T08:00:00Z").await, 0);
    for (query, field) in [
        ("action=applause", "action"),
        ("username=A%20b", "username"),
        ("from=yesterday", "from"),
        ("page=0", "page"),
    ] {
        let answer = auditor.ask(&format!("audit?{query}")).await;
        assert_eq!(
            (answer.code(), answer.json["field"].as_str()),
            ("invalid_field", Some(field)),
            "{query}: {}",
            answer.json
        );
    }
    let proof = auditor.get("audit/verify").await;
    assert_eq!(
        (&proof["ok"], &proof["chain"], &proof["problems"]),
        (&json!(true), &json!(HOME), &json!([]))
    );
    let anchor = format!("{}:{}", proof["last"], proof["hash"].as_str().unwrap());
    assert_eq!(
        auditor.get(&format!("audit/verify?anchor={anchor}")).await["ok"],
        true
    );
    assert_eq!(
        auditor.ask("audit/verify?anchor=1:xyz").await.json["rule"],
        "number_and_hash"
    );
    scene
        .sql(&format!(
            "update audit_event set username = 'somebody.else' where street = '{HOME}' and no = 4"
        ))
        .await;
    let proof = auditor.get("audit/verify").await;
    assert_eq!(
        (
            &proof["ok"],
            &proof["problems"][0]["code"],
            &proof["problems"][0]["no"]
        ),
        (&json!(false), &json!("changed"), &json!(4))
    );
    assert!(
        proof["problems"][0]["message_zh"]
            .as_str()
            .unwrap()
            .contains("改动")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_where_a_chain_breaks_and_fails() {
    let scene = Scene::open().await;
    let url = scene.office.test.database.url();
    let verify = |arguments: &'static [&'static str]| {
        let mut command = std::process::Command::new(lianka_tests::program("lianka"));
        command
            .args(["audit", "verify", "--log=error", "--database-url", &url])
            .args(arguments);
        let output = command.output().expect("it runs");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, said, _) = verify(&["--lang=en"]);
    assert_eq!(status, Some(0), "{said}");
    for chain in [HOME, OTHER, "deployment"] {
        assert!(said.contains(&format!("{chain}: holds.")), "{said}");
    }
    let proof = scene.proof().await;
    assert!(
        said.contains(&format!(
            "Anchor {}:{}",
            proof.last.unwrap(),
            proof.hash.unwrap()
        )),
        "{said}"
    );
    scene
        .sql(&format!(
            "delete from audit_event where street = '{HOME}' and no = 3"
        ))
        .await;
    let (status, said, why) = verify(&["--lang=zh"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("第 4 条 missing：之前有记录被删除") && why.contains("1 of 3 chains"),
        "{said}{why}"
    );
    assert_eq!(
        verify(&["--street=310105009"]).0,
        Some(0),
        "the other street's holds"
    );
    // A mistyped street proves nothing.
    for mistyped in [&["--street=310105900"] as &[&str], &["--street=deploymnt"]] {
        let (status, said, why) = verify(mistyped);
        assert_eq!((status, said.as_str()), (Some(1), ""), "{why}");
        assert!(why.contains(HOME) && why.contains("deployment"), "{why}");
    }
    assert_eq!(
        verify(&["--street=310105009", "--anchor=1:00"]).0,
        Some(2),
        "that is no anchor"
    );
}

#[tokio::test]
async fn the_trail_of_another_street_and_of_the_deployment_are_not_shown() {
    let scene = Scene::open().await;
    let auditor = scene.office.desk("auditor", "auditor").await;
    scene.office.user("inspector", "auditor", None).await;
    let inspector = scene.office.token("inspector").await;
    let inspector = scene.office.desk_with(&inspector);
    for path in ["audit", "audit/verify"] {
        assert_eq!(auditor.at(OTHER).ask(path).await.code(), "wrong_street");
        assert_eq!(
            auditor.ask(&format!("/v1/{path}")).await.code(),
            "wrong_street"
        );
        for readable in [
            format!("/v1/{path}"),
            format!("/v1/streets/{OTHER}/{path}"),
            format!("/v1/streets/{HOME}/{path}"),
        ] {
            assert!(
                inspector.ask(&readable).await.status.is_success(),
                "{readable}"
            );
        }
        assert_eq!(
            inspector.at("999999999").ask(path).await.code(),
            "not_found"
        );
    }
    let told = inspector.get("/v1/audit?page_size=200").await.to_string();
    assert!(
        told.contains("\"street\"") && !told.contains("\"content\""),
        "{told}"
    );
}

#[tokio::test]
async fn reading_sensitive_fields_is_told_and_only_those_who_need_them_read_them() {
    let mut scene = Scene::open().await;
    let contact = "contacts/0198c0de-0000-7000-8000-00000000000a";
    let consent = "consent/0198c0de-0000-7000-8000-00000000000b";
    let (card, phone) = (scene.card, &mut scene.phone);
    phone.edit(
        card,
        &[
            put(&format!("{contact}/name"), "王芳"),
            put(
                &format!("{consent}/contact"),
                "0198c0de-0000-7000-8000-00000000000a",
            ),
            put(&format!("{consent}/scope"), "party_status"),
            put(&format!("{consent}/wording"), "v1"),
            put(&format!("{consent}/channel"), "oral"),
            put(&format!("{consent}/decision"), "grant"),
            put(&format!("{consent}/given_on"), "2026-11-21"),
        ],
    );
    phone.edit(card, &[put(&format!("{contact}/party_status"), "党员")]);
    let reply = phone.sync().await;
    assert_eq!(reply.codes(), ["accepted"; 2], "{:?}", reply.items);
    let reads = async |scene: &Scene| scene.office.told("read_p3").await;
    assert_eq!(reads(&scene).await, 0);

    let reviewer = scene.office.desk("li.na", "reviewer").await;
    let record = format!("records/{card}");
    for path in [
        record.clone(),
        format!("{record}/history"),
        "cards".to_owned(),
    ] {
        let text = reviewer.get(&path).await.to_string();
        assert!(!text.contains("党员"), "{path}: {text}");
    }
    assert!(
        reviewer.get(&record).await.to_string().contains("●●●"),
        "that there is one is shown"
    );
    assert_eq!(reads(&scene).await, 0);

    let own = scene.office.desk_with(&scene.phone.token);
    assert!(own.get(&record).await.to_string().contains("党员"));
    assert_eq!(reads(&scene).await, 1);
    assert!(
        !own.get(&format!("{record}/history"))
            .await
            .to_string()
            .contains("党员")
    );
    assert_eq!(reads(&scene).await, 1);

    // Another phone of the grid downloads it.
    let mut second = scene.office.phone("wang.fang").await;
    second.sync().await;
    assert_eq!(reads(&scene).await, 2);
    second.sync().await;
    assert_eq!(reads(&scene).await, 2, "nothing new was sent");
    let proof = scene.proof().await;
    assert!(proof.ok, "{proof:?}");
}
