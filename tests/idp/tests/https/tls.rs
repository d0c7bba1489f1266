use portcullis_idp::Idp;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ALL_VERSIONS, AlertDescription, CertificateError, Error, ProtocolVersion,
};

use crate::NAME;
use crate::client::{connect_as, trusting};

fn reason(error: &std::io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[tokio::test]
async fn it_speaks_http_1_1_over_tls_1_2_and_1_3() {
    let idp = Idp::start(NAME).await.unwrap();
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = trusting(idp.ca_pem(), &[version]);
        let stream = connect_as(&idp, NAME, config).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(spoken));
        assert_eq!(session.alpn_protocol(), Some(b"http/1.1".as_slice()));
        // The authority itself is not sent: a client must have it.
        assert_eq!(session.peer_certificates().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_client_that_speaks_only_http_2_is_refused() {
    let idp = Idp::start(NAME).await.unwrap();
    let mut config = trusting(idp.ca_pem(), ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let error = connect_as(&idp, NAME, config).await.unwrap_err();
    let refusal = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(reason(&error), &refusal);
}

#[tokio::test]
async fn its_certificate_is_for_its_name_only() {
    let idp = Idp::start(NAME).await.unwrap();
    let config = trusting(idp.ca_pem(), ALL_VERSIONS);
    let error = connect_as(&idp, "other.example.com", config)
        .await
        .unwrap_err();
    assert!(
        matches!(
            reason(&error),
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn each_provider_has_an_authority_of_its_own() {
    let idp = Idp::start(NAME).await.unwrap();
    let other = Idp::start(NAME).await.unwrap();
    let config = trusting(other.ca_pem(), ALL_VERSIONS);
    let error = connect_as(&idp, NAME, config).await.unwrap_err();
    assert!(
        matches!(reason(&error), Error::InvalidCertificate(_)),
        "{error}"
    );
}

#[tokio::test]
async fn a_name_that_no_certificate_can_be_for_is_refused() {
    let error = Idp::start("ä.example.com").await.unwrap_err();
    assert!(error.to_string().contains("ä.example.com"), "{error}");
}
