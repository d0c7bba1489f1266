//! The example of RFC 9421 appendix B.2.5, and the same with what this verifier asks for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use portcullis_message_signature::{Key, members, signature_base};
use portcullis_service_token_verifier::{
    Error, RequestHead, Secret, SignatureVerifier, Verifier, content_digest_matches,
};

use crate::scene::at;

/// `test-shared-secret` (appendix B.1.5).
const SECRET: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const CREATED: i64 = 1_618_884_473;

fn verifier(components: &[&str]) -> Verifier {
    let secret = Secret::new("test-shared-secret", STANDARD.decode(SECRET).unwrap()).unwrap();
    let signatures = SignatureVerifier::new([secret]).unwrap();
    signatures
        .require(components.iter().copied())
        .unwrap()
        .into()
}

/// `test-request` (appendix B.2), without its digest, which the example's signature leaves out.
fn request(input: &str, signature: &str) -> Request<&'static str> {
    Request::post("/foo?param=Value&Pet=dog")
        .header("Host", "example.com")
        .header("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .header("Content-Type", "application/json")
        .header("Content-Length", "18")
        .header("Signature-Input", input)
        .header("Signature", signature)
        .body(r#"{"hello": "world"}"#)
        .unwrap()
}

const INPUT: &str =
    r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
const SIGNATURE: &str = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:";
const COVERED: [&str; 3] = ["date", "@authority", "content-type"];

/// Its signature is right, as this base of ours shows; but it is for no use that we know of, it does
/// not end and has no nonce, so that it could be replayed forever.
#[test]
fn the_example_is_signed_and_still_no_credential() {
    let request = request(INPUT, SIGNATURE);
    let [signed] = members(INPUT.as_bytes(), SIGNATURE.as_bytes())
        .unwrap()
        .try_into()
        .unwrap();
    let covered = signed.components().unwrap();
    let head = RequestHead::from(&request);
    let base = signature_base(&head, &covered, &signed.params()).unwrap();
    let key = Key::new(&STANDARD.decode(SECRET).unwrap());
    assert!(key.verifies(&base, &signed.signature));

    let refused = verifier(&COVERED).verify(&request, at(CREATED));
    assert_eq!(refused, Err(Error::Missing), "no tag");
    let tagged = format!(r#"{INPUT};tag="service-token""#);
    let refused = verifier(&COVERED).verify(&self::request(&tagged, SIGNATURE), at(CREATED));
    assert_eq!(refused, Err(Error::Incomplete("nonce")));
}

/// The example with our three parameters. The signature over the base that is written out here was
/// made by Python's `hmac`.
#[test]
fn the_example_with_a_tag_an_end_and_a_nonce_is_accepted() {
    let parameters = r#";created=1618884473;expires=1618884533;nonce="b25";keyid="test-shared-secret";tag="service-token""#;
    let input = format!(r#"sig-b25=("date" "@authority" "content-type"){parameters}"#);
    let signature = "sig-b25=:1xRYvoFgLTc/peTssVKnAtTXh1IH4qtSpLrlyMv43P8=:";
    let request = request(&input, signature);
    for now in [CREATED - 30, CREATED, CREATED + 90] {
        let verified = verifier(&COVERED).verify(&request, at(now)).unwrap();
        assert_eq!(verified.key_id, "test-shared-secret");
        assert!(verified.covers("date") && !verified.covers("@path"));
    }
    let refused = verifier(&COVERED).verify(&request, at(CREATED + 91));
    assert_eq!(refused, Err(Error::Expired));
    let refused = verifier(&["@path"]).verify(&request, at(CREATED));
    assert_eq!(refused, Err(Error::NotCovered("@path".to_owned())));
    let mut other = request.clone();
    other
        .headers_mut()
        .insert("date", "Tue, 20 Apr 2021 02:07:56 GMT".parse().unwrap());
    let refused = verifier(&COVERED).verify(&other, at(CREATED));
    assert_eq!(refused, Err(Error::WrongSignature));
}

/// `Content-Digest` of `test-request`.
#[test]
fn the_digest_of_the_example_is_that_of_its_body() {
    let digest = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let request = request("", "");
    assert_eq!(
        content_digest_matches(digest, request.body().as_bytes()),
        Ok(())
    );
}
