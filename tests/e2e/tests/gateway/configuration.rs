//! Configurations that are refused, and the two forms in which a good one arrives.

use anyhow::{Result, anyhow};
use portcullis_e2e::{Bootstrap, Gateway, Refused};
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
    let line = lines[0].split_once(&format!(" {filter}: ")).map(|(_, line)| line.to_owned());
    Ok(line.unwrap_or_default())
}

/// Changes one value of the filter's configuration, by JSON pointer.
fn set(filter: &str, pointer: &str, value: Value) -> impl FnOnce(&mut Bootstrap) -> Result<()> {
    move |bootstrap| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = bootstrap.filter(filter)?.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(list) => list.insert(name.parse()?, value),
            parent => parent[name] = value,
        }
        Ok(())
    }
}

#[tokio::test]
async fn rate_limit_names_path_value_and_rule() -> Result<()> {
    for (pointer, value, line) in [
        ("/limits/0/window", json!("5"), r#"limits[0].window: "5" is not a duration; expected"#),
        ("/limits/0/quota", json!(0), "limits[0].quota: 0 is out of range; expected 1 to 1000000000"),
        ("/limits/0/quota", json!(1.5), "limits[0].quota: "),
        ("/limits/0/qouta", json!(5), "limits[0].qouta: unknown field `qouta`, expected one of"),
        ("/limits", json!([]), "limits: the list is empty"),
        ("/before_auth", json!(["per_ip"]), "before_auth: unknown field"),
    ] {
        let found = refusal("rate_limit", set("rate_limit", pointer, value)).await?;
        assert!(found.starts_with(line), "{found}");
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
    assert!(found.starts_with(r#"limits[0].window: "5" is not a duration; expected"#), "{found}");
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
        assert_eq!((answer.status, answer.number("x-ratelimit-remaining")), (200, Some(remaining)));
    }
    assert_problem(&gateway.get(SEARCH).await?, 429, "quota-exceeded");
    Ok(())
}
