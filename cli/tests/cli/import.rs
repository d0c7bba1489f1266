//! `portcullis import`: each file of `tests/import` with what is made of it and its report beside it. `UPDATE=1` writes these anew.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use portcullis_cli::check::{Options, check};
use portcullis_cli::document::read;
use portcullis_cli::filter::{Filter, Host};
use portcullis_cli::finding::Code;
use portcullis_cli::source::Source;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// Run where the files are, so that reports name them as they are called.
fn portcullis(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let output = command.arg("import").args(arguments).current_dir(folder());
    output.output().expect("it runs")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

#[track_caller]
fn same(name: &str, found: &str) {
    let path = folder().join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, found).expect("it can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}");
}

const FILES: [(&str, &[&str], Host, u8); 5] = [
    ("rag-system.kong", &["rag-system.kong.yml"], Host::Kong, 1),
    ("limits.kong", &["limits.kong.yml"], Host::Kong, 1),
    ("groups.kong", &["groups.kong.yml"], Host::Kong, 1),
    ("native.envoy", &["native.envoy.yaml"], Host::Envoy, 1),
    (
        "service.envoy",
        &[
            "--descriptors",
            "service.descriptors.yaml",
            "service.envoy.yaml",
        ],
        Host::Envoy,
        1,
    ),
];

#[test]
fn what_is_made_of_a_file_and_its_report_are_as_written_beside_it() {
    for (name, arguments, _, code) in FILES {
        let output = portcullis(arguments);
        let status = output.status.code();
        same(&format!("{name}.edge.out"), &text(output.stdout));
        same(&format!("{name}.report.out"), &text(output.stderr));
        assert_eq!(status, Some(code.into()), "{name}");
    }
}

#[test]
fn check_finds_nothing_wrong_in_what_is_made() {
    let filter = Filter::named("edge").expect("a filter");
    for (name, arguments, host, _) in FILES {
        let text = text(portcullis(arguments).stdout);
        let source = Source {
            name: name.to_owned(),
            text,
        };
        let options = Options {
            filter: Some((filter, host)),
            real_variables: false,
        };
        let checked = check(&source, options);
        assert_eq!(checked.findings, [], "{name}\n{}", source.text);
        let gateway = if host == Host::Kong { "kong" } else { "envoy" };
        let whole = portcullis(&[&["--for", gateway], arguments].concat());
        let text = self::text(whole.stdout);
        let checked = check(
            &Source {
                name: name.to_owned(),
                text,
            },
            Options::default(),
        );
        // One `edge` for all services has the rules of each, which no route of another reaches; and headers that pages may read are
        // the file's own to name.
        let of_the_file = [Code::Unreached, Code::HiddenFromPages];
        let mut wrong = checked.findings.iter();
        let wrong = wrong.find(|finding| !of_the_file.contains(&finding.code));
        assert_eq!(wrong, None, "{name}");
        assert!(checked.filters > 0 || name == "native.envoy", "{name}");
    }
}

#[test]
fn no_secret_is_shown() {
    for (name, arguments, host, _) in FILES {
        let gateway = if host == Host::Kong { "kong" } else { "envoy" };
        for more in [&["--report", "json"][..], &["--for", gateway], &["--bare"]] {
            let output = portcullis(&[more, arguments].concat());
            let shown = text(output.stdout) + &text(output.stderr);
            for secret in ["anybodys", "bm90LWZvci1h", "secret: short"] {
                assert!(!shown.contains(secret), "{name} {more:?}: {shown}");
            }
        }
    }
}

/// Each value of a file has a line of the report that is about it, or about what it stands in.
#[test]
fn nothing_is_dropped_silently() {
    let output = portcullis(&["--report", "json", "limits.kong.yml"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    let fields = report["fields"].as_array().expect("a list");
    for (field, outcome) in [
        (
            "services[1].plugins[0].config.no_such_field",
            "not taken over",
        ),
        ("services[0].plugins[0].config.month", "not taken over"),
        (
            "services[0].plugins[0].config.policy",
            "taken over with a difference",
        ),
        ("services[0].plugins[0].config.second", "taken over"),
    ] {
        let found = fields.iter().find(|told| told["field"] == field);
        assert_eq!(
            found.map(|told| &told["outcome"]),
            Some(&outcome.into()),
            "{field}"
        );
    }
    let text = "_format_version: '3.0'\nsomething: { a: [1] }\nplugins: [{ name: jwt, config: { claims_to_verify: [exp], b: { c: 1 } } }]\n";
    let source = Source {
        name: "f".into(),
        text: text.into(),
    };
    let imported = portcullis_cli::import::import(&source, None).expect("YAML");
    for path in ["something", "plugins[0].config.b"] {
        assert!(
            imported.notes.iter().any(|note| note.path == path),
            "{path}: {:#?}",
            imported.notes
        );
    }
    assert!(read(text).is_ok());
}

#[test]
fn what_cannot_be_taken_over_has_an_exit_code_of_its_own() {
    for arguments in [
        &["no-such-file"][..],
        &["service.descriptors.yaml"],
        &["--for", "envoy", "limits.kong.yml"],
    ] {
        assert_eq!(
            portcullis(arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

/// The page shows the file of this name, and what is made of it.
#[test]
fn the_page_shows_what_is_printed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/import.md");
    let shown = fs::read_to_string(page).expect("the page");
    let file = fs::read_to_string(folder().join("small.kong.yml")).expect("the file");
    assert!(shown.contains(&format!("```yaml\n{file}```")), "{file}");
    let output = portcullis(&["small.kong.yml"]);
    let screen = text(output.stderr) + &text(output.stdout);
    let screen = format!("```console\n$ portcullis import small.kong.yml\n{screen}```");
    assert!(shown.contains(&screen), "{screen}");
}

/// Where a rule is lost, nothing passes that it would have refused.
#[test]
fn what_checks_tokens_stays_where_it_cannot_be_taken_over() {
    let of = |text: &str| {
        let source = Source {
            name: "f".into(),
            text: text.into(),
        };
        portcullis_cli::import::import(&source, None).expect("YAML")
    };
    let jwt = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
    let bucket =
        "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let made = of(&format!(
        "http_filters:\n- name: l\n  typed_config: {{ '@type': {bucket}, token_bucket: {{ max_tokens: 1, fill_interval: 1s }} }}\n\
         - name: j\n  typed_config:\n    '@type': {jwt}\n    providers: {{ a: {{ issuer: a, local_jwks: {{ filename: /a }} }}, b: {{ issuer: b, local_jwks: {{ inline_string: '{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"x\"}}]}}' }} }} }}\n    \
         rules: [{{ match: {{ prefix: /a }}, requires: {{ provider_name: a }} }}, {{ match: {{ prefix: /b }}, requires: {{ provider_name: b }} }}]\n"
    ));
    let edge = made.edge.expect("a configuration");
    let rules = edge["jwt_auth"]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), 1, "no rule lets the others pass: {rules:?}");
    let file = made.file.expect("a file").to_string();
    assert!(file.contains("JwtAuthentication"), "{file}");
    assert!(!file.contains("LocalRateLimit"), "{file}");
}

/// Rules of two listeners in one list would be other rules.
#[test]
fn of_several_connection_managers_the_first_is_taken_over() {
    let bucket = |name: &str| {
        format!(
            "{{ name: l, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, \
             stat_prefix: {name}, token_bucket: {{ max_tokens: 1, fill_interval: 1s }} }} }}"
        )
    };
    let text = format!(
        "resources:\n- http_filters: [{}]\n- http_filters: [{}]\n",
        bucket("a"),
        bucket("b")
    );
    let source = Source {
        name: "f".into(),
        text,
    };
    let made = portcullis_cli::import::import(&source, None).expect("YAML");
    let edge = made.edge.expect("a configuration");
    let limits = edge["rate_limit"]["limits"].as_array().expect("limits");
    assert_eq!((limits.len(), &limits[0]["name"]), (1, &"a".into()));
    let told = |path: &str| made.notes.iter().any(|note| note.path == path);
    assert!(told("resources[1].http_filters[0]"), "{:#?}", made.notes);
}
