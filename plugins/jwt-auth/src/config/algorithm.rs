//! Signature algorithms.

use portcullis_policy::config::text_type;

/// The signature algorithms, each with its names (RFC 7518 section 3.1, RFC 8037 section 3.1,
/// RFC 9864 section 2.2).
macro_rules! algorithms {
    ($($(#[$doc:meta])* $name:ident = $word:literal $(or $other:literal)?,)*) => {
        /// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Algorithm { $($(#[$doc])* $name,)* }

        impl Algorithm {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The algorithm of this name, to the letter.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                AlgorithmName::find(name).map(|found| found.algorithm)
            }
        }

        impl AlgorithmName {
            /// All of them.
            const ALL: &[Self] = &[
                $(
                    Self { algorithm: Algorithm::$name, name: $word },
                    $(Self { algorithm: Algorithm::$name, name: $other },)?
                )*
            ];
        }

        text_type!(AlgorithmName, "a signature algorithm", "enum": [$($word $(, $other)?),*]);
    };
}

algorithms! {
    /// HMAC with SHA-256.
    Hs256 = "HS256",
    /// HMAC with SHA-384.
    Hs384 = "HS384",
    /// HMAC with SHA-512.
    Hs512 = "HS512",
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = "RS256",
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 = "RS384",
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 = "RS512",
    /// RSASSA-PSS with SHA-256.
    Ps256 = "PS256",
    /// RSASSA-PSS with SHA-384.
    Ps384 = "PS384",
    /// RSASSA-PSS with SHA-512.
    Ps512 = "PS512",
    /// ECDSA on P-256 with SHA-256.
    Es256 = "ES256",
    /// ECDSA on P-384 with SHA-384.
    Es384 = "ES384",
    /// ECDSA on P-521 with SHA-512.
    Es512 = "ES512",
    /// EdDSA on Ed25519, the only curve of the older name that is known here.
    EdDsa = "EdDSA" or "Ed25519",
}

/// An algorithm, by one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmName {
    /// What it means.
    pub algorithm: Algorithm,
    name: &'static str,
}

impl AlgorithmName {
    /// The name, as it was written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|known| known.name == name).copied()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Self::find(text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|known| known.name).collect();
            let names = names.join(", ");
            format!("{text:?} is not an algorithm; expected one of {names}")
        })
    }
}

impl Algorithm {
    /// Whether it is an HMAC, whose key is a secret.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        self.shortest_secret() > 0
    }

    /// How long an HMAC's key must be, in bytes: as long as the hash (RFC 7518 section 3.2). 0 for
    /// all other algorithms.
    #[must_use]
    pub const fn shortest_secret(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Es256
            | Self::Es384
            | Self::Es512
            | Self::EdDsa => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_not_an_algorithm_and_names_are_taken_to_the_letter() {
        for algorithm in Algorithm::ALL {
            let parsed = AlgorithmName::parse(algorithm.name()).map(|name| name.algorithm);
            assert_eq!(parsed, Ok(*algorithm));
        }
        let newer = AlgorithmName::parse("Ed25519").map(|name| name.algorithm);
        assert_eq!(newer, Ok(Algorithm::EdDsa));
        for wrong in [
            "none", "None", "NONE", "", "hs256", "HS256 ", "RS1", "ES256K", "Ed448", "ed25519",
        ] {
            assert!(AlgorithmName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
