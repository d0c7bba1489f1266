use std::io::ErrorKind;
use std::time::Duration;

use portcullis_idp::{Answer, Idp};
use serde_json::Value;
use tokio::time::Instant;

use crate::NAME;
use crate::client::{Connection, exchange, get};

/// A provider of which only `/keys` answers.
async fn with_keys(answer: Answer) -> Idp {
    let idp = Idp::start(NAME).await.unwrap();
    idp.serve("/keys", answer);
    idp
}

#[tokio::test]
async fn a_path_answers_what_it_was_last_told_to() {
    let idp = with_keys(Answer::Json(r#"{"keys":[]}"#.to_owned())).await;
    let mut connection = Connection::to(&idp).await;
    let keys = connection.get("/keys").await.unwrap();
    assert_eq!((keys.status, &*keys.body), (200, &br#"{"keys":[]}"#[..]));
    assert_eq!(keys.header("content-type"), Some("application/json"));
    assert_eq!(keys.header("content-length"), Some("11"));

    idp.serve("/keys", Answer::Json(r#"{"keys":[1]}"#.to_owned()));
    let keys = connection.get("/keys?query").await.unwrap();
    assert_eq!(keys.body, br#"{"keys":[1]}"#[..]);
    for path in ["/", "/keys/", "/Keys", "/%6beys"] {
        assert_eq!(connection.get(path).await.unwrap().status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_status_has_no_body() {
    let idp = Idp::start(NAME).await.unwrap();
    for status in [200, 204, 304, 404, 429, 500, 503] {
        idp.serve("/keys", Answer::Status(status));
        let answer = get(&idp, "/keys").await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
}

#[tokio::test]
async fn a_redirect_says_where_to() {
    let idp = with_keys(Answer::Redirect("https://elsewhere.example/".to_owned())).await;
    let answer = get(&idp, "/keys").await;
    assert_eq!(answer.status, 302);
    assert_eq!(
        answer.header("location"),
        Some("https://elsewhere.example/")
    );
}

#[tokio::test]
async fn garbage_arrives_as_it_is() {
    let garbage = [b"\0\xff\xfe{".as_slice(), &[0x80; 100]].concat();
    let idp = with_keys(Answer::Garbage(garbage.clone())).await;
    let answer = get(&idp, "/keys").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body, garbage);
}

#[tokio::test]
async fn a_slow_answer_takes_its_time() {
    let (first, second) = (Duration::from_millis(30), Duration::from_millis(20));
    let later = Answer::Slow(second, Box::new(Answer::Status(418)));
    let idp = with_keys(Answer::Slow(first, Box::new(later))).await;
    let mut connection = Connection::to(&idp).await;
    let start = Instant::now();
    assert_eq!(connection.get("/keys").await.unwrap().status, 418);
    assert!(start.elapsed() >= first + second);
}

#[tokio::test]
async fn a_huge_answer_is_a_key_set_of_unannounced_length() {
    let idp = with_keys(Answer::Huge(5_000_000)).await;
    let answer = get(&idp, "/keys").await;
    assert_eq!((answer.status, answer.body.len()), (200, 5_000_000));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length"), None);
    let keys: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(keys["keys"][0]["kty"], "RSA");
}

#[tokio::test]
async fn a_cut_answer_arrives_as_far_as_it_goes() {
    for text in ["", r#"{"keys":["#, &"long ".repeat(5_000)] {
        let idp = with_keys(Answer::Cut(text.to_owned())).await;
        let request = format!("GET /keys HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
        let (answer, end) = exchange(&idp, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = format!("content-length: {}", text.len() + 1);
        assert!(head.lines().any(|line| line == length), "{head}");
        assert_eq!(body, text);
        // Nor does TLS say good-bye.
        assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(Connection::to(&idp).await.get("/keys").await.is_err());
    }
}

#[tokio::test]
async fn a_path_that_hangs_takes_no_other_along() {
    let idp = with_keys(Answer::Hang).await;
    idp.serve("/other", Answer::Status(200));
    let mut stuck = Connection::to(&idp).await;
    let hanging = tokio::spawn(async move { stuck.get("/keys").await });
    idp.wait_for("/keys", 1).await;
    idp.serve("/keys", Answer::Status(200));
    // Answers that were asked for later, one of them to the same question.
    for path in ["/other", "/keys"] {
        assert_eq!(get(&idp, path).await.status, 200);
    }
    assert!(!hanging.is_finished());
    idp.stop().await;
    assert!(hanging.await.unwrap().is_err());
}
