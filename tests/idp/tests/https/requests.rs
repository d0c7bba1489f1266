use portcullis_idp::{Answer, Idp};

use crate::NAME;
use crate::client::{exchange, get};

#[tokio::test]
async fn requests_are_counted_by_path() {
    let idp = Idp::start(NAME).await.unwrap();
    idp.serve("/a", Answer::Status(200));
    for target in ["/a", "/a?b=c", "/missing"] {
        get(&idp, target).await;
    }
    let count = || ["/a", "/missing", "/b", "/a?b=c"].map(|path| idp.requests(path));
    assert_eq!(count(), [2, 1, 0, 0]);
    idp.reset();
    assert_eq!(count(), [0; 4]);
    assert_eq!(idp.last_request("/a"), None);
    assert_eq!(get(&idp, "/a").await.status, 200);
    assert_eq!(count(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn the_headers_of_the_last_request_are_known() {
    let idp = Idp::start(NAME).await.unwrap();
    assert_eq!(idp.last_request("/a"), None);
    get(&idp, "/a").await;
    let request =
        "GET /a HTTP/1.1\r\nHost: h\r\nAccept: x\r\nAccept: y\r\nconnection: close\r\n\r\n";
    let (_, end) = exchange(&idp, request).await;
    end.unwrap();
    let sent = [
        ("host", "h"),
        ("accept", "x"),
        ("accept", "y"),
        ("connection", "close"),
    ];
    let sent = sent.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(idp.last_request("/a").unwrap(), sent);
}

#[tokio::test]
async fn requests_can_be_waited_for() {
    let idp = Idp::start(NAME).await.unwrap();
    let both = async {
        get(&idp, "/a").await;
        get(&idp, "/a").await;
    };
    tokio::join!(idp.wait_for("/a", 2), both);
    assert_eq!(idp.requests("/a"), 2);
    idp.wait_for("/a", 1).await;
}
