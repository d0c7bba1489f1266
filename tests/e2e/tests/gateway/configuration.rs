//! Configurations that are refused, and our files as they stand.

use std::fs;
use std::process::Command;

use anyhow::{Result, anyhow};
use portcullis_e2e::{
    Bootstrap, Gateway, INTER_SERVICE_SECRET, JWT_SECRET_KEY, Refused, envoy_binary, filters,
    repository,
};
use serde_json::{Value, json};

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

/// One of each filter; the rules are conformance's. That of `rate_limit` comes as JSON text, the others as a `Struct`.
#[tokio::test]
async fn envoy_ends_at_a_configuration_that_is_refused_with_its_path_value_and_rule() -> Result<()>
{
    for (filter, pointer, value, line) in [
        (
            "rate_limit",
            "/limits/0/window",
            json!("5"),
            r#"limits[0].window: "5" is not a duration; expected"#,
        ),
        (
            "jwt_auth",
            "/providers/dashboard/keys/0/secret",
            json!({ "env": "NO_SUCH_VARIABLE" }),
            "providers.dashboard.keys[0].secret",
        ),
        (
            "circuit_breaker",
            "/status/path",
            json!("/a/../b"),
            r#"status.path: "/a/../b" is not a path"#,
        ),
        (
            "service_token",
            "/credential/secrets/0",
            json!({ "id": "a", "value": "too-short" }),
            "credential.secrets[0]",
        ),
        (
            "edge",
            "/rate_limit/before_auth/1",
            json!("other"),
            r#"rate_limit.before_auth[1]: "other" is not the name"#,
        ),
    ] {
        let found = refusal(filter, |bootstrap| {
            set(filter, pointer, value)(bootstrap)?;
            if filter == "rate_limit" {
                bootstrap.as_json_text(filter)?;
            }
            Ok(())
        });
        let found = found.await?;
        assert!(
            found.starts_with(line) && !found.contains("too-short"),
            "{found}"
        );
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
