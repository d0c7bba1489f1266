//! What a person on call can ask.

use portcullis_policy::{ClockUnavailable, Command, Controlled as _, Failed};

use super::*;

fn controlled() -> Gateway {
    let mut config = config();
    let token = json!({"value": "0123456789abcdef0123456789abcdef"});
    config["control"] = json!({"path": "/-/control", "token": token});
    Gateway::new(config)
}

fn carry_out(gateway: &Gateway, command: Command) -> Option<Result<Value, Failed>> {
    let done = gateway.policy.carry_out(&command, &gateway.ports());
    done.map(|done| done.map(|answer| answer.shown["jwt_auth"].clone()))
}

#[test]
fn the_state_is_that_of_each_providers_keys() {
    let gateway = controlled();
    let ready = json!({"ready": true});
    let expected = json!({"mode": "enforce", "providers": {"company": ready, "dashboard": ready}});
    assert_eq!(carry_out(&gateway, Command::State), Some(Ok(expected)));
    gateway.world.clock.set(Err(ClockUnavailable));
    let state = carry_out(&gateway, Command::State).unwrap().unwrap();
    assert_eq!(state["providers"]["company"], json!({"ready": false}));

    let mut remote = ready_remote();
    remote["control"] =
        json!({"path": "/c", "token": {"value": "0123456789abcdef0123456789abcdef"}});
    let state = carry_out(&Gateway::new(remote), Command::State)
        .unwrap()
        .unwrap();
    assert_eq!(
        state["providers"]["company"],
        json!({"ready": false, "fetched": []})
    );
}

/// With keys that are fetched, and have not been.
fn ready_remote() -> Value {
    let mut config = config();
    config["providers"]["company"]["keys"] = json!([{"remote_jwks": {
        "upstream": "idp", "authority": "id.example.com", "path": "/keys"
    }}]);
    config["providers"]["company"]["algorithms"] = json!(["RS256"]);
    config
}

#[test]
fn a_subject_is_called_alike_in_answer_and_in_line_and_is_found_by_that() {
    let gateway = controlled();
    let subject = |provider: Option<&str>| Command::Subject {
        subject: "alice".to_owned(),
        provider: provider.map(str::to_owned),
    };
    let called = carry_out(&gateway, subject(None)).unwrap().unwrap();
    let name = called["callers"]["dashboard"].as_str().unwrap().to_owned();
    assert_ne!(called["callers"]["company"], name.as_str());
    let one = carry_out(&gateway, subject(Some("dashboard")))
        .unwrap()
        .unwrap();
    assert_eq!(one, json!({"callers": {"dashboard": name}}));
    let who = carry_out(&gateway, Command::Who(name.clone()))
        .unwrap()
        .unwrap();
    assert_eq!(who, json!({"provider": "dashboard", "sub": "alice"}));
    gateway.reason(&token(&with(claims(), "exp", json!(1))));
    assert!(gateway.world.lines.borrow()[0].contains(&format!(" claimed={name} ")));
    gateway.reason(&token(&with(claims(), "scope", json!("x"))));
    assert!(gateway.world.lines.borrow()[0].contains(&format!(" caller={name} ")));
}

#[test]
fn what_is_not_known_is_named_and_what_is_not_ours_is_left_to_others() {
    let gateway = controlled();
    let nobody = Command::Subject {
        subject: "alice".to_owned(),
        provider: Some("other".to_owned()),
    };
    for command in [nobody, Command::Who("s.AAAA".to_owned())] {
        let done = carry_out(&gateway, command);
        assert!(matches!(done, Some(Err(Failed::Unknown(_)))), "{done:?}");
    }
    assert_eq!(carry_out(&gateway, Command::Limit("a".to_owned())), None);
    let without = Gateway::new(config());
    let done = carry_out(&without, Command::Who("s.AAAA".to_owned()));
    assert_eq!(done, Some(Err(Failed::Unavailable("no_names"))));
}
