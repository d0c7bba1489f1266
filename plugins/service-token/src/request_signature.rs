//! `kind: http_signature`: a signature over the request (RFC 9421).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_message_signature::{
    Component, Key, Message, Params, Signed, has, members, signature_base, signature_params,
    without,
};
use portcullis_policy::config::{ConfigError, SecretUse};
use portcullis_policy::{Environment, Failure, Headers, Ports, Request, RequestEdits};

use crate::config::CredentialConfig;
use crate::failure::UNSIGNABLE;
use crate::message::Outgoing;
use crate::nonces::Nonces;
use crate::secrets::resolve;

/// The field of what is covered, and by which parameters.
pub(crate) const INPUT: &str = "signature-input";
/// The field of the signatures themselves.
pub(crate) const SIGNATURE: &str = "signature";

/// What the signature is for: nobody takes it for one of another application.
const TAG: &str = "service-token";
const ALGORITHM: &str = "hmac-sha256";
const DIGEST: &str = "content-digest";
const LABEL: &str = "service-token";
/// Longest field of a client that is read: what a gateway writes is a few hundred bytes.
const LONGEST: usize = 8_192;
/// Most components of a signature that is taken for one of ours.
const MOST_COVERED: usize = 32;
/// As many bytes as the hash has (RFC 2104 section 3).
const SHORTEST: usize = 32;

/// Signs requests.
#[derive(Debug)]
pub(crate) struct Signer {
    id: String,
    keys: Vec<(String, Key)>,
    label: String,
    components: Vec<Component>,
    ttl: u64,
    nonces: Nonces,
}

/// The members of a client's fields that are none of ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Others {
    pub(crate) input: Option<String>,
    pub(crate) signature: Option<String>,
}

/// What a client sent under our label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    None,
    /// Signed with one of our secrets.
    Ours,
    /// Anything else; also fields that can't be read.
    Forged,
}

impl Signer {
    /// Fetches the secrets.
    ///
    /// # Errors
    /// [`ConfigError`] names field and rule, never a secret.
    pub(crate) fn new(
        config: CredentialConfig,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let ttl = config.ttl_secs()?;
        let shortest = (!config.allow_short).then_some(SHORTEST);
        let known = resolve(config.secrets, SecretUse::Key, shortest, environment)?;
        let keys: Vec<_> = known
            .iter()
            .map(|known| {
                let id = known.id.as_str().to_owned();
                (id, Key::new(known.secret.as_bytes()))
            })
            .collect();
        let Some((id, key)) = keys.first() else {
            return Err(ConfigError::at("secrets", "expected at least one secret"));
        };
        let mut components: Vec<Component> = Vec::new();
        match config.components {
            None => components.extend([
                Component::Method,
                Component::Authority,
                Component::Path,
                Component::Query,
            ]),
            Some(names) => {
                for (index, name) in names.into_vec().into_iter().enumerate() {
                    let component = name.into_component();
                    if components.len() >= MOST_COVERED {
                        let rule = format!("expected at most {MOST_COVERED}");
                        return Err(ConfigError::at("components", rule));
                    }
                    if components.contains(&component) {
                        let rule = format!("{:?} is there twice", component.identifier());
                        return Err(ConfigError::at(format!("components[{index}]"), rule));
                    }
                    components.push(component);
                }
            }
        }
        let digest = Component::Field(DIGEST.to_owned());
        if !components.contains(&digest) {
            components.push(digest);
        }
        let label = config.label.as_ref().map_or(LABEL, |label| label.as_str());
        Ok(Self {
            id: id.clone(),
            nonces: Nonces::new(key.clone()),
            keys,
            label: label.to_owned(),
            components,
            ttl,
        })
    }

    /// What the secret that signs is called.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Takes this worker's number.
    pub(crate) fn prepare(&self, ports: &Ports<'_>) {
        self.nonces.prepare(ports);
    }

    /// What a client sent in these fields, each there once at most: who made what is under our
    /// label, and what is left without it.
    pub(crate) fn presented(&self, request: &Request<'_>) -> (Member, Others) {
        let field = |name| request.headers().get(name);
        let (input, signature) = match (field(INPUT), field(SIGNATURE)) {
            (None, None) => return (Member::None, Others::default()),
            (input, signature) => (input.unwrap_or_default(), signature.unwrap_or_default()),
        };
        if input.len() > LONGEST || signature.len() > LONGEST {
            return (Member::Forged, Others::default());
        }
        let label = self.label.as_str();
        let others = match (without(input, label), without(signature, label)) {
            (Ok(input), Ok(signature)) => Others { input, signature },
            // Nobody could read what we would add to that.
            (Err(_), _) | (_, Err(_)) => return (Member::Forged, Others::default()),
        };
        if has(input, label) == Ok(false) && has(signature, label) == Ok(false) {
            return (Member::None, others);
        }
        let all = members(input, signature).unwrap_or_default();
        let ours = all.iter().any(|signed| self.is_ours(signed, request));
        let member = if ours { Member::Ours } else { Member::Forged };
        (member, others)
    }

    /// Looks at what is cheap first: whoever knows no key id, or covers more than a gateway does, costs
    /// no signature base.
    fn is_ours(&self, signed: &Signed, request: &Request<'_>) -> bool {
        let mut keys = self.keys.iter();
        let key = keys.find(|(id, _)| Some(id.as_str()) == signed.text("keyid"));
        let (Some((_, key)), true) = (key, signed.label == self.label) else {
            return false;
        };
        let Ok(components) = signed.components() else {
            return false;
        };
        if components.len() > MOST_COVERED {
            return false;
        }
        let none = RequestEdits::none();
        let message = Outgoing::new(request, &none);
        // A component that is there twice has no base, so that none is longer than the headers are.
        signature_base(&message, &components, &signed.params())
            .is_ok_and(|base| key.verifies(&base, &signed.signature))
    }

    /// Writes both fields, the members of others before ours.
    pub(crate) fn write(
        &self,
        message: &Outgoing<'_, '_, '_>,
        others: Others,
        ports: &Ports<'_>,
        edits: &mut RequestEdits<'_>,
    ) -> Result<(), Failure> {
        let created = ports.clock.now()?.unix_secs();
        let is_there = |component: &&Component| match component {
            Component::Field(name) => !message.lines(name).is_empty(),
            Component::Method | Component::Authority | Component::Path | Component::Query => true,
        };
        let covered: Vec<Component> = self.components.iter().filter(is_there).cloned().collect();
        let params = Params {
            created,
            expires: Some(created.saturating_add(self.ttl)),
            nonce: Some(&self.nonces.next(ports)),
            alg: Some(ALGORITHM),
            keyid: &self.id,
            tag: Some(TAG),
        };
        let params = signature_params(&covered, &params).map_err(|_| UNSIGNABLE)?;
        let base = signature_base(message, &covered, &params).map_err(|_| UNSIGNABLE)?;
        let (_, key) = self.keys.first().ok_or(UNSIGNABLE)?;
        let signature = STANDARD.encode(key.sign(&base));
        let label = &self.label;
        let input = joined(others.input, format!("{label}={params}"));
        let signature = joined(others.signature, format!("{label}=:{signature}:"));
        edits.set(INPUT, input.into_bytes());
        edits.set(SIGNATURE, signature.into_bytes());
        Ok(())
    }
}

/// How many lines there are of a field, in whatever spelling.
pub(crate) fn lines_of(headers: &Headers, field: &str) -> usize {
    headers.spelled_like(field).count()
}

fn joined(others: Option<String>, ours: String) -> String {
    match others {
        Some(others) => format!("{others}, {ours}"),
        None => ours,
    }
}
