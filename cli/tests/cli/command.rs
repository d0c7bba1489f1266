//! What a person types, and what comes of it.

use std::path::PathBuf;
use std::process::{Command, Output};

use portcullis_cli::finding::Code;

pub(crate) fn portcullis(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).env_remove("PORTCULLIS_TEST_SECRET");
    command.output().expect("it runs")
}

/// A file beside this one.
pub(crate) fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    folder.join(name).display().to_string()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

pub(crate) fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// `line:column code message` of all findings.
pub(crate) fn told(arguments: &[&str]) -> Vec<String> {
    let all = [&["check", "--format", "json"], arguments].concat();
    let findings = json(&portcullis(&all));
    let findings = findings["findings"].as_array().expect("a list").iter();
    let line = |finding: &serde_json::Value| {
        let message = finding["message"].as_str().expect("a message");
        let code = finding["code"].as_str().expect("a code");
        format!("{}:{} {code} {message}", finding["line"], finding["column"])
    };
    findings.map(line).collect()
}

#[test]
fn the_exit_code_says_what_became_of_it() {
    let (clean, wrong, torn) = (
        fixture("clean.yaml"),
        fixture("wrong.yaml"),
        fixture("torn.yaml"),
    );
    for (files, code) in [
        (vec![&*clean], 0),
        (vec![&*clean, &wrong], 1),
        (vec![&*torn, &wrong], 2),
        (vec![&*clean, "/no/such/file"], 2),
    ] {
        let output = portcullis(&[&["check"], &*files].concat());
        assert_eq!(output.status.code(), Some(code), "{files:?}");
    }
    assert_eq!(portcullis(&["check"]).status.code(), Some(2));
    assert_eq!(
        portcullis(&["check", "--filter", "no_such", &clean])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn each_wrong_value_is_told_at_its_line_and_column() {
    let expected = [
        "4:44 P002 rate_limit: limits[0].quota: 0 is out of range; expected 1 to 1000000000",
        "18:70 P002 rate_limit: limits[0].window: expected a duration such as 250ms, 30s, 5m or 24h, found a number",
        "19:57 P002 rate_limit: limits[1].windw: unknown field `windw`",
        "20:28 P002 rate_limit: headers: unknown variant `all`",
    ];
    let told = told(&[&fixture("wrong.yaml")]);
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
}

#[test]
fn a_configuration_as_json_text_is_told_of_in_its_lines() {
    let told = told(&[&fixture("text.yaml")]);
    assert!(
        told[0].starts_with("17:25 P002 service_token: credential.kind: unknown variant `mtls`"),
        "{told:#?}"
    );
    // Of text between quotes only where it begins is known.
    assert!(
        told[1].starts_with("26:16 P002 rate_limit: configuration: "),
        "{told:#?}"
    );
    assert!(
        told[2].starts_with("33:16 P002 rate_limit: limits: the list is empty"),
        "{told:#?}"
    );
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn a_host_is_told_what_it_cannot_do() {
    // What reads answers, what reads requests, what has a route chosen anew.
    for (file, refused) in [
        ("bodies.yaml", &["kong", "envoy-alone"][..]),
        ("field.yaml", &["kong"]),
        ("elsewhere.yaml", &["kong"]),
    ] {
        for host in ["envoy", "envoy-alone", "native", "kong"] {
            let told = told(&["--filter", "rate_limit", "--host", host, &fixture(file)]);
            let expected = usize::from(refused.contains(&host));
            assert_eq!(told.len(), expected, "{file} on {host}: {told:#?}");
        }
    }
}

#[test]
fn a_filter_without_a_configuration_is_told_what_is_missing() {
    for text in ["", "# Nothing yet.\n", "---\n"] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let path = file.path().display().to_string();
        let told = told(&["--filter", "rate_limit", &path]);
        assert!(
            told[0].contains("P002 rate_limit: configuration: missing field `limits`"),
            "{told:#?}"
        );
    }
}

#[test]
fn a_file_without_a_filter_is_named() {
    let output = portcullis(&["check", &fixture("secret.yaml")]);
    assert!(text(&output.stderr).contains("secret.yaml: no filter is configured in it"));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_used_twice_is_told_once() {
    let told = told(&[&fixture("twice.yaml")]);
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn secrets_are_assumed_unless_the_real_ones_are_asked_for() {
    let secret = fixture("secret.yaml");
    let arguments = ["check", "--filter", "service_token", &secret];
    assert_eq!(portcullis(&arguments).status.code(), Some(0));
    let real = [&arguments[..], &["--env"]].concat();
    let output = portcullis(&real);
    assert!(text(&output.stdout).contains("PORTCULLIS_TEST_SECRET is not set"));
    assert_eq!(output.status.code(), Some(1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .args(real)
        .env("PORTCULLIS_TEST_SECRET", "0123456789abcdef0123456789abcdef");
    assert_eq!(command.output().expect("it runs").status.code(), Some(0));
}

#[test]
fn a_person_is_shown_the_line_without_colours_in_a_pipe() {
    let output = portcullis(&["check", &fixture("wrong.yaml")]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("error[P002]: rate_limit: limits[0].quota"),
        "{shown}"
    );
    assert!(shown.contains("quota: *quota"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(
        shown.ends_with("1 filter in 1 file: 4 findings in 1 file\n"),
        "{shown}"
    );
}

#[test]
fn github_is_told_with_commands() {
    let output = portcullis(&["check", "--format", "github", &fixture("wrong.yaml")]);
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(
        lines.iter().all(|line| line.starts_with("::error file=")),
        "{lines:#?}"
    );
    assert!(
        lines[3].contains(",line=20,endLine=20,col=28,endColumn=31,title=P002%3A the"),
        "{lines:#?}"
    );
}

#[test]
fn sarif_names_rules_and_places() {
    let value = json(&portcullis(&[
        "check",
        "--format",
        "sarif",
        &fixture("wrong.yaml"),
    ]));
    let run = &value["runs"][0];
    let results = run["results"].as_array().expect("results");
    assert_eq!((results.len(), &value["version"]), (4, &"2.1.0".into()));
    for result in results {
        let rule = result["ruleIndex"].as_u64().expect("an index");
        let rule = &run["tool"]["driver"]["rules"][usize::try_from(rule).expect("small")];
        assert_eq!(rule["id"], result["ruleId"]);
    }
    let region = &results[3]["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (&region["startLine"], &region["startColumn"]),
        (&20.into(), &28.into())
    );
    assert!(results[0]["relatedLocations"][0]["physicalLocation"]["region"]["startLine"] == 18);
}

#[test]
fn a_finding_is_explained() {
    let output = portcullis(&["explain", "p002"]);
    assert!(text(&output.stdout).starts_with("**the filter refuses its configuration.**"));
    assert_eq!(portcullis(&["explain", "P999"]).status.code(), Some(2));
}

#[test]
fn kubernetes_resources_are_looked_into() {
    let told = told(&[&fixture("kubernetes.yaml")]);
    let expected = [
        "8:11 P002 jwt_auth: mode: unknown variant `loud`",
        "19:9 P002 rate_limit: limits: the list is empty",
        "28:15 P002 circuit_breaker: breakers: the list is empty",
        "38:6 P001 ",
        "48:38 P002 edge: rate_limit.limits: the list is empty",
        "61:26 P002 rate_limit: limits: the list is empty",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
}

/// The lines of a file that end with a code in a comment.
fn marked(path: &str, code: &str) -> Vec<usize> {
    let text = std::fs::read_to_string(path).expect("a file");
    let lines = (1..).zip(text.lines());
    let marked = lines.filter(|(_, line)| line.ends_with(&format!("# {code}")));
    marked.map(|(number, _)| number).collect()
}

#[test]
fn each_kind_is_found_where_it_is_and_nowhere_else() {
    for code in Code::ALL.map(Code::id) {
        let found = fixture(&format!("found/{code}.yaml"));
        let told = told(&[&found]);
        let lines: Vec<usize> = told
            .iter()
            .map(|line| {
                assert!(line.contains(&format!(" {code} ")), "{code}: {told:#?}");
                line.split(':')
                    .next()
                    .expect("a line")
                    .parse()
                    .expect("a number")
            })
            .collect();
        let expected = match code {
            // Where no comment can stand.
            "P003" => vec![17],
            "P012" => vec![15],
            _ => marked(&found, code),
        };
        assert_eq!(lines, expected, "{code}: {told:#?}");
        let not_found = fixture(&format!("not_found/{code}.yaml"));
        assert_eq!(self::told(&[&not_found]), [""; 0], "{code}");
    }
}

#[test]
fn a_comment_allows_each_kind_that_can_be_allowed() {
    for code in Code::ALL.into_iter().filter(|code| code.can_be_allowed()) {
        let code = code.id();
        let text = std::fs::read_to_string(fixture(&format!("found/{code}.yaml"))).expect("a file");
        if !text.contains(&format!("# {code}\n")) {
            // It stands where no comment can.
            continue;
        }
        let allow = format!("# portcullis: allow {code}, because this is a test\n");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("allowed.yaml");
        std::fs::write(&path, text.replace(&format!("# {code}\n"), &allow)).expect("written");
        assert_eq!(told(&[&path.display().to_string()]), [""; 0], "{code}");
    }
}

#[test]
fn no_secret_is_shown() {
    for format in ["human", "json", "sarif", "github"] {
        let output = portcullis(&["check", "--format", format, &fixture("found/P013.yaml")]);
        let shown = text(&output.stdout);
        assert!(
            shown.contains("P013") && !shown.contains("hunter"),
            "{shown}"
        );
        assert_eq!(output.status.code(), Some(1));
    }
}
