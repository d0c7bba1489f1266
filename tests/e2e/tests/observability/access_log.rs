//! The access log of `envoy/edge.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Gateway, INTER_SERVICE_SECRET, JWT_SECRET_KEY, until};
use serde_json::Value;

use crate::scene::{QUERY, all_outcomes, edge, token};

#[tokio::test]
async fn each_request_has_a_line_that_tells_its_outcome_and_no_secret_or_query() -> Result<()> {
    let gateway = edge().await?;
    let answers = all_outcomes(&gateway).await?;
    let entries = entries(&gateway, answers.len()).await?;
    for (outcome, answer) in &answers {
        let id = answer.header("x-request-id").context("no request id")?;
        let entry = entries
            .get(id)
            .with_context(|| format!("no line of {id}"))?;
        assert_eq!(entry["status"], answer.status, "{entry}");
        assert_eq!(
            entry["limits"].as_str(),
            answer.header("ratelimit"),
            "{entry}"
        );
        assert!(entry["limits"].is_string(), "{entry}");
        let wait = answer.header("retry-after");
        assert_eq!(entry["retry_after"].as_str(), wait, "{entry}");
        let refused_for_a_while = matches!(*outcome, "limited" | "breaker open");
        assert_eq!(wait.is_some(), refused_for_a_while, "{outcome}: {entry}");
        let details = match *outcome {
            "forwarded" | "failed" => "via_upstream",
            "unauthenticated" => "jwt_auth{no_token}",
            "forbidden" => "jwt_auth{no_rule}",
            "breaker open" => "circuit_breaker{rag_service}",
            _ => "rate_limit{per_ip}",
        };
        assert_eq!(entry["details"], details, "{outcome}: {entry}");
        let forwarded = details == "via_upstream";
        assert_eq!(entry["upstream"].is_string(), forwarded, "{entry}");
        assert_eq!(entry["upstream_us"].is_u64(), forwarded, "{entry}");
        assert!(
            entry["upstream_us"].as_u64() <= entry["response_us"].as_u64(),
            "{entry}"
        );
        assert!(entry["duration_ms"].is_u64(), "{entry}");
        assert!(entry["duration_us"].as_u64() > Some(0), "{entry}");
        assert_eq!(entry["method"], "GET", "{entry}");
        assert_eq!(entry["client"], "127.0.0.1", "{entry}");
        let path = entry["path"].as_str().context("no path")?;
        assert!(path.starts_with('/') && !path.contains('?'), "{entry}");
        // Why is for the log alone.
        assert!(!answer.body.contains("per_ip"), "{answer:?}");
    }
    let token = token();
    for secret in [&token, JWT_SECRET_KEY, INTER_SERVICE_SECRET, "private"] {
        assert_eq!(gateway.output().with(&[secret]), [""; 0]);
    }
    Ok(())
}

/// Its client has it as a 200 that ends in the middle.
#[tokio::test]
async fn an_answer_that_breaks_off_is_found_by_its_words_and_has_a_duration() -> Result<()> {
    let gateway = edge().await?;
    gateway.faults().set(Fault::break_off().times(1));
    let answer = gateway.get_as(&token(), QUERY).await;
    assert!(answer.is_err(), "it has an end: {answer:?}");
    let entry = lines(&gateway, 1).await?.remove(0);
    let entry: Value = serde_json::from_str(&entry)?;
    let words = "plugin=circuit_breaker event=broken_off breaker=rag_service cause=connection";
    until("the filter's line", async || {
        Ok(gateway.output().with(&[words]).len() == 1)
    })
    .await?;
    let details = entry["details"].as_str().context("no details")?;
    assert!(
        details.starts_with("upstream_reset_after_response_started{"),
        "{entry}"
    );
    assert_eq!(
        (&entry["status"], entry["duration_us"].is_null()),
        (&200.into(), true),
        "{entry}"
    );
    assert!(entry["duration_ms"].is_u64(), "{entry}");
    let told = r#"circuit_breaker_broken_off{breaker="rag_service"}"#;
    gateway.admin().wait_for_metric(told, 1).await
}

#[tokio::test]
async fn whatever_a_client_sends_a_line_is_one_json_object() -> Result<()> {
    let gateway = edge().await?;
    let ugly = [
        r#"/api/v1/rag/"quoted""#,
        r"/api/v1/rag/back\slash",
        "/api/v1/rag/%22%0a%7b",
        "/api/v1/rag/\u{e4}",
    ];
    let id = r#"x-request-id: ","status":200,"#;
    for target in ugly {
        gateway.raw_get(target, &[id]).await?;
    }
    let lines = lines(&gateway, ugly.len()).await?;
    let expected: BTreeSet<&str> = FIELDS.into_iter().collect();
    for line in lines {
        let entry: Value = serde_json::from_str(&line).context(line.clone())?;
        let fields = entry.as_object().context("no object")?.keys();
        assert_eq!(
            fields.map(String::as_str).collect::<BTreeSet<_>>(),
            expected
        );
        assert!(!line.contains(r#"\",\"status"#), "{line}");
    }
    Ok(())
}

/// What docs/observability.md says that there is.
const FIELDS: [&str; 18] = [
    "bytes_received",
    "bytes_sent",
    "client",
    "details",
    "duration_ms",
    "duration_us",
    "flags",
    "limits",
    "method",
    "path",
    "protocol",
    "request_id",
    "response_us",
    "retry_after",
    "status",
    "time",
    "upstream",
    "upstream_us",
];

/// The access log by request ids.
async fn entries(gateway: &Gateway, count: usize) -> Result<BTreeMap<String, Value>> {
    let mut entries = BTreeMap::new();
    for line in lines(gateway, count).await? {
        let entry: Value = serde_json::from_str(&line).context(line)?;
        let id = entry["request_id"].as_str().context("no request id")?;
        entries.insert(id.to_owned(), entry);
    }
    assert_eq!(entries.len(), count, "request ids are not unique");
    Ok(entries)
}

/// The lines of the access log, once there are so many: all that is printed but Envoy's own lines.
async fn lines(gateway: &Gateway, count: usize) -> Result<Vec<String>> {
    let lines = || {
        let mut lines = gateway.output().lines();
        lines.retain(|line| !line.starts_with('['));
        lines
    };
    until(&format!("{count} lines in the access log"), async || {
        Ok(lines().len() >= count)
    })
    .await?;
    let lines = lines();
    assert_eq!(lines.len(), count, "{lines:#?}");
    Ok(lines)
}
