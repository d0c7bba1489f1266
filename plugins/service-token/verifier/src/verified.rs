//! What is known of a request that was accepted.

/// What is known of a request that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// What the secret is called that it was accepted by. When it is no longer the old one's, on any
    /// process, the old one can go.
    pub key_id: String,
    /// By what it was accepted.
    pub credential: Credential,
}

/// By what a request was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// The secret itself.
    Static,
    /// A token.
    Jwt(Identity),
    /// A signature over the request.
    HttpSignature(SignedRequest),
}

/// What a token says (RFC 7519 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// `iss`: the gateway.
    pub issuer: String,
    /// `sub`: the caller where there is an actor, else the gateway itself. See [`Identity::caller`].
    pub subject: Option<String>,
    /// `sub_id.iss`: by whom the subject is called that (RFC 9493 section 3.2.3). Two issuers may
    /// call two people the same.
    pub subject_issuer: Option<String>,
    /// `act.sub`: the gateway, where it acts on behalf of a caller (RFC 8693 section 4.1).
    pub actor: Option<String>,
    /// `jti`. One token comes with many requests.
    pub token_id: Option<String>,
    /// `exp`, in seconds since the Unix epoch.
    pub expires: i64,
}

/// What a signature says (RFC 9421 section 2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedRequest {
    /// Its label in `signature-input`.
    pub label: String,
    /// The identifiers of what it covers: `@path`, `content-digest`. Nothing else of the request is
    /// known to be as the gateway sent it.
    pub covered: Vec<String>,
    /// Its nonce.
    pub nonce: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: i64,
}

impl Verified {
    pub(crate) fn new(key_id: &str, credential: Credential) -> Self {
        let key_id = key_id.to_owned();
        Self { key_id, credential }
    }

    /// What the token says, if it was one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match &self.credential {
            Credential::Jwt(identity) => Some(identity),
            Credential::Static | Credential::HttpSignature(_) => None,
        }
    }

    /// Whether the signature covers this, by its identifier. Where it covers `content-digest`, the
    /// body is the gateway's if [`content_digest_matches`](crate::content_digest_matches).
    #[must_use]
    pub fn covers(&self, identifier: &str) -> bool {
        match &self.credential {
            Credential::HttpSignature(signed) => signed.covered.iter().any(|c| c == identifier),
            Credential::Static | Credential::Jwt(_) => false,
        }
    }
}

impl Identity {
    /// On whose behalf the gateway made the request: the subject where there is an actor. `None`:
    /// the gateway knew no caller.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.actor.as_ref().and(self.subject.as_deref())
    }
}
