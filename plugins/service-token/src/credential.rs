//! The kinds of credential, behind one front.

use portcullis_policy::config::ConfigError;
use portcullis_policy::{
    Environment, Failure, Ports, Request, RequestEdits, clear_spellings, spelled_like,
};

use crate::config::{CredentialConfig, Kind};
use crate::message::Outgoing;
use crate::nonces;
use crate::request_signature::{INPUT, Member, SIGNATURE, Signer, lines_of};
use crate::static_secret::StaticSecret;
use crate::token::{Caller, TokenIssuer};

/// What is written into requests.
#[derive(Debug)]
pub(crate) enum Credential {
    Static(StaticSecret),
    Token(TokenIssuer),
    Signature(Signer),
}

/// What a client sent under the credential's names, or did to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    Nothing,
    /// A credential of ours: another gateway is in front of this one.
    Ours,
    /// Anything else.
    Forged,
    /// More than one line. On Kong only the first of them can be overwritten.
    Several,
    /// Its name in `connection`, so that the next hop drops it (RFC 9110 section 7.6.1).
    NamedHopByHop,
}

impl Credential {
    /// Fetches the secrets.
    ///
    /// # Errors
    /// [`ConfigError`] names field and rule, never a secret.
    pub(crate) fn new(
        config: CredentialConfig,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(match config.kind {
            Kind::Static => Self::Static(StaticSecret::new(config, environment)?),
            Kind::Jwt => Self::Token(TokenIssuer::new(config, environment)?),
            Kind::HttpSignature => Self::Signature(Signer::new(config, environment)?),
        })
    }

    /// What the secret that is used is called.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Static(secret) => secret.id(),
            Self::Token(issuer) => issuer.id(),
            Self::Signature(signer) => signer.id(),
        }
    }

    /// Lays out what it shares with other workers.
    pub(crate) fn prepare(&self, ports: &Ports<'_>) {
        match self {
            Self::Static(_) => {}
            Self::Token(issuer) => issuer.prepare(ports),
            Self::Signature(signer) => signer.prepare(ports),
        }
    }

    /// The header that it writes, where that is for the user to say.
    pub(crate) fn header(&self) -> Option<&str> {
        match self {
            Self::Static(secret) => Some(secret.header()),
            Self::Token(issuer) => Some(issuer.header()),
            Self::Signature(_) => None,
        }
    }

    /// Whether it sends this secret as it is, or did.
    pub(crate) fn sends(&self, secret: &[u8]) -> bool {
        match self {
            Self::Static(known) => known.is_ours(secret),
            Self::Token(_) | Self::Signature(_) => false,
        }
    }

    /// Whether it says on whose behalf a request is made.
    pub(crate) const fn names_callers(&self) -> bool {
        match self {
            Self::Static(_) | Self::Signature(_) => false,
            Self::Token(_) => true,
        }
    }

    /// The key that it has in shared data.
    pub(crate) const fn slot_name(&self) -> Option<&'static str> {
        match self {
            Self::Static(_) => None,
            Self::Token(_) | Self::Signature(_) => Some(nonces::SLOT),
        }
    }

    /// The headers that it writes, in lower case.
    fn headers(&self) -> [Option<&str>; 2] {
        match self {
            Self::Static(secret) => [Some(secret.header()), None],
            Self::Token(issuer) => [Some(issuer.header()), None],
            Self::Signature(_) => [Some(INPUT), Some(SIGNATURE)],
        }
    }

    /// What the client sent under its names.
    pub(crate) fn presented(&self, request: &Request<'_>) -> Presented {
        let headers = request.headers();
        let ours = self.headers();
        let mut ours = ours.iter().copied().flatten();
        let is_ours = |name| ours.clone().any(|header| spelled_like(name, header));
        if headers.named_hop_by_hop().any(is_ours) {
            return Presented::NamedHopByHop;
        }
        if ours.any(|header| lines_of(headers, header) > 1) {
            return Presented::Several;
        }
        match self {
            Self::Static(secret) => {
                one_line(request, secret.header(), |value| secret.is_ours(value))
            }
            Self::Token(issuer) => {
                one_line(request, issuer.header(), |value| issuer.is_ours(value))
            }
            // A spelling that is not ours can't be a signature, but for those that fold it.
            Self::Signature(_) if is_misspelled(request, INPUT) => Presented::Forged,
            Self::Signature(_) if is_misspelled(request, SIGNATURE) => Presented::Forged,
            Self::Signature(signer) => match signer.presented(request).0 {
                Member::None => Presented::Nothing,
                Member::Ours => Presented::Ours,
                Member::Forged => Presented::Forged,
            },
        }
    }

    /// Takes away what the client sent under its names; what is others' stays.
    pub(crate) fn clear<'a>(
        &'a self,
        request: &'a Request<'a>,
        presented: Presented,
        edits: &mut RequestEdits<'a>,
    ) {
        if presented == Presented::Nothing {
            return;
        }
        for header in self.headers().into_iter().flatten() {
            clear_spellings(request.headers(), header, edits);
        }
        match self {
            Self::Static(_) | Self::Token(_) => {
                for header in self.headers().into_iter().flatten() {
                    if request.headers().get(header).is_some() {
                        edits.clear(header);
                    }
                }
            }
            Self::Signature(signer) => {
                let others = signer.presented(request).1;
                for (header, rest) in [(INPUT, others.input), (SIGNATURE, others.signature)] {
                    match rest {
                        Some(rest) => edits.set(header, rest.into_bytes()),
                        None if request.headers().get(header).is_some() => edits.clear(header),
                        None => {}
                    }
                }
            }
        }
    }

    /// Writes it, in place of what the client sent under its names. `changes`: what others have
    /// decided to change.
    pub(crate) fn write<'a>(
        &'a self,
        request: &'a Request<'a>,
        presented: Presented,
        purpose: Purpose<'_>,
        changes: &RequestEdits<'_>,
        ports: &Ports<'_>,
    ) -> Result<RequestEdits<'a>, Failure> {
        let mut edits = RequestEdits::none();
        if presented != Presented::Nothing {
            for header in self.headers().into_iter().flatten() {
                clear_spellings(request.headers(), header, &mut edits);
            }
        }
        match self {
            Self::Static(secret) => edits.set(secret.header(), secret.value()),
            Self::Token(issuer) => {
                let token = issuer.token(purpose.audience, purpose.caller, ports)?;
                edits.set(issuer.header(), token.into_bytes());
            }
            Self::Signature(signer) => {
                let others = signer.presented(request).1;
                signer.write(&Outgoing::new(request, changes), others, ports, &mut edits)?;
            }
        }
        Ok(edits)
    }
}

/// What a credential is for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purpose<'a> {
    pub(crate) audience: Option<&'a str>,
    pub(crate) caller: Option<Caller<'a>>,
}

/// What a client sent in the one line that there is under this name, in whatever spelling.
fn one_line(request: &Request<'_>, header: &str, is_ours: impl Fn(&[u8]) -> bool) -> Presented {
    match request.headers().spelled_like(header).next() {
        None => Presented::Nothing,
        Some((_, value)) if is_ours(value) => Presented::Ours,
        Some(_) => Presented::Forged,
    }
}

fn is_misspelled(request: &Request<'_>, header: &str) -> bool {
    let mut lines = request.headers().spelled_like(header);
    lines.any(|(name, _)| !name.eq_ignore_ascii_case(header.as_bytes()))
}

impl Presented {
    pub(crate) const fn is_refused(self) -> bool {
        match self {
            Self::Nothing | Self::Ours | Self::Forged => false,
            Self::Several | Self::NamedHopByHop => true,
        }
    }

    /// Why it counts as spoofed, if it does.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Ours => None,
            Self::Forged => Some("forged"),
            Self::Several => Some("duplicate_identity"),
            Self::NamedHopByHop => Some("named_in_connection"),
        }
    }
}
