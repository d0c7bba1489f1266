//! Who issued a token, and who a description is about.

use serde_json::Value;

use crate::config::{IssuerConfig, TemplatePart, is_claim};

/// What an issuer calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issuer {
    /// As it was configured.
    text: String,
    /// With claims in it; `None`: to the letter.
    template: Option<Vec<TemplatePart>>,
}

impl From<IssuerConfig> for Issuer {
    fn from(config: IssuerConfig) -> Self {
        match config {
            IssuerConfig::Exact(name) => Self {
                text: name.as_str().to_owned(),
                template: None,
            },
            IssuerConfig::Template(template) => Self {
                text: template.as_str().to_owned(),
                template: Some(template.parts),
            },
        }
    }
}

impl Issuer {
    /// The name, or the template of it, as it was configured.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether tokens have other names for it than this one.
    pub(crate) const fn is_template(&self) -> bool {
        self.template.is_some()
    }

    /// Whether a token with these claims and this `iss` says to be of this issuer.
    pub(crate) fn has_issued(&self, iss: &str, claims: &Value) -> bool {
        let Some(parts) = &self.template else {
            return self.text == iss;
        };
        let mut rest = iss;
        for part in parts {
            let expected = match part {
                TemplatePart::Text(text) => text.as_str(),
                TemplatePart::Claim(name) => match claims.get(name).and_then(Value::as_str) {
                    Some(value) if fits_in_template(value) => value,
                    Some(_) | None => return false,
                },
            };
            match rest.strip_prefix(expected) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Whether a description of an issuer of this name is about this one. Of a template, it may be
    /// the template again, whatever its claims are called there: the one that Entra ID has for all
    /// tenants says `{tenantid}`, where their tokens say `tid`.
    pub(crate) fn is_described_as(&self, name: &str) -> bool {
        let Some(parts) = &self.template else {
            return self.text == name;
        };
        let mut rest = name;
        for part in parts {
            let behind = match part {
                TemplatePart::Text(text) => rest.strip_prefix(text.as_str()),
                TemplatePart::Claim(_) => rest
                    .strip_prefix('{')
                    .and_then(|rest| rest.split_once('}'))
                    .filter(|(claim, _)| is_claim(claim))
                    .map(|(_, behind)| behind),
            };
            match behind {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

/// Whether a claim can stand in a name: no slash, dot, percent sign or anything else in it that
/// could make a URL mean another place.
fn fits_in_template(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&value.len()) && value.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENTRA: &str = "https://login.microsoftonline.com/{tid}/v2.0";
    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    fn issuer(config: Value) -> Issuer {
        Issuer::from(serde_json::from_value::<IssuerConfig>(config).unwrap())
    }

    #[test]
    fn a_template_is_filled_from_the_tokens_own_claims() {
        let entra = issuer(json!({"template": ENTRA}));
        let iss = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
        assert!(entra.has_issued(&iss(TENANT), &json!({"tid": TENANT})));
        for (iss, claims) in [
            (iss(TENANT), json!({})),
            (iss(TENANT), json!({"tid": "other"})),
            (iss("other"), json!({"tid": TENANT})),
            (iss("{tid}"), json!({"tid": TENANT})),
            (iss("{tid}"), json!({"tid": "{tid}"})),
            (iss(""), json!({"tid": ""})),
            (iss("7"), json!({"tid": 7})),
            (iss("a/b"), json!({"tid": "a/b"})),
            (iss(".."), json!({"tid": ".."})),
            (iss("a.b"), json!({"tid": "a.b"})),
            (iss("a%2fb"), json!({"tid": "a%2fb"})),
            (iss("a b"), json!({"tid": "a b"})),
            (iss("\u{e4}"), json!({"tid": "\u{e4}"})),
            (iss(&"a".repeat(129)), json!({"tid": "a".repeat(129)})),
            (format!("{}/", iss(TENANT)), json!({"tid": TENANT})),
            (format!("x{}", iss(TENANT)), json!({"tid": TENANT})),
            (iss(TENANT).to_uppercase(), json!({"tid": TENANT})),
        ] {
            assert!(!entra.has_issued(&iss, &claims), "{iss} {claims}");
        }
    }

    #[test]
    fn a_plain_name_is_taken_to_the_letter() {
        let plain = issuer(json!(ENTRA));
        assert!(plain.has_issued(ENTRA, &json!({})));
        assert!(plain.is_described_as(ENTRA));
        let filled = ENTRA.replace("{tid}", TENANT);
        assert!(!plain.has_issued(&filled, &json!({"tid": TENANT})));
    }

    #[test]
    fn a_description_may_name_the_claims_of_a_template_otherwise() {
        let entra = issuer(json!({"template": ENTRA}));
        for (name, same) in [
            (ENTRA.to_owned(), true),
            (ENTRA.replace("tid", "tenantid"), true),
            (ENTRA.replace("{tid}", TENANT), false),
            (ENTRA.replace("{tid}", "{}"), false),
            (ENTRA.replace("{tid}", "{a}/{b}"), false),
            (ENTRA.replace("v2.0", "v1.0"), false),
            (format!("{ENTRA}/"), false),
        ] {
            assert_eq!(entra.is_described_as(&name), same, "{name}");
        }
    }
}
