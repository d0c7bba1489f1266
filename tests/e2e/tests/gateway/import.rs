//! What `portcullis import` makes of Envoy's own filters beside these, each judging the same requests in one gateway. The files are
//! those of `cli/tests/import`, where a test holds that the one is made of the other.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use portcullis_e2e::{Answer, Gateway, INTER_SERVICE_SECRET, Placement, Token, repository};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{HEALTH, SEARCH};
use crate::migration::NATIVE;

/// The key of the fixture, and as its key set writes it.
const SECRET: &str = "not-for-anybodys-eyes-0123456789abcdef";
const WRITTEN: &str = "bm90LWZvci1hbnlib2R5cy1leWVzLTAxMjM0NTY3ODlhYmNkZWY";

const TAKEN_OVER: [&str; 3] = [
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.local_ratelimit",
    "envoy.filters.http.header_mutation",
];

fn file(name: &str) -> Result<Value> {
    let path = repository().join("cli/tests/import").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_saphyr::from_str(&text)?)
}

async fn both() -> Result<Gateway> {
    let theirs = file("native.envoy.yaml")?;
    let ours = file("native.envoy.edge.out")?;
    let gateway = Gateway::with("edge")
        .workers(2)
        .env("DASHBOARD_JWT_SECRET", WRITTEN)
        .edit(|bootstrap| {
            *bootstrap.filter("edge")? = ours;
            *bootstrap.environment("edge")? =
                json!(["DASHBOARD_JWT_SECRET", "INTER_SERVICE_SECRET"]);
            let filters = bootstrap.http_filters()?;
            // The shipped one's: preflights are to come as far as the filters, and no name is to be there twice.
            let is_left = |filter: &Value| {
                filter["name"] != "envoy.filters.http.cors" && filter["name"] != TAKEN_OVER[2]
            };
            filters.retain(is_left);
            let native = theirs["http_filters"].as_array().context("filters")?;
            for name in TAKEN_OVER.iter().rev() {
                let filter = native.iter().find(|filter| filter["name"] == *name);
                bootstrap.put(Placement::After, "edge", filter.context(*name)?.clone())?;
            }
            let off = json!({
                "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true,
            });
            let routes = bootstrap.routes()?;
            let mut native = routes.last().context("a route")?.clone();
            for route in routes.iter_mut() {
                for name in TAKEN_OVER {
                    route["typed_per_filter_config"][name] = off.clone();
                }
            }
            let (name, value) = NATIVE;
            native["match"] = json!({
                "prefix": "/", "headers": [{ "name": name, "string_match": { "exact": value } }],
            });
            native["typed_per_filter_config"] = json!({ "edge": off });
            routes.insert(0, native);
            Ok(())
        });
    gateway.start().await
}

/// The statuses of Envoy's filters and of ours, and what each sent on of the headers that are looked at.
async fn asked(
    gateway: &Gateway,
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<[(u16, Vec<String>); 2]> {
    let one = async |headers: &[(&str, &str)]| {
        gateway.requests().clear();
        let request = gateway.request(method.clone(), path);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let status = Answer::to(request).await?.status;
        let received = gateway.requests().all();
        let seen = received.first().map(|received| {
            let names = ["x-user-id", "x-service-token"];
            names.map(|name| received.values(name).concat()).to_vec()
        });
        anyhow::Ok((status, seen.unwrap_or_default()))
    };
    Ok([
        one(&[headers, &[NATIVE]].concat()).await?,
        one(headers).await?,
    ])
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

/// What is asked, with these headers, and whether it passes.
type Row = (
    &'static str,
    Method,
    &'static str,
    Vec<(String, String)>,
    bool,
);

/// What a row is of: a token in the place where it belongs, or headers.
fn bearer(token: &str) -> Vec<(String, String)> {
    vec![("authorization".to_owned(), format!("Bearer {token}"))]
}

fn header(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_imported_answers_as_envoys_own_filters_or_as_the_report_says() -> Result<()> {
    let gateway = both().await?;
    let good = || Token::of("alice");
    let signed = |token: Token| bearer(&token.signed(SECRET));
    let with = |name: &str, value: Value| signed(good().claim(name, value));
    let of_header = |name: &str, value: Value| signed(good().header(name, value));
    let token = good().signed(SECRET);
    let tampered = {
        let (head, signature) = token.rsplit_once('.').context("a token")?;
        let payload = Token::of("root").signed(SECRET);
        let payload = payload.split('.').nth(1).context("a payload")?.to_owned();
        let head = head.split('.').next().context("a header")?;
        format!("{head}.{payload}.{signature}")
    };
    let cut = token.get(..token.len() - 4).context("a token")?.to_owned();
    let preflight: Vec<(String, String)> = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "GET"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let get = Method::GET;
    let mut forged = signed(good());
    forged.extend(header("x-user-id", "root"));
    let mut with_service_token = signed(good());
    with_service_token.extend(header("x-service-token", "guessed"));

    // The same from both.
    let same: Vec<Row> = vec![
        ("good", get.clone(), SEARCH, signed(good()), true),
        (
            "another subject",
            get.clone(),
            SEARCH,
            with("sub", json!("bob")),
            true,
        ),
        (
            "a list of audiences",
            get.clone(),
            SEARCH,
            with("aud", json!(["x", "rag-api"])),
            true,
        ),
        (
            "just expired",
            get.clone(),
            SEARCH,
            with("exp", json!(now() - 30)),
            true,
        ),
        (
            "a little early",
            get.clone(),
            SEARCH,
            with("nbf", json!(now() + 30)),
            true,
        ),
        (
            "a header that a client made up",
            get.clone(),
            SEARCH,
            forged,
            true,
        ),
        (
            "a service token that a client made up",
            get.clone(),
            SEARCH,
            with_service_token,
            true,
        ),
        ("the route that is open", get.clone(), HEALTH, vec![], true),
        (
            "a good token there",
            get.clone(),
            HEALTH,
            signed(good()),
            true,
        ),
        (
            "a bad token there",
            get.clone(),
            HEALTH,
            bearer("x.y.z"),
            true,
        ),
        ("another path", get.clone(), "/other", vec![], true),
        (
            "another path with a bad token",
            get.clone(),
            "/other",
            bearer(&tampered),
            true,
        ),
        (
            "a preflight",
            Method::OPTIONS,
            SEARCH,
            preflight.clone(),
            true,
        ),
        (
            "a preflight elsewhere",
            Method::OPTIONS,
            "/other",
            preflight,
            true,
        ),
        ("no token", get.clone(), SEARCH, vec![], false),
        (
            "no token, another path below",
            get.clone(),
            "/api/v1/rag/collections",
            vec![],
            false,
        ),
        (
            "no token, POST",
            Method::POST,
            "/api/v1/rag/query",
            vec![],
            false,
        ),
        (
            "OPTIONS that is no preflight",
            Method::OPTIONS,
            SEARCH,
            vec![],
            false,
        ),
        (
            "expired",
            get.clone(),
            SEARCH,
            with("exp", json!(now() - 90)),
            false,
        ),
        (
            "long expired",
            get.clone(),
            SEARCH,
            with("exp", json!(1)),
            false,
        ),
        (
            "early",
            get.clone(),
            SEARCH,
            with("nbf", json!(now() + 90)),
            false,
        ),
        (
            "another issuer",
            get.clone(),
            SEARCH,
            with("iss", json!("https://x")),
            false,
        ),
        (
            "no issuer",
            get.clone(),
            SEARCH,
            with("iss", Value::Null),
            false,
        ),
        (
            "alg none",
            get.clone(),
            SEARCH,
            of_header("alg", json!("none")),
            false,
        ),
        (
            "unsigned",
            get.clone(),
            SEARCH,
            bearer(&good().header("alg", json!("none")).unsigned()),
            false,
        ),
        (
            "another alg",
            get.clone(),
            SEARCH,
            of_header("alg", json!("HS384")),
            false,
        ),
        (
            "an alg of public keys",
            get.clone(),
            SEARCH,
            of_header("alg", json!("RS256")),
            false,
        ),
        (
            "no alg",
            get.clone(),
            SEARCH,
            of_header("alg", Value::Null),
            false,
        ),
        (
            "another secret",
            get.clone(),
            SEARCH,
            bearer(&good().signed("another-secret-0123456789abcdef0123")),
            false,
        ),
        ("tampered", get.clone(), SEARCH, bearer(&tampered), false),
        ("cut", get.clone(), SEARCH, bearer(&cut), false),
        ("no token at all", get.clone(), SEARCH, bearer("x"), false),
        (
            "three parts of nothing",
            get.clone(),
            SEARCH,
            bearer("a.b.c"),
            false,
        ),
        (
            "another scheme",
            get.clone(),
            SEARCH,
            header("authorization", &format!("Basic {token}")),
            false,
        ),
        (
            "a token in another header",
            get.clone(),
            SEARCH,
            header("x-token", &token),
            false,
        ),
        (
            "a token in the query",
            get.clone(),
            "/api/v1/rag/search?q=a&token=x",
            vec![],
            false,
        ),
    ];
    assert!(same.len() >= 30, "{}", same.len());
    let mut admitted = [0_u32; 2];
    for (about, method, path, headers, passes) in &same {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (&**a, &**b)).collect();
        let answers = asked(&gateway, method, path, &headers).await?;
        let [theirs, ours] = &answers;
        assert_eq!(theirs, ours, "{about}");
        assert_eq!(!theirs.1.is_empty(), *passes, "{about}: {answers:?}");
        if *passes {
            assert_eq!(theirs.1[1], INTER_SERVICE_SECRET, "{about}");
            admitted = admitted.map(|count| count + 1);
        }
    }

    // As the report says.
    let different = [
        (
            "another audience",
            SEARCH,
            with("aud", json!("x")),
            403,
            401,
        ),
        ("no expiry", SEARCH, with("exp", Value::Null), 200, 401),
        ("a prefix is text", "/api/v1/ragged", vec![], 401, 404),
    ];
    for (about, path, headers, theirs, ours) in different {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (&**a, &**b)).collect();
        let answers = asked(&gateway, &get, path, &headers).await?;
        let statuses = answers.each_ref().map(|(status, _)| *status);
        assert_eq!(statuses, [theirs, ours], "{about}");
        for (count, (_, seen)) in admitted.iter_mut().zip(&answers) {
            *count += u32::from(!seen.is_empty());
        }
    }

    // Over the limit: 40 for all, whoever they were.
    let good = format!("Bearer {token}");
    for _ in 0..40 {
        let answers = asked(&gateway, &get, SEARCH, &[("authorization", &good)]).await?;
        for (count, (status, seen)) in admitted.iter_mut().zip(&answers) {
            *count += u32::from(!seen.is_empty());
            assert!(
                *status == 200 || *status == 429 && *count == 40,
                "{status} {count}"
            );
        }
    }
    assert_eq!(admitted, [40, 40]);
    let refused = asked(&gateway, &get, HEALTH, &[]).await?;
    assert_eq!(
        refused.map(|(status, _)| status),
        [429, 429],
        "another path"
    );
    let refused = asked(&gateway, &get, SEARCH, &[]).await?;
    assert_eq!(
        refused.map(|(status, _)| status),
        [401, 401],
        "no token: not counted"
    );
    Ok(())
}
