//! `portcullis test`.

use crate::command::{fixture, portcullis, text};
use crate::try_request::shipped;

fn cases(name: &str) -> String {
    fixture(&format!("cases/{name}.yaml"))
}

#[test]
fn the_examples_come_as_they_say() {
    let (envoy, kong) = (
        shipped("cli/examples/edge.yaml"),
        shipped("cli/examples/kong.yaml"),
    );
    let output = portcullis(&["test", &envoy, &kong]);
    let told = text(&output.stdout);
    assert!(told.ends_with("12 cases, 0 failed\n"), "{told}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_comes_otherwise_is_told_with_the_line_that_expects_it() {
    let output = portcullis(&["test", &cases("failing")]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for said in [
        ":8: status: expected 200, found 429 from rate_limit{five}\n",
        ":9: statuses.200: expected 6 of them, found 5\n",
        ":9: statuses: expected no 429, found 1 of them\n",
        ":10: headers.ratelimit: expected none, found \"five\";r=0;t=60\n",
        ":10: headers.retry-after: expected 7, found 60\n",
        ":12: the backend gets nothing: rate_limit{five} answers\n",
        ":16: backend.x-a: expected c, found b\n",
        ":16: backend.x-token: expected other, found **** (7 characters)\n",
        ":16: backend.x-b: expected one, found none\n",
        ":16: target: expected /x, found /\n",
        // And what became of the request.
        "limit five: refuses it (line 2)",
        "ok      right\n3 cases, 2 failed\n",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert!(!told.contains("hunter"), "{told}");
    let body = told
        .lines()
        .filter(|line| line.contains("expected \"quota\" in it"));
    assert_eq!(body.count(), 0, "the answer has it");
}

#[test]
fn cases_are_chosen_by_their_names() {
    let output = portcullis(&["test", "--only", "righ", &cases("failing")]);
    assert_eq!(text(&output.stdout), "ok      right\n1 case, 0 failed\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_file_that_cannot_be_run_says_where() {
    for (name, said) in [
        (
            "unreadable",
            "unreadable.yaml:7: unknown field `exepct`; expected one of name, steps, request,",
        ),
        ("refused", "refused.yaml:1: "),
        (
            "refused",
            "wrong.yaml:4: rate_limit: limits[0].quota: 0 is out of range",
        ),
        ("unmintable", "unmintable.yaml:2: tokens.t: "),
        ("no_such", "no_such.yaml: "),
    ] {
        let output = portcullis(&["test", &cases(name)]);
        let error = text(&output.stderr);
        assert!(error.contains(said), "{said}: {error}");
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[test]
fn a_report_for_ci_has_each_case_and_each_failure() {
    let output = portcullis(&[
        "test",
        "--format",
        "junit",
        &cases("failing"),
        &cases("refused"),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let report = text(&output.stdout);
    for said in [
        "<testcase name=\"five pass &amp; no more\"",
        "tests=\"3\" failures=\"2\" errors=\"0\"",
        "line=\"4\">\n      <failure message=\"status: expected 200, found 429 from rate_limit{five}\">",
        "<testcase name=\"right\"",
        "tests=\"1\" failures=\"0\" errors=\"1\"",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
    assert!(report.starts_with("<?xml") && report.ends_with("</testsuites>\n"));
}

#[test]
fn a_token_is_signed_by_a_key_that_is_named_or_one_that_stands_in() {
    let output = portcullis(&["test", &cases("standing_in")]);
    assert_eq!(
        text(&output.stdout).lines().last(),
        Some("1 case, 0 failed"),
        "{}",
        text(&output.stdout)
    );
    let output = portcullis(&["test", &cases("signed")]);
    assert_eq!(
        text(&output.stdout).lines().last(),
        Some("2 cases, 0 failed"),
        "{}",
        text(&output.stdout)
    );
}
