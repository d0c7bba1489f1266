//! `portcullis try`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::command::{fixture, json, portcullis, text};

pub(crate) fn shipped(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

const AT: [&str; 2] = ["--at", "2026-01-01T00:00:00Z"];
const PATH: &str = "/api/v1/rag/search";
const TOKEN: [&str; 6] = [
    "--token",
    "dashboard",
    "--claim",
    "sub=alice",
    "--claim",
    "scope=rag:read",
];

/// What is told to a machine.
fn tried(arguments: &[&str]) -> Value {
    let output = portcullis(&[&["try", "--format", "json"], &AT[..], arguments].concat());
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    json(&output)
}

/// `status from` of each request.
fn answers(tried: &Value) -> Vec<String> {
    let requests = tried["requests"].as_array().expect("a list").iter();
    let answers = requests.map(|request| {
        let from = request["answer"]["from"].as_str().unwrap_or("backend");
        format!("{} {from}", request["answer"]["status"])
    });
    answers.collect()
}

/// A request's notes of a kind, of all filters.
fn notes<'v>(request: &'v Value, what: &str) -> Vec<&'v Value> {
    let filters = request["filters"].as_array().expect("a list").iter();
    let notes = filters.flat_map(|filter| [&filter["notes"], &filter["notes_of_answer"]]);
    let notes = notes.flat_map(|notes| notes.as_array().expect("a list"));
    notes.filter(|note| note["what"] == what).collect()
}

#[test]
fn a_request_is_decided_on_as_the_gateway_would() {
    for file in [
        "envoy/edge.yaml",
        "envoy/native/edge.yaml",
        "kong/kong.yml",
        "kong/separate.yml",
        "envoy/kubernetes/istio.yaml",
    ] {
        let file = shipped(file);
        let none = tried(&[&file, "--request", PATH]);
        assert_eq!(answers(&none), ["401 jwt_auth{no_token}"], "{file}");
        assert_eq!(none["requests"][0]["backend"], Value::Null);
        let open = tried(&[&file, "--request", "GET /api/v1/rag/status/health"]);
        assert_eq!(answers(&open), ["200 backend"], "{file}");
        let one = tried(&[&[&*file, "--request", PATH], &TOKEN[..]].concat());
        assert_eq!(answers(&one), ["200 backend"], "{file}");
        let request = &one["requests"][0];
        let headers = request["backend"]["headers"].as_array().expect("a list");
        let of = |name: &str| {
            let found = headers.iter().find(|header| header["name"] == name);
            found.map(|header| header["value"].as_str().expect("text"))
        };
        assert_eq!(of("x-user-id"), Some("alice"), "{file}");
        assert_eq!(of("x-service-token"), Some("**** (128 characters)"));
        assert_eq!(of("authorization"), None);
        assert_eq!(notes(request, "rule")[0]["index"], 1);
        assert_eq!(notes(request, "caller")[0]["provider"], "dashboard");
        let limit = notes(request, "limit")[0];
        assert_eq!(
            (&limit["charged"], &limit["remaining"]),
            (&1.into(), &99.into())
        );
        assert_eq!(limit["value"], "203.0.113.1");
        assert_eq!(notes(request, "breaker")[0]["said"], "admitted");
        assert_eq!(notes(request, "outcome")[0]["as"], "successes");
    }
}

#[test]
fn a_rule_is_told_where_one_was_looked_for() {
    let file = shipped("envoy/edge.yaml");
    let preflight = [
        "origin: http://a.example",
        "access-control-request-method: GET",
    ];
    for (request, headers, rules, answer) in [
        (
            "GET /api/v1/rag/status/ready",
            &[][..],
            0,
            "200 jwt_auth{ready}",
        ),
        ("GET /api//x", &[], 0, "400 jwt_auth{ambiguous_path}"),
        ("GET /elsewhere", &[], 1, "403 jwt_auth{no_rule}"),
        ("OPTIONS /api/v1/rag/search", &preflight, 0, "200 backend"),
    ] {
        let mut arguments = vec![&*file, "-r", request];
        arguments.extend(headers.iter().flat_map(|line| ["-H", *line]));
        let all = tried(&arguments);
        assert_eq!(answers(&all), [answer]);
        assert_eq!(notes(&all["requests"][0], "rule").len(), rules, "{all:#}");
        let is_preflight = usize::from(!headers.is_empty());
        assert_eq!(notes(&all["requests"][0], "preflight").len(), is_preflight);
    }
}

#[test]
fn repeating_shows_when_a_limit_bites() {
    let file = shipped("envoy/edge.yaml");
    let repeated = ["--request", PATH, "--repeat", "150", "--over", "30s"];
    let all = tried(&[&[&*file], &repeated[..], &TOKEN[..]].concat());
    let outcomes = &all["outcomes"];
    assert_eq!(
        (&outcomes[0]["status"], &outcomes[0]["count"]),
        (&200.into(), &100.into())
    );
    assert_eq!(
        (&outcomes[1]["status"], &outcomes[1]["first"]),
        (&429.into(), &101.into())
    );
    assert_eq!(all["requests"][100]["at"], "2026-01-01T00:00:20Z");
    // As much, in a time in which what was counted is over.
    let slower = ["--request", PATH, "--repeat", "150", "--over", "150s"];
    let all = tried(&[&[&*file], &slower[..], &TOKEN[..]].concat());
    assert_eq!(all["outcomes"].as_array().expect("a list").len(), 1);
}

#[test]
fn what_is_expected_of_the_last_answer_is_the_exit_code() {
    let file = shipped("envoy/edge.yaml");
    for (expected, code) in [("401", 0), ("200", 1)] {
        let output = portcullis(&["try", &file, "--request", PATH, "--expect", expected]);
        assert_eq!(output.status.code(), Some(code), "{expected}");
    }
    let output = portcullis(&["try", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no request; expected --request"));
}

#[test]
fn a_backend_that_fails_opens_the_breaker_and_a_probe_closes_it() {
    let file = shipped("kong/separate.yml");
    let failing = [
        "--request",
        PATH,
        "--repeat",
        "7",
        "--upstream-fails",
        "timeout",
    ];
    let all = tried(&[&[&*file], &failing[..], &TOKEN[..]].concat());
    let answers = answers(&all);
    assert_eq!(
        &answers[5..],
        ["503 circuit_breaker{rag_service}"; 2],
        "{answers:?}"
    );
    assert_eq!(notes(&all["requests"][4], "transition")[0]["to"], "open");
    let slowly = [
        "--request",
        PATH,
        "--repeat",
        "7",
        "--over",
        "5m",
        "--upstream-status",
        "500",
    ];
    let all = tried(&[&[&*file], &slowly[..], &TOKEN[..]].concat());
    assert_eq!(
        all["outcomes"][0]["count"], 7,
        "each is a probe, or before: {all:#}"
    );
}

#[test]
fn requests_that_the_backend_takes_long_for_are_under_way_at_once() {
    let config = "limits: [{ name: at_once, key: [client_address], in_flight: 2 }]\n";
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config).expect("written");
    let file = file.path().display().to_string();
    let of = |delay: &str| {
        let arguments = [
            "--filter",
            "rate_limit",
            &file,
            "-r",
            "/",
            "--repeat",
            "4",
            "--over",
            "4s",
            "--upstream-delay",
            delay,
        ];
        answers(&tried(&arguments))
    };
    assert_eq!(of("500ms"), ["200 backend"; 4]);
    let slow = of("10s");
    assert_eq!(slow[..2], ["200 backend"; 2]);
    assert_eq!(slow[2..], ["429 rate_limit{at_once}"; 2]);
}

#[test]
fn a_limit_by_tokens_reads_requests_and_answers() {
    let file = shipped("envoy/models.yaml");
    let body =
        r#"{"model":"llama3","messages":[{"role":"user","content":"hello"}],"stream":false}"#;
    let answer = r#"{"model":"llama3","prompt_eval_count":26,"eval_count":298,"done":true}"#;
    let all = tried(&[
        &file,
        "-r",
        "POST /api/chat",
        "-H",
        "content-type: application/json",
        "--body",
        body,
        "--token",
        "users",
        "--claim",
        "sub=alice",
        "--claim",
        "scope=rag:read",
        "--upstream-header",
        "content-type: application/json",
        "--upstream-body",
        answer,
    ]);
    assert_eq!(answers(&all), ["200 backend"]);
    let used: Vec<_> = notes(&all["requests"][0], "used")
        .iter()
        .map(|note| (note["of"].as_str().expect("text"), note["count"].as_u64()))
        .collect();
    assert!(used.contains(&("input_tokens", Some(26))), "{used:?}");
    assert!(used.contains(&("output_tokens", Some(298))), "{used:?}");
    let reserved = notes(&all["requests"][0], "limit")[0]["remaining"].as_u64();
    let left = notes(&all["requests"][0], "left")[0]["remaining"].as_u64();
    // An answer's tokens count four times.
    assert_eq!(
        (left, left > reserved),
        (Some(200_000 - 26 - 4 * 298), true)
    );
}

#[test]
fn requests_are_taken_as_people_have_them() {
    let file = shipped("envoy/edge.yaml");
    let url = "http://localhost:8000/api/v1/rag/search?q=x";
    let output = portcullis(&[
        "try", "--format", "json", &file, "--", "curl", "-s", "-XPOST", url,
    ]);
    let of_curl = json(&output);
    assert_eq!(of_curl["requests"][0]["method"], "POST");
    assert_eq!(answers(&of_curl), ["401 jwt_auth{no_token}"]);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let line = |second: u32, client: &str| {
        format!(
            r#"{{"time":"2025-12-31T23:00:{second:02}.000Z","client":"{client}","method":"GET","path":"{PATH}","status":200}}"#
        )
    };
    let lines = [line(0, "10.0.0.1"), line(9, "10.0.0.2")].join("\n");
    std::fs::write(&log, lines).expect("written");
    let log = log.display().to_string();
    let of_log = tried(&[&[&*file, "--access-log", &log], &TOKEN[..]].concat());
    let request = &of_log["requests"][1];
    assert_eq!(
        (&request["client"], &request["at"]),
        (&"10.0.0.2".into(), &"2026-01-01T00:00:09Z".into())
    );
    assert_eq!(answers(&of_log), ["200 backend"; 2]);
}

#[test]
fn keys_are_fetched_from_no_network_but_from_a_file_that_is_named() {
    let file = fixture("remote.yaml");
    let token = "authorization: Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2kiLCJhdWQiOiJhIiwiZXhwIjoxOTAwMDAwMDAwfQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let arguments = [&*file, "--filter", "jwt_auth", "-r", "/", "-H", token];
    let none = tried(&arguments);
    assert_eq!(answers(&none), ["503 jwt_auth{keys_unavailable}"]);
    let url = "https://i.example/keys";
    assert_eq!(notes(&none["requests"][0], "no_keys")[0]["url"], url);
    let keys = format!("{url}={}", fixture("jwks.json"));
    let some = tried(&[&arguments[..], &["--keys", &keys]].concat());
    assert_eq!(answers(&some), ["401 jwt_auth{unknown_kid}"]);
}

#[test]
fn a_private_key_signs_what_its_public_half_is_asked_about() {
    let (file, key) = (fixture("cases/keys.yaml"), fixture("cases/p256.pem"));
    let keys = format!("https://i.example/keys={}", fixture("cases/jwks.json"));
    let arguments = [
        "--filter", "jwt_auth", &file, "-r", "/", "--keys", &keys, "--token", "p", "--key", &key,
    ];
    assert_eq!(answers(&tried(&arguments)), ["200 backend"]);
    // Without the private key another one stands in for it, and the set is not asked for.
    let stands_in = [
        "--filter",
        "jwt_auth",
        &file,
        "-r",
        "/",
        "--token",
        "p",
        "--claim",
        "sub=alice",
    ];
    assert_eq!(answers(&tried(&stands_in)), ["200 backend"]);
    let output = portcullis(&[&["try"], &stands_in[..]].concat());
    assert!(text(&output.stdout).contains("hint: tokens of p are signed by a key that stands in"));
    let expired = tried(&[&arguments[..], &["--claim", "exp=1"]].concat());
    assert_eq!(answers(&expired), ["401 jwt_auth{expired}"]);
}

#[test]
fn a_client_chooses_its_address_where_envoy_lets_it() {
    let file = fixture("found/P012.yaml");
    let arguments = |client: &'static str| [&*file, "-r", "/", "-H", client].map(str::to_owned);
    let of = |client: &'static str| {
        let arguments = arguments(client);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tried(&arguments)["requests"][0]["client"].clone()
    };
    assert_eq!(of("x-forwarded-for: 10.0.0.1, 10.0.0.9"), "10.0.0.9");
    let file = shipped("envoy/edge.yaml");
    let all = tried(&[&file, "-r", "/", "-H", "x-forwarded-for: 10.0.0.9"]);
    assert_eq!(all["requests"][0]["client"], "203.0.113.1");
}

#[test]
fn what_cannot_be_tried_is_said_and_where() {
    let wrong = fixture("wrong.yaml");
    let egress = shipped("envoy/egress.yaml");
    for (arguments, said) in [
        (
            &[&*wrong, "-r", "/"][..],
            "wrong.yaml:4: rate_limit: limits[0].quota",
        ),
        (
            &[&*egress, "-r", "/"],
            "choose one with --chain:\n  1  rate_limit, circuit_breaker (from line",
        ),
        (&[&*egress, "-r", "/", "--chain", "3"], "no chain 3"),
        (&["/no/such/file", "-r", "/"], "/no/such/file: "),
        (
            &[&*egress, "--chain", "1", "-r", "/", "--token", "x"],
            "no filter in it has a `jwt_auth`",
        ),
        (
            &[&*egress, "--chain", "1", "-r", "search"],
            "is no path and no URL",
        ),
    ] {
        let output = portcullis(&[&["try"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_secret_of_this_machine_signs_and_is_not_shown() {
    let secret = "hunter2hunter2hunter2hunter2hunter2";
    let file = shipped("envoy/edge.yaml");
    for format in ["human", "json"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args(["try", "--env", "--format", format, &file, "-r", PATH])
            .args(TOKEN)
            .env("JWT_SECRET_KEY", secret)
            .env("INTER_SERVICE_SECRET", secret);
        let output = command.output().expect("it runs");
        let shown = text(&output.stdout);
        assert!(
            shown.contains("alice") && !shown.contains("hunter"),
            "{shown}"
        );
        assert!(!shown.contains("eyJhbGci"), "{shown}");
    }
    // What this machine's secret has signed is not good where one is assumed.
    let claims = r#"{"iss":"https://auth.tradingsystem.local","aud":"rag-api","iat":1767225600,"exp":1767229200}"#;
    let parts = [
        r#"{"alg":"HS256","kid":"dash-2026"}"#,
        claims,
        "somebody else has signed it: 32b",
    ];
    let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let token = format!("authorization: Bearer {}", token);
    let output = portcullis(&["try", &file, "-r", PATH, "-H", &token, AT[0], AT[1]]);
    assert!(text(&output.stdout).contains("hint: secrets are assumed"));
}
