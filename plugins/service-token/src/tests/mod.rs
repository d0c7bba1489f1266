//! The plugin as a worker runs it, in a simulated gateway.

mod signature;
mod token;

use portcullis_policy::{
    HeaderEdit, Headers, HostFailure, PeerAddress, Policy as _, Request, Verdict,
};
use portcullis_sim::{Answer, Dialect, Worker, World};

use crate::ServiceToken;

type Gate = Worker<ServiceToken>;

const SECRET: &str = "secret-secret-secret-secret-2026";
const OLD: &str = "secret-secret-secret-secret-2025";

fn gate(fields: &str) -> Gate {
    let mut world = World::new(Dialect::Envoy, 1);
    world.env.0.push(("TOKEN".to_owned(), SECRET.to_owned()));
    world
        .worker(&format!(
            r#"{{"credential":{{"kind":"static","secrets":[
                {{"id":"2026","env":"TOKEN"}},{{"id":"2025","value":"{OLD}"}}]}}{fields}}}"#
        ))
        .unwrap()
}

const RULES: &str = r#","inject":[{"match":{"paths":[{"prefix":"/api"}]}}]"#;

/// Sends a request; what of it reaches the upstream under any spelling, or the refusal's status.
fn send(gate: &Gate, path: &str, sent: &[(&str, &str)]) -> Result<Vec<(String, String)>, u16> {
    let mut headers = vec![(":method", "GET"), (":path", path), ("accept", "*/*")];
    headers.extend(sent);
    match gate.request("10.0.0.1", &headers).0 {
        Answer::Refused(reply) => Err(reply.status),
        Answer::Passed(headers) => Ok(headers
            .into_iter()
            .filter(|(name, _)| name.contains("service"))
            .collect()),
    }
}

fn only_ours() -> Result<Vec<(String, String)>, u16> {
    Ok(vec![("x-service-token".to_owned(), SECRET.to_owned())])
}

fn metric(gate: &Gate, name: &str) -> u64 {
    gate.telemetry.metric(&format!("service_token_{name}"))
}

/// The log lines behind the first, which says that the plugin is ready.
fn lines(gate: &Gate) -> Vec<String> {
    gate.telemetry.lines().split_off(1)
}

struct Nobody;
impl PeerAddress for Nobody {
    fn peer(&self) -> Option<std::net::IpAddr> {
        None
    }
}

#[test]
fn every_request_gets_the_first_secret_by_one_borrowed_edit() {
    let gate = gate("");
    assert_eq!(send(&gate, "/any", &[]), only_ours());
    assert_eq!(metric(&gate, "injected"), 1);
    assert_eq!(metric(&gate, "spoofed"), 0);
    assert_eq!(
        gate.telemetry.lines(),
        ["plugin=service_token event=ready secret_id=2026"]
    );

    let headers = Headers::from_pairs([(":method", "GET"), (":path", "/")]);
    let request = Request::new(&headers, &Nobody);
    let (Verdict::Continue(edits), ()) = gate.policy.on_request(&request, &gate.ports()) else {
        panic!("refused");
    };
    let [HeaderEdit::Set { name, value }] = edits.headers() else {
        panic!("{edits:?}");
    };
    assert!(matches!(
        name,
        std::borrow::Cow::Borrowed("x-service-token")
    ));
    assert!(matches!(value, std::borrow::Cow::Borrowed(_)));
}

#[test]
fn a_clients_own_header_does_not_pass_in_any_spelling() {
    for spelling in [
        "x-service-token",
        "X-Service-Token",
        "x_service_token",
        "X-Service_Token",
    ] {
        for (path, expected) in [("/api/x", only_ours()), ("/other", Ok(Vec::new()))] {
            let gate = gate(RULES);
            assert_eq!(send(&gate, path, &[(spelling, "forged")]), expected);
            assert_eq!(metric(&gate, "spoofed"), 1, "{spelling} {path}");
            assert_eq!(
                lines(&gate),
                ["plugin=service_token event=spoofed reason=forged"]
            );
        }
    }
}

#[test]
fn a_header_of_another_name_is_left_alone() {
    let gate = gate("");
    let sent = [("x-service-tokens", "a"), ("x-service", "b")];
    let passed = send(&gate, "/", &sent).unwrap();
    assert_eq!(passed.len(), 3);
    assert_eq!(metric(&gate, "spoofed"), 0);
}

#[test]
fn two_lines_are_refused_since_kong_overwrites_the_first_only() {
    for second in ["x-service-token", "X-Service-Token", "x_service_token"] {
        for (path, values) in [("/api", ["forged", "forged"]), ("/other", [SECRET, SECRET])] {
            let gate = gate(RULES);
            let sent = [("x-service-token", values[0]), (second, values[1])];
            assert_eq!(send(&gate, path, &sent), Err(400), "{second}");
            assert_eq!(metric(&gate, "spoofed"), 1);
            assert_eq!(metric(&gate, "injected"), 0);
            assert_eq!(
                lines(&gate),
                ["plugin=service_token event=refused reason=duplicate_identity"]
            );
        }
    }
}

#[test]
fn a_client_that_would_have_the_next_hop_drop_the_header_is_refused() {
    for value in [
        "x-service-token",
        "close, X-Service-Token",
        "keep-alive,x_service_token ,te",
    ] {
        let gate = gate("");
        let sent = [("Connection", "close"), ("connection", value)];
        assert_eq!(send(&gate, "/", &sent), Err(400), "{value}");
        assert_eq!(metric(&gate, "spoofed"), 1);
        assert_eq!(
            lines(&gate),
            ["plugin=service_token event=refused reason=named_in_connection"]
        );
    }
    let gate = gate("");
    let sent = [("connection", "close, x-service-tokens")];
    assert_eq!(send(&gate, "/", &sent), only_ours());
}

#[test]
fn a_gateway_in_front_that_sends_one_of_our_secrets_is_overwritten_and_not_counted() {
    for secret in [SECRET, OLD] {
        let gate = gate(RULES);
        let sent = [("x-service-token", secret)];
        assert_eq!(send(&gate, "/api", &sent), only_ours());
        assert_eq!(send(&gate, "/other", &sent), Ok(Vec::new()));
        assert_eq!(metric(&gate, "spoofed"), 0);
        assert_eq!(lines(&gate), [""; 0]);
    }
}

#[test]
fn only_requests_that_a_rule_is_about_for_certain_get_the_credential() {
    let gate = gate(RULES);
    for (path, injected) in [
        ("/api", true),
        ("/api/x?y", true),
        ("/%61pi", true),
        ("/apis", false),
        ("/api/../other", false),
        ("//api", false),
    ] {
        let expected = if injected {
            only_ours()
        } else {
            Ok(Vec::new())
        };
        assert_eq!(send(&gate, path, &[]), expected, "{path}");
    }
    assert_eq!(metric(&gate, "injected"), 3);
}

#[test]
fn in_shadow_it_is_counted_and_logged_and_everything_passes_as_it_came() {
    let gate = gate(r#","mode":"shadow""#);
    assert_eq!(send(&gate, "/", &[]), Ok(Vec::new()));
    for sent in [
        &[("x-service-token", "forged")][..],
        &[("x-service-token", "a"), ("x-service-token", "b")],
        &[("connection", "x-service-token")],
    ] {
        let passed = send(&gate, "/", sent).unwrap();
        let ours = sent.iter().filter(|(name, _)| *name == "x-service-token");
        assert_eq!(passed.len(), ours.count());
    }
    assert_eq!(metric(&gate, "spoofed"), 3);
    assert_eq!(metric(&gate, "injected"), 0);
    assert_eq!(metric(&gate, "shadow_injected"), 2);
    assert_eq!(
        lines(&gate),
        [
            "plugin=service_token event=shadow_spoofed reason=forged",
            "plugin=service_token event=shadow_refused reason=duplicate_identity",
            "plugin=service_token event=shadow_refused reason=named_in_connection",
        ]
    );
}

#[test]
fn off_does_nothing_at_all() {
    let gate = gate(r#","mode":"off""#);
    let sent = [("x-service-token", "a"), ("x-service-token", "b")];
    assert_eq!(send(&gate, "/", &sent).unwrap().len(), 2);
    let failure = gate
        .policy
        .on_host_failure(HostFailure::Edit, &gate.ports());
    assert_eq!(failure, None);
    assert_eq!(metric(&gate, "spoofed"), 0);
    assert_eq!(gate.telemetry.lines(), [""; 0]);
}

#[test]
fn a_request_that_can_not_be_given_the_credential_is_not_forwarded_bare() {
    for (fields, refuses) in [
        ("", true),
        (r#","on_error":"deny""#, true),
        (r#","on_error":"allow""#, false),
        (r#","mode":"shadow""#, false),
    ] {
        let gate = gate(fields);
        for (failure, name) in [
            (HostFailure::Headers, "errors.reason.headers_unreadable"),
            (HostFailure::Edit, "errors.reason.edit_failed"),
        ] {
            let reply = gate.policy.on_host_failure(failure, &gate.ports());
            assert_eq!(reply.map(|reply| reply.status), refuses.then_some(503));
            assert_eq!(metric(&gate, name), 1);
        }
    }
}

#[test]
fn neither_a_secret_nor_a_forged_value_is_logged() {
    let gate = gate("");
    for value in [SECRET, "forged\nplugin=forged"] {
        let _ = send(
            &gate,
            "/",
            &[("x-service-token", value), ("x-request-id", "id-1")],
        );
    }
    assert_eq!(
        gate.telemetry.lines(),
        [
            "plugin=service_token event=ready secret_id=2026",
            "plugin=service_token event=spoofed reason=forged request_id=id-1",
        ]
    );
    assert!(!format!("{:?}", gate.policy).contains("secret-secret"));
}

#[test]
fn an_error_says_path_and_rule_and_no_secret() {
    let world = World::new(Dialect::Kong, 1);
    for (config, error) in [
        ("{}", "configuration: missing field `credential`"),
        (
            r#"{"credential":"hunter2"}"#,
            "credential: expected an object, found a string",
        ),
        (
            r#"{"credential":{"kind":"static","secrets":["hunter2"]}}"#,
            "credential.secrets[0]: expected an object, found a string",
        ),
        (
            r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"UNSET"}]}}"#,
            "credential.secrets[0]: the environment variable UNSET is not set",
        ),
        (
            r#"{"credential":{"kind":"static","secrets":[{"id":"a","value":"hunter2"}]}}"#,
            "credential.secrets[0]: the secret has 7 bytes; expected at least 32",
        ),
        (
            r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"B"}]},"inject":[]}"#,
            "inject: the list is empty; expected at least one entry",
        ),
        (
            r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"B"}]},"inject":[{}]}"#,
            "inject[0]: missing field `match`",
        ),
        (
            r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"B"}]},"mode":"on"}"#,
            "mode: unknown variant `on`",
        ),
    ] {
        let found = world.worker::<ServiceToken>(config).err().unwrap();
        let found = found.to_string();
        assert!(found.starts_with(error), "{found}\n{error}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
