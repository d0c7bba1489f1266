use std::cell::Cell;
use std::net::IpAddr;

use super::*;
use crate::config::parse_text;
use crate::test_ports::{Nothing, Recorded};
use crate::{Abilities, Environment, Headers, MetricRegistry, PeerAddress, Span};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Client;
impl Environment for Client {
    fn var(&self, name: &str) -> Option<String> {
        (name == "TOKEN").then(|| format!("{TOKEN}\n"))
    }
}
impl PeerAddress for Client {
    fn peer(&self) -> Option<IpAddr> {
        "192.0.2.7".parse().ok()
    }
}

/// Answers with what it was asked.
struct Echo(Cell<bool>);
impl Controlled for Echo {
    fn carry_out(&self, command: &Command, _: &Ports<'_>) -> Option<Result<Answer, Failed>> {
        self.0.set(true);
        match command {
            Command::Breaker(name) if name == "gone" => {
                Some(Err(Failed::Unknown("no breaker \"gone\"".to_owned())))
            }
            Command::Limit(_) => None,
            other => Some(Ok(
                Answer::of("echo", format!("{other:?}").into()).about("k.1".to_owned())
            )),
        }
    }
}

fn control() -> Control {
    build(r#"{"path": "/-/control", "token": {"env": "TOKEN"}}"#).unwrap()
}

fn build(config: &str) -> Result<Control, ConfigError> {
    let mut setup = Setup {
        environment: &Client,
        metrics: &mut MetricRegistry::default(),
        abilities: Abilities::NATIVE,
    };
    Control::new(parse_text(config.as_bytes())?, "edge", &mut setup)
}

struct Seen {
    reply: Option<LocalReply>,
    carried_out: bool,
    lines: Vec<String>,
    counted: Vec<usize>,
}

fn ask(headers: &[(&str, &str)]) -> Seen {
    let (telemetry, echo) = (Recorded::default(), Echo(Cell::new(false)));
    let ports = Ports {
        clock: &Nothing,
        entropy: &Nothing,
        store: &Nothing,
        telemetry: &telemetry,
    };
    let headers = Headers::from_pairs(headers.iter().copied());
    let reply = control().answer(&Request::new(&headers, &Client), &echo, &ports);
    Seen {
        reply,
        carried_out: echo.0.get(),
        lines: telemetry.lines.into_inner(),
        counted: telemetry.counted.into_inner(),
    }
}

fn bearer(method: &str, target: &str) -> Seen {
    let token = format!("Bearer {TOKEN}");
    ask(&[
        (":method", method),
        (":path", target),
        ("authorization", &token),
        ("x-request-id", "r-1"),
    ])
}

#[test]
fn only_the_path_itself_is_answered() {
    for target in ["/-/control", "/-/control/", "/-/control?limit=a"] {
        assert!(bearer("GET", target).reply.is_some(), "{target}");
    }
    let others = [
        "/",
        "/-/controls",
        "/-/control/x",
        "/-/Control",
        "//-/control",
        "/-/control;x",
    ];
    for target in others {
        let seen = ask(&[(":method", "GET"), (":path", target)]);
        assert!(seen.reply.is_none() && seen.lines.is_empty(), "{target}");
    }
    // What shows the token was meant for it, and does not go on to whoever answers there.
    for target in others {
        for line in [
            format!("Bearer {TOKEN}"),
            TOKEN.to_owned(),
            format!("Token  {TOKEN} "),
        ] {
            let seen = ask(&[
                (":method", "POST"),
                (":path", target),
                ("authorization", "x"),
                ("authorization", &line),
            ]);
            assert_eq!(seen.reply.unwrap().status, 404, "{target} {line}");
            assert!(!seen.carried_out && seen.counted == [1]);
            assert!(seen.lines[0].contains("event=control_refused reason=other_path"));
        }
    }
}

#[test]
fn without_the_token_nothing_is_carried_out_and_the_attempt_is_logged() {
    let longer = format!("Bearer {TOKEN}0");
    let right = format!("Bearer {TOKEN}");
    let basic = format!("Basic {TOKEN}");
    for (lines, reason) in [
        (&[][..], "no_token"),
        (&[""], "no_token"),
        (&["Bearer"], "no_token"),
        (&["Bearer "], "wrong_token"),
        (&[basic.as_str()], "no_token"),
        (&[TOKEN], "no_token"),
        (&["Bearer 0123456789abcdef0123456789abcdeF"], "wrong_token"),
        (&[longer.as_str()], "wrong_token"),
        (&["Bearer 0123456789abcdef0123456789abcde"], "wrong_token"),
        (&[right.as_str(), right.as_str()], "several_tokens"),
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let mut headers = vec![
                (":method", method),
                (":path", "/-/control?action=open&breaker=a"),
            ];
            headers.extend(lines.iter().map(|line| ("authorization", *line)));
            let seen = ask(&headers);
            let reply = seen.reply.unwrap();
            assert_eq!(reply.status, 401, "{lines:?}");
            assert!(!seen.carried_out && seen.counted == [1], "{lines:?}");
            let line = format!(
                "plugin=edge event=control_refused reason={reason} method={method} peer=192.0.2.7"
            );
            assert_eq!(seen.lines, [line], "{lines:?}");
        }
    }
    // The scheme's case does not matter (RFC 9110 section 11.1).
    let right = format!("bearer  {TOKEN}");
    let seen = ask(&[
        (":method", "GET"),
        (":path", "/-/control"),
        ("authorization", &right),
    ]);
    assert_eq!(seen.reply.unwrap().status, 200);
}

#[test]
fn each_use_is_logged_with_what_was_asked_and_by_whom() {
    for (method, query, said) in [
        ("GET", "", "action=state caller=k.1 result=done"),
        ("HEAD", "", "action=state caller=k.1 result=done"),
        ("GET", "?limit=a", "action=limit limit=a result=unknown"),
        (
            "GET",
            "?breaker=gone",
            "action=breaker breaker=gone result=unknown",
        ),
        ("GET", "?key=secret", "action=key caller=k.1 result=done"),
        ("GET", "?sub=alice", "action=subject caller=k.1 result=done"),
        (
            "POST",
            "?action=reset&limit=a&key=secret",
            "action=reset limit=a caller=k.1 result=done",
        ),
        (
            "POST",
            "?action=force&breaker=b&state=open&for=10m",
            "action=force breaker=b state=open for=600s caller=k.1 result=done",
        ),
        (
            "POST",
            "?action=close&breaker=a%0Ab",
            "action=close breaker=\"a\\x0ab\" caller=k.1 result=done",
        ),
        ("POST", "?nothing", "action=none result=invalid"),
        ("PUT", "?limit=a", "action=none result=method"),
    ] {
        let seen = bearer(method, &format!("/-/control{query}"));
        let line = format!(
            "plugin=edge event=control {said} method={method} peer=192.0.2.7 request_id=r-1"
        );
        assert_eq!(seen.lines, [line], "{method} {query}");
        assert_eq!(seen.counted, [0], "{method} {query}");
    }
}

#[test]
fn words_are_read_as_they_are_meant() {
    let key = |limit: Option<&str>, values: &[&str]| KeyNamed::Values {
        limit: limit.map(str::to_owned),
        values: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
    };
    let caller = |name: &str| KeyNamed::Caller(name.to_owned());
    let turn = |turn: Turn| Command::Turn {
        breaker: "b".to_owned(),
        turn,
    };
    let subject = |provider: Option<&str>| Command::Subject {
        subject: "a b".to_owned(),
        provider: provider.map(str::to_owned),
    };
    for (method, query, command) in [
        ("GET", "", Command::State),
        ("GET", "?", Command::State),
        ("GET", "?limit=a", Command::Limit("a".to_owned())),
        ("GET", "?breaker=b", Command::Breaker("b".to_owned())),
        ("GET", "?key=a+b%26c", Command::Key(key(None, &["a b&c"]))),
        (
            "GET",
            "?key=1&limit=l&key=2",
            Command::Key(key(Some("l"), &["1", "2"])),
        ),
        ("GET", "?caller=k.12", Command::Key(caller("k.12"))),
        ("GET", "?caller=s.12", Command::Who("s.12".to_owned())),
        ("GET", "?sub=a+b", subject(None)),
        ("GET", "?provider=p&sub=a%20b", subject(Some("p"))),
        (
            "POST",
            "?action=reset&key=1",
            Command::Reset(key(None, &["1"])),
        ),
        (
            "POST",
            "?action=reset&limit=all",
            Command::Reset(key(Some("all"), &[])),
        ),
        (
            "POST",
            "?caller=k.1&action=reset",
            Command::Reset(caller("k.1")),
        ),
        ("POST", "?action=open&breaker=b", turn(Turn::Open)),
        ("POST", "?action=close&breaker=b", turn(Turn::Close)),
        ("POST", "?action=release&breaker=b", turn(Turn::Release)),
        (
            "POST",
            "?action=force&breaker=b&state=closed&for=24h",
            turn(Turn::HoldClosed(Span::from_secs(86_400))),
        ),
    ] {
        let reply = bearer(method, &format!("/-/control{query}")).reply.unwrap();
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        match command {
            Command::Limit(_) => assert_eq!(reply.status, 404, "{query}"),
            _ => assert_eq!(body["echo"], format!("{command:?}"), "{query}"),
        }
    }
}

#[test]
fn what_makes_no_sense_is_said_and_changes_nothing() {
    for (method, query, detail) in [
        ("GET", "?limits=a", "\"limits\" is no parameter of this"),
        ("GET", "?limit=a&limit=b", "`limit` is there twice"),
        ("GET", "?limit=", "`limit` is empty"),
        ("GET", "?limit=%ff", "`limit` is no text"),
        ("GET", "?%ff", "a parameter's name is no text"),
        (
            "GET",
            "?breaker=a&limit=b",
            "\"limit\" is no parameter of this",
        ),
        (
            "GET",
            "?action=reset&key=1",
            "\"action\" is no parameter of this",
        ),
        (
            "POST",
            "",
            "no `action`; expected action=reset, open, close, force or release",
        ),
        (
            "POST",
            "?action=stop",
            "\"stop\" is no action; expected action=reset, open, close, force or release",
        ),
        (
            "POST",
            "?action=reset",
            "expected `key`, once for each part of the limit's key, or `caller`",
        ),
        ("POST", "?action=open", "no `breaker`; expected its name"),
        (
            "POST",
            "?action=open&breaker=b&for=1m",
            "\"for\" is no parameter of this",
        ),
        (
            "POST",
            "?action=force&breaker=b&state=open",
            "no `for`; expected how long, such as 10m, and at most 24h",
        ),
        (
            "POST",
            "?action=force&breaker=b&state=open&for=25h",
            "for: longer than 24h",
        ),
        (
            "POST",
            "?action=force&breaker=b&for=1m",
            "expected state=open or state=closed",
        ),
    ] {
        let seen = bearer(method, &format!("/-/control{query}"));
        let reply = seen.reply.unwrap();
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            (reply.status, &body["detail"]),
            (400, &detail.into()),
            "{query}"
        );
        assert!(!seen.carried_out, "{query}");
    }
    let token = format!("Bearer {TOKEN}");
    let seen = ask(&[
        (":method", "POST"),
        (":path", "/-/control?action=open&breaker=b"),
        ("authorization", &token),
        ("content-length", "2"),
    ]);
    assert_eq!(seen.reply.unwrap().status, 400);
    assert!(!seen.carried_out);
}

#[test]
fn a_token_that_could_be_guessed_is_refused_and_never_shown() {
    for (config, error) in [
        (
            r#"{"path": "/c", "token": {"value": "hunter2"}}"#,
            "control.token: the secret has 7 bytes; expected at least 32",
        ),
        (
            r#"{"path": "/c", "token": {"env": "OTHER"}}"#,
            "control.token: the environment variable OTHER is not set or not shown to the filter",
        ),
        (
            r#"{"path": "/c", "token": "hunter2"}"#,
            "token: expected an object",
        ),
        (r#"{"path": "c", "token": {"env": "TOKEN"}}"#, "path: "),
    ] {
        let found = build(config).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    assert!(!format!("{:?}", control()).contains(TOKEN));
}

#[test]
fn a_caller_has_one_name_that_only_the_same_token_reads() {
    let names = CallerNames::of(&secret("0123456789abcdef0123456789abcdef"));
    let others = CallerNames::of(&secret("0123456789abcdef0123456789abcdeF"));
    let name = names.name("main", "alice");
    assert_eq!(name, names.name("main", "alice"));
    assert!(name.starts_with("s.") && !name.contains("alice"));
    assert_eq!(
        names.who(&name),
        Some(("main".to_owned(), "alice".to_owned()))
    );
    assert_eq!(others.who(&name), None);
    for other in [
        others.name("main", "alice"),
        names.name("main", "alicf"),
        names.name("other", "alice"),
    ] {
        assert_ne!(name, other);
    }
    for none in ["", "s.", "s.x", "k.0", &name[2..], &format!("{name}A")] {
        assert_eq!(names.who(none), None, "{none}");
    }
    let provider = "p".repeat(64);
    for subject in ["", "x\0y", "é".repeat(54).as_str()] {
        let name = names.name(&provider, subject);
        assert_eq!(names.who(&name).unwrap().1, subject);
        assert!(name.len() <= 256, "{}", name.len());
    }
    let long = "é".repeat(450);
    let others = [format!("{long}x"), "é".repeat(55), "é".repeat(451)];
    let name = names.name(&provider, &long);
    let (_, found) = names.who(&name).unwrap();
    let (beginning, _) = found.split_once('…').unwrap();
    assert!(
        long.starts_with(beginning) && found.len() <= 108 && name.len() <= 256,
        "{found}"
    );
    for other in others {
        assert_ne!(names.name(&provider, &other), name, "{other}");
    }
}

fn secret(text: &str) -> Secret {
    let config = format!(r#"{{"value": "{text}"}}"#);
    let config: crate::config::SecretConfig = serde_json::from_str(&config).unwrap();
    config.resolve(SecretUse::HeaderValue, &Client).unwrap()
}
