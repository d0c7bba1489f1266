//! The fixed keys: those of the RFCs where there are any, else made from a name.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rsa::{BoxedUint, PrivateKey as RsaPrivateKey};
use sha2::{Digest as _, Sha256};

use crate::key::{Key, Kind};
use crate::rfc;

impl Key {
    /// The key for an algorithm of [`ALGORITHMS`](crate::ALGORITHMS). Those that share a type of
    /// key share the key: a secret of 64 bytes, an RSA key of 2048 bits.
    pub fn of(algorithm: &str) -> &'static Key {
        &pair(algorithm)[0]
    }

    /// Another key of the same type and size, to forge with.
    pub fn other(algorithm: &str) -> &'static Key {
        &pair(algorithm)[1]
    }

    /// An RSA key that is shorter than RFC 7518 section 3.3 allows. It can sign all but PS512,
    /// which does not fit into it.
    pub fn rsa_1024() -> &'static Key {
        static KEY: LazyLock<Key> = LazyLock::new(|| rsa(RSA_1024));
        &KEY
    }
}

/// The two keys that fit an algorithm.
fn pair(algorithm: &str) -> &'static [Key; 2] {
    static SECRET: LazyLock<[Key; 2]> = LazyLock::new(|| {
        let of = decoded(rfc::HMAC_KEY);
        [of, seeded::<64>("the other secret").to_vec()].map(|bytes| Key(Kind::Secret(bytes)))
    });
    static RSA: LazyLock<[Key; 2]> = LazyLock::new(|| [RSA_RFC_7515, RSA_RFC_7520].map(rsa));
    static P256: LazyLock<[Key; 2]> = LazyLock::new(|| {
        [decoded(P256_RFC_7515), scalar::<32>("the other P-256 key")].map(|d| {
            Key(Kind::P256(
                p256::ecdsa::SigningKey::from_slice(&d).expect("a P-256 scalar"),
            ))
        })
    });
    static P384: LazyLock<[Key; 2]> = LazyLock::new(|| {
        ["the P-384 key", "the other P-384 key"].map(|name| {
            let d = scalar::<48>(name);
            Key(Kind::P384(
                p384::ecdsa::SigningKey::from_slice(&d).expect("a P-384 scalar"),
            ))
        })
    });
    static P521: LazyLock<[Key; 2]> = LazyLock::new(|| {
        [P521_RFC_7515, P521_RFC_7520].map(|d| {
            Key(Kind::P521(
                p521::ecdsa::SigningKey::from_slice(&decoded(d)).expect("a P-521 scalar"),
            ))
        })
    });
    static ED25519: LazyLock<[Key; 2]> = LazyLock::new(|| {
        let of = decoded(ED25519_RFC_8037).try_into().expect("32 bytes");
        [of, seeded::<32>("the other Ed25519 key")]
            .map(|d| Key(Kind::Ed25519(ed25519_dalek::SigningKey::from_bytes(&d))))
    });
    match algorithm {
        "HS256" | "HS384" | "HS512" => &SECRET,
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => &RSA,
        "ES256" => &P256,
        "ES384" => &P384,
        "ES512" => &P521,
        "EdDSA" => &ED25519,
        _ => panic!("no algorithm of this issuer: {algorithm:?}"),
    }
}

/// Everything else of an RSA key follows from its primes; the public exponent is 65537.
fn rsa(primes: [&str; 2]) -> Key {
    let primes = primes.map(|prime| BoxedUint::from_be_slice_vartime(&decoded(prime)));
    let key = RsaPrivateKey::from_primes(primes.to_vec(), BoxedUint::from(65537u32));
    Key(Kind::Rsa(Box::new(key.expect("two primes"))))
}

/// A scalar that is below the order of every curve, since its first byte is 0.
fn scalar<const N: usize>(name: &str) -> Vec<u8> {
    let mut bytes = seeded::<N>(name);
    bytes[0] = 0;
    bytes.to_vec()
}

fn seeded<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    ChaCha20Rng::from_seed(Sha256::digest(name).into()).fill_bytes(&mut bytes);
    bytes
}

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// RFC 7515 A.2.
const RSA_RFC_7515: [&str; 2] = [
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_\
     Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7Tje\
     LQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
];

/// RFC 7520 section 3.4.
const RSA_RFC_7520: [&str; 2] = [
    "3Slxg_DwTXJcb6095RoXygQCAZ5RnAvZlno1yhHtnUex_fp7AZ_9nRaO7HX_-SFfGQeutao2TDjDAWU4Vupk8rw9\
     JR0AzZ0N2fvuIAmr_WCsmGpeNqQnev1T7IyEsnh8UMt-n5CafhkikzhEsrmndH6LxOrvRJlsPp6Zv8bUq0k",
    "uKE2dh-cTf6ERF4k4e_jy78GfPYUIaUyoSSJuBzp3Cubk3OCqs6grT8bR_cu0Dm1MZwWmtdqDyI95HrUeq3MP15v\
     MMON8lHTeZu2lmKvwqW7anV5UzhM1iZ7z4yMkuUwFWoBvyY898EXvRD-hdqRxHlSqAZ192zB3pVFJ0s7pFc",
];

/// Made for these tests.
const RSA_1024: [&str; 2] = [
    "8ZGKGxcQ3jhR2Txqm9kWp5qHi169IGxlDrlLWcGUXz4MYkX0aoOg77mZdHEgKsZluqvsUpNKmzVNFo519bEZBw",
    "8XOjO_3IvxLfP50ZPq1rWZ1E9jgVxAXOlhEGj84q9fx6H0iHv1roq3gbigTiH0eFUkHAkqC_7WOtXJC7OoEOGQ",
];

/// RFC 7515 A.3.
const P256_RFC_7515: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";

/// RFC 7515 A.4.
const P521_RFC_7515: &str =
    "AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C";

/// RFC 7520 section 3.2.
const P521_RFC_7520: &str =
    "AAhRON2r9cqXX1hg-RoI6R1tX5p2rUAYdmpHZoC1XNM56KtscrX6zbKipQrCW9CGZH3T4ubpnoTKLDYJ_fF3_rJt";

/// RFC 8037 A.1.
const ED25519_RFC_8037: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
