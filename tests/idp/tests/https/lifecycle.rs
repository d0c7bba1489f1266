use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use portcullis_idp::{Answer, Idp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::NAME;
use crate::client::{Connection, connect, get};

async fn refuses(port: u16) -> bool {
    let connection = TcpStream::connect(("127.0.0.1", port)).await;
    connection.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn an_outage_ends_connections_and_refuses_new_ones() {
    let idp = Idp::start(NAME).await.unwrap();
    idp.serve("/keys", Answer::Status(200));
    let mut used = Connection::to(&idp).await;
    assert_eq!(used.get("/keys").await.unwrap().status, 200);
    let mut idle = connect(&idp).await;
    let mut silent = TcpStream::connect(("127.0.0.1", idp.port())).await.unwrap();

    for _ in 0..2 {
        idp.stop().await;
        assert!(refuses(idp.port()).await);
    }
    assert!(used.get("/keys").await.is_err());
    // Whether these end or are reset depends on how much of them the provider had read.
    assert!(idle.read(&mut [0]).await.is_err());
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_port_is_kept_during_an_outage() {
    // No connection is made, since one that was closed would keep the port too.
    let idp = Idp::start(NAME).await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, idp.port()));
    for _ in 0..2 {
        idp.stop().await;
        let taken = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }
    idp.resume().await.unwrap();
    assert_eq!(get(&idp, "/").await.status, 404);
}

#[tokio::test]
async fn after_an_outage_all_is_as_before() {
    let idp = Idp::start(NAME).await.unwrap();
    let (port, ca) = (idp.port(), idp.ca_pem().to_owned());
    idp.serve("/keys", Answer::Status(200));
    for n in 1..=5 {
        let mut kept = Connection::to(&idp).await;
        assert_eq!(kept.get("/keys").await.unwrap().status, 200);
        assert_eq!(idp.requests("/keys"), n);
        idp.stop().await;
        for _ in 0..2 {
            idp.resume().await.unwrap();
        }
        assert_eq!((idp.port(), idp.ca_pem()), (port, &*ca));
        assert!(kept.get("/keys").await.is_err());
    }
}

#[tokio::test]
async fn an_answer_under_way_does_not_hold_up_an_outage() {
    let idp = Idp::start(NAME).await.unwrap();
    idp.serve("/keys", Answer::Huge(100_000_000));
    let mut stream = connect(&idp).await;
    let request = format!("GET /keys HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // The rest is never read.
    stream.read_exact(&mut [0; 100]).await.unwrap();
    idp.stop().await;
    assert!(refuses(idp.port()).await);
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let idp = Idp::start(NAME).await.unwrap();
    let port = idp.port();
    let mut stream = connect(&idp).await;
    drop(idp);
    // That the connection ends is what can be waited for; the port is closed before.
    assert!(stream.read(&mut [0]).await.is_err());
    assert!(refuses(port).await);
}

#[tokio::test]
async fn providers_run_side_by_side_and_share_nothing() {
    let (one, two) = (
        Idp::start("one.example.com").await.unwrap(),
        Idp::start(NAME).await.unwrap(),
    );
    one.serve("/keys", Answer::Status(500));
    two.serve("/keys", Answer::Status(200));
    one.stop().await;
    assert_eq!(get(&two, "/keys").await.status, 200);
    assert_eq!((one.requests("/keys"), two.requests("/keys")), (0, 1));
}
