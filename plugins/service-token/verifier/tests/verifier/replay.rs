//! `kind: http_signature`: a signature is good once, also when others stand beside it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use http::Request;
use portcullis_message_signature::members;
use portcullis_service_token_verifier::{Error, SignatureVerifier, Verified, Verifier};

use crate::scene::{NOW, Signing, at, get, secrets};

fn signatures() -> SignatureVerifier {
    SignatureVerifier::new(secrets(&["new"])).unwrap()
}

#[test]
fn a_nonce_is_good_once() {
    let verifier = Verifier::from(signatures());
    let first = Signing::new("n").get();
    assert!(verifier.verify(&first, at(NOW)).is_ok());
    assert_eq!(verifier.verify(&first, at(NOW)), Err(Error::Replayed));
    // Also on another path, as long as the first is good.
    let mut other = get("/other", &[("host", "rag.example")]);
    Signing::between("n", NOW, NOW + 200).sign(&mut other);
    assert_eq!(verifier.verify(&other, at(NOW + 90)), Err(Error::Replayed));
    assert!(verifier.verify(&other, at(NOW + 91)).is_ok(), "forgotten");
    assert_eq!(verifier.verify(&first, at(NOW + 91)), Err(Error::Expired));
    assert!(
        verifier
            .verify(&Signing::new("m").get(), at(NOW + 90))
            .is_err()
    );
}

#[test]
fn a_nonce_is_remembered_no_longer_than_its_signature_may_be_old() {
    let verifier = Verifier::from(signatures());
    let long = |nonce, created| Signing::between(nonce, created, created + 3_600).get();
    assert!(verifier.verify(&long("n", NOW), at(NOW)).is_ok());
    let again = long("n", NOW + 300);
    assert_eq!(verifier.verify(&again, at(NOW + 330)), Err(Error::Replayed));
    assert!(verifier.verify(&again, at(NOW + 331)).is_ok());
}

#[test]
fn when_there_is_no_room_requests_are_refused_and_no_nonce_is_forgotten() {
    let verifier = Verifier::from(signatures().nonces(NonZeroUsize::new(3).unwrap()));
    let verify = |nonce: &str, now| verifier.verify(&Signing::new(nonce).get(), at(now));
    for nonce in ["a", "b", "c"] {
        assert!(verify(nonce, NOW).is_ok());
    }
    let full = verify("d", NOW + 90).unwrap_err();
    assert_eq!((full.status().as_u16(), &full), (503, &Error::NoncesFull));
    for nonce in ["a", "b", "c"] {
        assert_eq!(verify(nonce, NOW + 90), Err(Error::Replayed));
    }
    let later = Signing::between("d", NOW + 91, NOW + 151).get();
    assert!(verifier.verify(&later, at(NOW + 91)).is_ok());
}

#[test]
fn who_can_not_sign_uses_no_nonce_up() {
    let verifier = Verifier::from(signatures().nonces(NonZeroUsize::MIN));
    let forged = Signing {
        id: "forged",
        ..Signing::new("n")
    };
    assert_eq!(
        verifier.verify(&forged.get(), at(NOW)),
        Err(Error::WrongSignature)
    );
    // Nor does one that is out of its time.
    let late = Signing::between("n", NOW - 400, NOW - 300);
    assert_eq!(verifier.verify(&late.get(), at(NOW)), Err(Error::Expired));
    assert!(verifier.verify(&Signing::new("n").get(), at(NOW)).is_ok());
}

#[test]
fn of_many_threads_with_one_request_one_gets_through() {
    let verifier = Arc::new(Verifier::from(signatures()));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let verifier = Arc::clone(&verifier);
            let request = Signing::new("n").get();
            std::thread::spawn(move || verifier.verify(&request, at(NOW)).is_ok())
        })
        .collect();
    let passed = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(passed.filter(|passed| *passed).count(), 1);
}

/// What is said of a request with these signatures, one behind the other.
fn all(signings: &[Signing]) -> Result<Verified, Error> {
    let mut request = get("/a?b=c", &[("host", "rag.example")]);
    for signing in signings {
        signing.sign(&mut request);
    }
    Verifier::from(signatures()).verify(&request, at(NOW))
}

/// A forged one that is tagged as ours, under a label of its own.
fn forged(label: &'static str) -> Signing {
    Signing {
        label,
        id: "forged",
        ..Signing::new("f")
    }
}

#[test]
fn ours_is_found_among_others_in_one_line_or_in_several() {
    let clients = Signing {
        label: "client",
        ..Signing::with(r#";keyid="k""#)
    };
    assert!(all(&[clients.clone(), Signing::new("n")]).is_ok());
    assert!(all(&[Signing::new("n"), clients.clone()]).is_ok());
    assert_eq!(all(std::slice::from_ref(&clients)), Err(Error::Missing));
    let mut request = get("/a?b=c", &[("host", "rag.example")]);
    let (ours, theirs) = (
        Signing::new("n").members(&request),
        clients.members(&request),
    );
    for (name, ours, theirs) in [
        ("signature-input", ours.0, theirs.0),
        ("signature", ours.1, theirs.1),
    ] {
        let line = format!("{theirs}, {ours}, x=1");
        request.headers_mut().insert(name, line.parse().unwrap());
    }
    assert!(
        Verifier::from(signatures())
            .verify(&request, at(NOW))
            .is_ok()
    );
    let relabelled = Signing {
        label: "gate.2",
        ..Signing::new("n")
    };
    assert!(all(&[relabelled]).is_ok(), "by its tag, not by its label");
}

#[test]
fn of_those_with_our_tag_the_last_four_are_looked_at() {
    let ours = Signing::new("n");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(forged);
    let among = [a.clone(), ours.clone(), b.clone(), c.clone(), d.clone()];
    assert!(all(&among).is_ok());
    let before = [ours, a.clone(), b, c, d];
    assert_eq!(all(&before), Err(Error::WrongSignature));
    assert!(all(&before[..4]).is_ok());
    // What is said is what the one that got furthest lacks.
    let late = Signing {
        label: "late",
        ..Signing::between("n", NOW - 200, NOW - 100)
    };
    assert_eq!(all(&[late, a]), Err(Error::Expired));
}

#[test]
fn fields_that_can_not_be_read_hold_no_signature() {
    let signed = Signing::new("n").get();
    let with = |name: &str, value: &str| {
        let mut request = get("/a?b=c", &[("host", "rag.example")]);
        *request.headers_mut() = signed.headers().clone();
        request.headers_mut().insert(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
        Verifier::from(signatures())
            .verify(&request, at(NOW))
            .map(|_| ())
    };
    let malformed = || Err(Error::Malformed("signature-input or signature"));
    let long = format!("x={}", "a".repeat(8_191));
    for (name, value, expected) in [
        ("signature-input", "", Err(Error::Missing)),
        ("signature", "", Err(Error::Missing)),
        ("signature", "service-token=x", Err(Error::Missing)),
        (
            "signature",
            "service-token=:AAAA:",
            Err(Error::WrongSignature),
        ),
        ("signature", "service-token=::", Err(Error::WrongSignature)),
        ("signature", "other=:AAAA:", Err(Error::Missing)),
        ("signature", "service-token=:AAAA", malformed()),
        ("signature-input", "service-token=(", malformed()),
        ("signature-input", "service-token=1", Err(Error::Missing)),
        ("signature-input", &long, Err(Error::TooLarge)),
        ("signature", &long, Err(Error::TooLarge)),
    ] {
        assert_eq!(with(name, value), expected, "{name}: {value}");
    }
    assert_eq!(
        Verifier::from(signatures()).verify(&get("/", &[]), at(NOW)),
        Err(Error::Missing)
    );
}

#[test]
fn a_flipped_bit_in_any_part_is_noticed() {
    let signed = Signing::new("n").get();
    // What is signed, and the signature.
    let bytes = |request: &Request<()>| {
        let field = |name| request.headers()[name].as_bytes().to_vec();
        let all = members(&field("signature-input"), &field("signature")).unwrap_or_default();
        all.first()
            .map(|signed| (signed.params(), signed.signature.clone()))
    };
    let mut flipped = 0;
    for name in ["signature-input", "signature"] {
        let value = signed.headers()[name].as_bytes().to_vec();
        for index in 0..value.len() {
            for bit in 0..7 {
                let mut value = value.clone();
                value[index] ^= 1 << bit;
                let Ok(value) = http::HeaderValue::from_bytes(&value) else {
                    continue;
                };
                let mut request = get("/a?b=c", &[]);
                *request.headers_mut() = signed.headers().clone();
                request.headers_mut().insert(name, value);
                if bytes(&request) == bytes(&signed) {
                    // The pad bits of base64, which are not to be looked at (RFC 9651 section
                    // 4.2.7).
                    continue;
                }
                let verified = Verifier::from(signatures()).verify(&request, at(NOW));
                assert!(verified.is_err(), "{name}: byte {index}, bit {bit}");
                flipped += 1;
            }
        }
    }
    assert!(flipped > 1_000, "{flipped}");
}
