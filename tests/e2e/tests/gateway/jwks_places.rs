//! Tokens elsewhere than in `authorization`, and what the backend sees of them.

use anyhow::Result;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use portcullis_e2e::Gateway;
use portcullis_idp::Idp;
use serde_json::json;

use crate::common::SEARCH;
use crate::jwks_scene::{
    HOST, KEYS, RAG, assert_sound, every_second, gateway, good_set, good_token, jwt_auth, until_all,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_cookie_or_in_the_query_is_taken_out_and_all_else_stays() -> Result<()> {
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, good_set());
    let gateway = gateway("edge", &idp, &[(RAG, every_second(RAG))]).edit(|bootstrap| {
        let provider = &mut jwt_auth(bootstrap, "edge")?["providers"][RAG];
        provider["token_from"] = json!([
            { "header": "authorization", "scheme": "Bearer" },
            { "cookie": "session" },
            { "query": "access_token" },
        ]);
        Ok(())
    });
    let gateway = gateway.start().await?;
    until_all(&gateway, 200, good_token).await?;

    let token = good_token();
    for (sent, left) in [
        (
            format!("theme=dark; session={token}; lang=en"),
            vec!["theme=dark; lang=en"],
        ),
        (format!("session={token}"), vec![]),
        (format!("sessions=1;session={token}"), vec!["sessions=1"]),
    ] {
        let answer = gateway.get_with(SEARCH, &[("cookie", &sent)]).await?;
        assert_eq!(answer.status, 200, "{sent}: {answer:?}");
        let received = &gateway.requests().last(1)[0];
        assert_eq!(received.values("cookie"), left, "{sent}");
        assert_eq!(received.only_value("x-user-id"), Some("alice"), "{sent}");
    }
    // Browsers send each cookie for itself over HTTP/2; Envoy joins them.
    let sent = ["theme=dark", &format!("session={token}"), "lang=en"];
    assert_eq!(over_http2(&gateway, &sent).await?, 200);
    assert_eq!(
        gateway.requests().last(1)[0].values("cookie"),
        ["theme=dark; lang=en"]
    );

    for (sent, left) in [
        (
            format!("q=circuit+breaker&access_token={token}&limit=3"),
            "q=circuit+breaker&limit=3",
        ),
        (format!("access_token={token}&q=a%26b"), "q=a%26b"),
        (format!("q=a&access%5Ftoken={token}"), "q=a"),
    ] {
        let answer = gateway.get(&format!("/api/v1/rag/search?{sent}")).await?;
        assert_eq!(answer.status, 200, "{sent}: {answer:?}");
        let received = &gateway.requests().last(1)[0];
        assert_eq!(received.path, "/api/v1/rag/search", "{sent}");
        assert_eq!(received.query.as_deref(), Some(left), "{sent}");
        assert_eq!(received.only_value("x-user-id"), Some("alice"), "{sent}");
    }
    for received in gateway.requests().all() {
        assert!(!format!("{received:?}").contains(&token), "{received:?}");
    }
    assert_eq!(
        gateway.output().with(&[&token]),
        [""; 0],
        "a token in a log"
    );

    // Two tokens have two holders.
    let passed = gateway.requests().total();
    let cookie = format!("session={token}");
    for (target, headers) in [
        (
            format!("{SEARCH}&access_token={token}"),
            vec![("cookie", cookie.as_str())],
        ),
        (
            format!("{SEARCH}&access_token={token}&ACCESS_TOKEN=x"),
            vec![],
        ),
        (
            SEARCH.to_owned(),
            vec![("cookie", cookie.as_str()), ("cookie", cookie.as_str())],
        ),
    ] {
        let answer = gateway.get_with(&target, &headers).await?;
        assert_eq!(answer.status, 400, "{target} {answer:?}");
    }
    assert_eq!(gateway.requests().total(), passed);
    assert_sound(&gateway);
    Ok(())
}

/// The status of a request with each of these cookies in a field of its own (RFC 9113 section
/// 8.2.3).
async fn over_http2(gateway: &Gateway, cookies: &[&str]) -> Result<u16> {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = http::Request::get(gateway.url(SEARCH));
    let request = cookies
        .iter()
        .fold(request, |request, cookie| request.header("cookie", *cookie));
    let response = client.request(request.body(String::new())?).await?;
    Ok(response.status().as_u16())
}
