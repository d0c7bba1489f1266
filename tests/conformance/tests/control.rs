//! The control path, as policy, as single filter and in `edge`, on both gateways.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::token::{token, token_with};
use portcullis_conformance::{CONTROL_TOKEN, PolicySubject, Sent, Subject, Then, everywhere};
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_rate_limit::RateLimit;
use portcullis_sim::Dialect;
use serde_json::{Value, json};

const CONTROL: &str = r#""control":{"path":"/-/control","token":{"env":"CONTROL_TOKEN"}}"#;

fn limits() -> String {
    format!(
        r#"{{{CONTROL},"capacity":64,"limits":[
            {{"name":"per_ip","key":["client_address"],"quota":2,"window":"1m","algorithm":"fixed_window"}}]}}"#
    )
}

fn breakers() -> String {
    format!(r#"{{{CONTROL},"breakers":[{{"name":"rag","trip":{{"consecutive_failures":2}}}}]}}"#)
}

fn tokens() -> String {
    format!(
        r#"{{{CONTROL},"realm":"rag","providers":{{"dashboard":{{
            "issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
            "keys":[{{"secret":{{"env":"JWT_SECRET_KEY"}},"kid":"k1"}}]}}}},
        "rules":[{{"match":{{"paths":[{{"prefix":"/admin"}}]}},
                "require":{{"any_of":["dashboard"],"scopes":["admin"]}}}},
            {{"require":{{"any_of":["dashboard"]}}}}]}}"#
    )
}

fn all() -> String {
    let plugin = |config: String| config.replace(&format!("{CONTROL},"), "");
    format!(
        r#"{{{CONTROL},"ready":{{"path":"/-/ready"}},"jwt_auth":{},"rate_limit":{},"circuit_breaker":{}}}"#,
        plugin(tokens()),
        plugin(limits()),
        plugin(breakers())
    )
}

/// Asks with the token that opens it; returns status and body.
fn control(subject: &mut dyn Subject, method: &str, query: &str) -> (u16, Value) {
    let sent = Sent::new(method, &format!("/-/control{query}"));
    let sent = sent.with("authorization", &format!("Bearer {CONTROL_TOKEN}"));
    let seen = subject.ask(sent);
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    let body = serde_json::from_str(&seen.body).unwrap_or_else(|e| panic!("{e}: {:?}", seen.body));
    (seen.status(), body)
}

/// Carries something out that can be.
fn done(subject: &mut dyn Subject, method: &str, query: &str) -> Value {
    let (status, body) = control(subject, method, query);
    assert_eq!(status, 200, "{query}: {body}");
    body
}

fn last_line(subject: &dyn Subject, event: &str) -> String {
    let lines = subject.logs();
    let word = format!("event={event} ");
    let line = lines.iter().rev().find(|line| line.contains(&word));
    line.unwrap_or_else(|| panic!("no {event} in {lines:?}"))
        .clone()
}

fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split(' ').next()
}

#[test]
fn a_client_that_is_limited_is_found_by_its_line_and_reset() {
    everywhere::<RateLimit>(&limits(), |subject| {
        for status in [200, 200, 429] {
            let seen = subject.ask(Sent::get("/a"));
            assert_eq!(seen.refused.unwrap_or(200), status);
        }
        let line = last_line(subject, "refused");
        let caller = field(&line, "caller").expect("a caller").to_owned();
        let left = done(subject, "GET", &format!("?caller={caller}"));
        assert_eq!(left["rate_limit"]["per_ip"]["remaining"], 0, "{left}");
        let reset = done(subject, "POST", "?action=reset&limit=per_ip&key=192.0.2.1");
        assert_eq!(reset["rate_limit"]["per_ip"]["caller"], caller.as_str());
        let line = last_line(subject, "control");
        assert!(line.contains("action=reset limit=per_ip"), "{line}");
        assert_eq!(field(&line, "caller"), Some(caller.as_str()), "{line}");
        assert!(
            line.contains("result=done method=POST peer=192.0.2.1"),
            "{line}"
        );
        assert_eq!(subject.ask(Sent::get("/a")).refused, None);
        assert_eq!(subject.metric("rate_limit_limited.limit.per_ip"), 1);
    });
}

#[test]
fn who_asks_most_is_known_a_second_later() {
    everywhere::<RateLimit>(&limits(), |subject| {
        for peer in ["192.0.2.9", "192.0.2.1", "192.0.2.9", "192.0.2.9"] {
            subject.ask(Sent::get("/a").from(peer));
        }
        subject.advance_millis(1000);
        subject.tick();
        let state = done(subject, "GET", "");
        let busiest = &state["rate_limit"]["per_ip"]["busiest"];
        let first = &busiest["keys"][0];
        assert_eq!(first["named"], "192.0.2.9", "{state}");
        let counted = ["asked", "refused", "error"].map(|of| first[of].clone());
        assert_eq!(counted, [3, 1, 0].map(Value::from), "{state}");
    });
}

#[test]
fn a_breaker_is_opened_closed_forced_and_released() {
    everywhere::<CircuitBreaker>(&breakers(), |subject| {
        let passes = |subject: &mut dyn Subject| {
            let (seen, handle) = subject.begin(Sent::get("/a"));
            subject.finish(handle, Then::Upstream(200));
            seen.refused
        };
        let shown = done(subject, "POST", "?action=open&breaker=rag");
        assert_eq!(shown["circuit_breaker"]["rag"]["reason"], "control");
        assert_eq!(passes(subject), Some(503));
        done(subject, "POST", "?action=close&breaker=rag");
        assert_eq!(passes(subject), None);
        let forced = done(
            subject,
            "POST",
            "?action=force&breaker=rag&state=open&for=10m",
        );
        assert_eq!(forced["circuit_breaker"]["rag"]["forced"], true);
        assert_eq!(passes(subject), Some(503));
        let line = last_line(subject, "refused");
        assert!(line.contains("reason=forced retry_after=600"), "{line}");
        subject.advance_millis(600_000);
        assert_eq!(passes(subject), None, "its time is over");
        done(
            subject,
            "POST",
            "?action=force&breaker=rag&state=closed&for=1h",
        );
        for _ in 0..4 {
            let (seen, handle) = subject.begin(Sent::get("/a"));
            assert_eq!(seen.refused, None);
            subject.finish(handle, Then::Upstream(500));
        }
        let released = done(subject, "POST", "?action=release&breaker=rag");
        assert_eq!(released["circuit_breaker"]["rag"]["state"], "closed");
        let (status, body) = control(subject, "POST", "?action=open&breaker=other");
        assert_eq!(
            (status, &body["detail"]),
            (404, &json!("\"other\" is no breaker here; there is rag"))
        );
    });
}

#[test]
fn a_refused_token_is_known_by_its_mark_and_its_caller_by_a_name_that_is_looked_up() {
    everywhere::<JwtAuth>(&tokens(), |subject| {
        let expired = token_with(json!({ "sub": "alice", "exp": 1 }));
        let ask = |subject: &mut dyn Subject, path: &str, token: &str| {
            let sent = Sent::get(path).with("authorization", &format!("Bearer {token}"));
            subject.ask(sent).status()
        };
        assert_eq!(ask(subject, "/a", &expired), 401);
        let line = last_line(subject, "refused");
        let claimed = field(&line, "claimed")
            .expect("whose it says it is")
            .to_owned();
        assert!(
            !line.contains("alice") && field(&line, "caller").is_none(),
            "{line}"
        );
        assert_eq!(field(&line, "token").map(str::len), Some(16), "{line}");
        assert!(
            !line.contains(expired.rsplit('.').next().unwrap()),
            "{line}"
        );
        let who = done(subject, "GET", &format!("?caller={claimed}"));
        assert_eq!(
            who["jwt_auth"],
            json!({ "provider": "dashboard", "sub": "alice" })
        );
        let called = done(subject, "GET", "?sub=alice");
        assert_eq!(
            called["jwt_auth"]["callers"],
            json!({ "dashboard": claimed })
        );

        assert_eq!(ask(subject, "/admin", &token()), 403);
        let line = last_line(subject, "refused");
        let caller = field(&line, "caller").expect("who it is").to_owned();
        assert_eq!(
            (caller.as_str(), field(&line, "claimed")),
            (claimed.as_str(), None)
        );
        assert_eq!(field(&line, "token").map(str::len), Some(16), "{line}");

        let state = done(subject, "GET", "");
        assert_eq!(state["jwt_auth"]["providers"]["dashboard"]["ready"], true);
        let (status, _) = control(subject, "GET", "?caller=s.AAAA");
        assert_eq!(status, 404);
    });
}

#[test]
fn a_subject_is_in_the_log_where_the_configuration_allows_it() {
    let config = tokens().replace(&format!("{CONTROL},"), r#""log_subject":true,"#);
    everywhere::<JwtAuth>(&config, |subject| {
        let expired = token_with(json!({ "sub": "alice\nx", "exp": 1 }));
        let sent = Sent::get("/a").with("authorization", &format!("Bearer {expired}"));
        assert_eq!(subject.ask(sent).status(), 401);
        let line = last_line(subject, "refused");
        assert!(line.contains(r#" claimed="alice\x0ax" "#), "{line}");
    });
    let config = tokens().replace(&format!("{CONTROL},"), "");
    everywhere::<JwtAuth>(&config, |subject| {
        let expired = token_with(json!({ "sub": "alice", "exp": 1 }));
        let sent = Sent::get("/a").with("authorization", &format!("Bearer {expired}"));
        assert_eq!(subject.ask(sent).status(), 401);
        let line = last_line(subject, "refused");
        assert_eq!(
            (field(&line, "claimed"), field(&line, "caller")),
            (None, None)
        );
    });
}

#[test]
fn whoever_lacks_the_token_changes_nothing_and_is_told_of() {
    for method in ["GET", "POST", "OPTIONS"] {
        everywhere::<Edge>(&all(), |subject| {
            for (name, value) in [
                ("x-none", String::new()),
                ("authorization", format!("Bearer {}", token())),
                ("authorization", format!("Basic {CONTROL_TOKEN}")),
                ("authorization", format!("Bearer {CONTROL_TOKEN}x")),
                ("x-authorization", format!("Bearer {CONTROL_TOKEN}")),
            ] {
                let sent = Sent::new(method, "/-/control?action=open&breaker=rag");
                let seen = subject.ask(sent.with(name, &value));
                assert_eq!(seen.status(), 401, "{value}");
                let challenge = seen.header("www-authenticate");
                assert_eq!(challenge, Some("Bearer realm=\"portcullis-control\""));
            }
            assert_eq!(subject.metric("control_refused"), 5);
            assert_eq!(subject.metric("control_used"), 0);
            let state = done(subject, "GET", "?breaker=rag");
            assert_eq!(state["circuit_breaker"]["rag"]["state"], "closed");
            assert!(
                !subject
                    .logs()
                    .iter()
                    .any(|line| line.contains(CONTROL_TOKEN))
            );
        });
    }
}

#[test]
fn edge_shows_all_its_plugins_and_counts_no_question() {
    everywhere::<Edge>(&all(), |subject| {
        for _ in 0..3 {
            let state = done(subject, "GET", "");
            let plugins: Vec<_> = state.as_object().unwrap().keys().cloned().collect();
            assert_eq!(plugins, ["circuit_breaker", "jwt_auth", "rate_limit"]);
        }
        let (status, body) = control(subject, "GET", "?nonsense=1");
        assert_eq!(
            (status, &body["detail"]),
            (400, &json!("\"nonsense\" is no parameter of this"))
        );
        let seen =
            subject.ask(Sent::get("/a").with("authorization", &format!("Bearer {}", token())));
        assert_eq!(seen.refused, None, "no limit has counted the questions");
        assert_eq!(subject.metric("control_used"), 4);
    });
}

#[test]
fn a_plugin_that_is_off_still_answers_so_that_its_token_goes_no_further() {
    let off = |config: String| config.replacen('{', r#"{"mode":"off","#, 1);
    everywhere::<RateLimit>(&off(limits()), |subject| {
        assert_eq!(
            done(subject, "GET", "")["rate_limit"]["per_ip"]["mode"],
            "off"
        );
    });
    everywhere::<CircuitBreaker>(&off(breakers()), |subject| {
        assert_eq!(
            done(subject, "GET", "")["circuit_breaker"]["rag"]["mode"],
            "off"
        );
    });
    everywhere::<JwtAuth>(&off(tokens()), |subject| {
        assert_eq!(done(subject, "GET", "")["jwt_auth"]["mode"], "off");
    });
}

#[test]
fn what_is_configured_wrongly_beside_it_is_named() {
    let told = |config: &str| {
        let policy = PolicySubject::<Edge>::new(Dialect::Kong, config);
        policy.err().map(|error| error.to_string())
    };
    let secret = r#""service_token":{"credential":{"kind":"static","secrets":[{"id":"a","env":"CONTROL_TOKEN"}]}}"#;
    let nested = all().replace(&format!("{CONTROL},"), "");
    let nested = nested.replace(
        r#""rate_limit":{"#,
        &format!(r#""rate_limit":{{{CONTROL},"#),
    );
    for (config, error) in [
        (
            all().replacen('{', &format!("{{{secret},"), 1),
            "control.token: every backend is shown it by service_token; expected a secret of its own",
        ),
        (
            all().replace(r#""path":"/-/ready""#, r#""path":"/-/control""#),
            "control.path: \"/-/control\" is the path of `ready` too; expected another",
        ),
        (
            nested,
            "rate_limit.control: in edge it stands beside the plugins, and is for all of them",
        ),
    ] {
        assert_eq!(told(&config).as_deref(), Some(error));
    }
    assert_eq!(told(&all()), None);
}

#[test]
fn a_request_that_shows_the_token_elsewhere_goes_nowhere() {
    let limits = limits();
    everywhere::<RateLimit>(&limits, |subject| {
        for path in ["//-/control", "/-/Control", "/-/control;x", "/a"] {
            let sent = Sent::new("POST", path);
            let sent = sent.with("authorization", &format!("Bearer {CONTROL_TOKEN}"));
            assert_eq!(subject.ask(sent).status(), 404, "{path}");
        }
        assert_eq!(subject.metric("control_refused"), 4);
        assert_eq!(subject.ask(Sent::get("/a")).refused, None);
    });
}
