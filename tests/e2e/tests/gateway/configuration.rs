//! Configurations that are refused, and the two forms in which a good one arrives.

use std::fs;
use std::process::Command;

use anyhow::{Result, anyhow};
use portcullis_e2e::{
    Bootstrap, Gateway, INTER_SERVICE_SECRET, JWT_SECRET_KEY, Refused, envoy_binary, filters,
    repository,
};
use serde_json::{Value, json};

use crate::common::{SEARCH, assert_problem};

/// Starts a gateway that must refuse its configuration; gives back the filter's line about it.
async fn refusal(filter: &str, edit: impl FnOnce(&mut Bootstrap) -> Result<()>) -> Result<String> {
    let error = match Gateway::with(filter).edit(edit).start().await {
        Ok(_) => return Err(anyhow!("the configuration was accepted")),
        Err(error) => error,
    };
    let refused: Refused = error.downcast()?;
    let lines = refused.output.with(&["[error]", &format!(" {filter}: ")]);
    assert_eq!(lines.len(), 1, "{refused}");
    let line = lines[0]
        .split_once(&format!(" {filter}: "))
        .map(|(_, line)| line.to_owned());
    Ok(line.unwrap_or_default())
}

/// Changes one value of the filter's configuration, by JSON pointer.
fn set(filter: &str, pointer: &str, value: Value) -> impl FnOnce(&mut Bootstrap) -> Result<()> {
    move |bootstrap| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = bootstrap.filter(filter)?.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(list) => {
                list.truncate(name.parse()?);
                list.push(value);
            }
            parent => parent[name] = value,
        }
        Ok(())
    }
}

#[tokio::test]
async fn rate_limit_names_path_value_and_rule() -> Result<()> {
    for (pointer, value, line) in [
        (
            "/limits/0/window",
            json!("5"),
            r#"limits[0].window: "5" is not a duration; expected"#,
        ),
        (
            "/limits/0/quota",
            json!(0),
            "limits[0].quota: 0 is out of range; expected 1 to 1000000000",
        ),
        ("/limits/0/quota", json!(1.5), "limits[0].quota: "),
        (
            "/limits/0/qouta",
            json!(5),
            "limits[0].qouta: unknown field `qouta`, expected one of",
        ),
        ("/limits", json!([]), "limits: the list is empty"),
        (
            "/before_auth",
            json!(["per_ip"]),
            "before_auth: unknown field",
        ),
    ] {
        let found = refusal("rate_limit", set("rate_limit", pointer, value)).await?;
        assert!(found.starts_with(line), "{found}");
    }
    Ok(())
}

#[tokio::test]
async fn jwt_auth_names_path_value_and_rule() -> Result<()> {
    for (pointer, value, line) in [
        (
            "/providers/dashboard/algorithms/1",
            json!("HS257"),
            r#"providers.dashboard.algorithms[1]: "HS257" is not an algorithm; expected one of HS256"#,
        ),
        (
            "/providers/dashboard/keys/0/secret",
            json!({ "value": "too-short" }),
            "providers.dashboard.keys[0].secret",
        ),
        (
            "/providers/dashboard/keys/0/secret",
            json!({ "env": "NO_SUCH_VARIABLE" }),
            "providers.dashboard.keys[0].secret",
        ),
        (
            "/rules/1/require/any_of",
            json!(["nobody"]),
            r#"rules[1].require.any_of[0]: "nobody""#,
        ),
        (
            "/rules/0/allow",
            json!("everyone"),
            "rules[0].allow: unknown variant `everyone`",
        ),
        ("/mode", json!("on"), "mode: unknown variant `on`"),
    ] {
        let found = refusal("jwt_auth", set("jwt_auth", pointer, value)).await?;
        assert!(
            found.starts_with(line) && !found.contains("too-short"),
            "{found}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn circuit_breaker_names_path_value_and_rule() -> Result<()> {
    for (pointer, value, line) in [
        (
            "/breakers/0/trip/consecutive_failures",
            json!(0),
            "breakers[0].trip.consecutive_failures: 0 is out of range; expected 1 to 10000",
        ),
        (
            "/breakers/0/name",
            json!("rag-service"),
            r#"breakers[0].name: "rag-service" is not a name"#,
        ),
        (
            "/breakers/0/open_for/initial",
            json!("soon"),
            r#"breakers[0].open_for.initial: "soon" is not a duration"#,
        ),
        (
            "/status/path",
            json!("/a/../b"),
            r#"status.path: "/a/../b" is not a path"#,
        ),
    ] {
        let found = refusal("circuit_breaker", set("circuit_breaker", pointer, value)).await?;
        assert!(found.starts_with(line), "{found}");
    }
    Ok(())
}

#[tokio::test]
async fn service_token_names_path_value_and_rule() -> Result<()> {
    for (pointer, value, line) in [
        (
            "/credential/kind",
            json!("mtls"),
            "credential.kind: unknown variant `mtls`",
        ),
        (
            "/credential/header",
            json!("content-length"),
            r#"credential.header: "content-length" frames"#,
        ),
        (
            "/credential/secrets/0/env",
            json!("NO_SUCH_VARIABLE"),
            "credential.secrets[0]",
        ),
        (
            "/credential/secrets/0",
            json!({ "id": "a", "value": "too-short" }),
            "credential.secrets[0]",
        ),
    ] {
        let found = refusal("service_token", set("service_token", pointer, value)).await?;
        assert!(
            found.starts_with(line) && !found.contains("too-short"),
            "{found}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn edge_names_the_plugin_too() -> Result<()> {
    for (pointer, value, line) in [
        (
            "/jwt_auth/providers/dashboard/algorithms/0",
            json!("none"),
            r#"jwt_auth.providers.dashboard.algorithms[0]: "none" is not an algorithm"#,
        ),
        (
            "/rate_limit/before_auth/1",
            json!("other"),
            r#"rate_limit.before_auth[1]: "other" is not the name"#,
        ),
        (
            "/circuit_braker",
            json!({}),
            "circuit_braker: unknown field `circuit_braker`",
        ),
    ] {
        let found = refusal("edge", set("edge", pointer, value)).await?;
        assert!(found.starts_with(line), "{found}");
    }
    Ok(())
}

/// As a person runs it: the file itself, from the repository's root.
#[tokio::test]
async fn envoy_takes_every_file_of_ours_as_it_stands() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for file in [
        "jwt_auth",
        "rate_limit",
        "circuit_breaker",
        "service_token",
        "edge",
    ] {
        let text = fs::read_to_string(repository().join("envoy").join(format!("{file}.yaml")))?;
        assert!(
            text.contains(&format!("target/filters/{file}.wasm")),
            "{file}"
        );
        // Filters under test may lie elsewhere.
        let text = text.replace("target/filters", filters().to_str().unwrap());
        let copy = dir.path().join(format!("{file}.yaml"));
        fs::write(&copy, text)?;
        let mut envoy = Command::new(envoy_binary()?);
        envoy
            .args([
                "--mode",
                "validate",
                "--disable-hot-restart",
                "--log-level",
                "warning",
                "-c",
            ])
            .arg(&copy);
        envoy.envs([
            ("JWT_SECRET_KEY", JWT_SECRET_KEY),
            ("INTER_SERVICE_SECRET", INTER_SERVICE_SECRET),
        ]);
        let output = envoy.output()?;
        let (printed, said) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        );
        assert!(
            output.status.success() && printed.contains("OK"),
            "{file}: {printed}{said}"
        );
        assert!(
            !said.to_lowercase().contains("deprecated"),
            "{file}: {said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn json_text_is_held_to_the_same_rules_as_a_struct() -> Result<()> {
    let edit = |bootstrap: &mut Bootstrap| {
        bootstrap.filter("rate_limit")?["limits"][0]["window"] = json!("5");
        bootstrap.as_json_text("rate_limit")
    };
    let found = refusal("rate_limit", edit).await?;
    assert!(
        found.starts_with(r#"limits[0].window: "5" is not a duration; expected"#),
        "{found}"
    );
    Ok(())
}

#[tokio::test]
async fn json_text_behaves_like_a_struct() -> Result<()> {
    let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
        let limit = &mut bootstrap.filter("rate_limit")?["limits"][0];
        limit["quota"] = json!(2);
        limit["window"] = json!("1h");
        bootstrap.as_json_text("rate_limit")
    });
    let gateway = gateway.start().await?;
    for remaining in [1, 0] {
        let answer = gateway.get(SEARCH).await?;
        assert_eq!(
            (answer.status, answer.number("x-ratelimit-remaining")),
            (200, Some(remaining))
        );
    }
    assert_problem(&gateway.get(SEARCH).await?, 429, "quota-exceeded");
    Ok(())
}
