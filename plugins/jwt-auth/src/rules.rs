//! Who may do what.

use std::fmt::Write as _;

use portcullis_policy::Request;
use portcullis_policy::config::{ClaimPath, ConfigError, IfAmbiguous, Match, Name};
use serde_json::Value;

use crate::claims::has_scope;
use crate::config::{Allow, ClaimValue, RequireConfig, RuleConfig};
use crate::extractor::Extractor;
use crate::provider::Provider;
use crate::refusal::{Reason, Refusal};

/// The rules, in order.
pub(crate) struct Rules(Vec<(Match, Access)>);

/// Who may make the requests that a rule matches.
pub(crate) enum Access {
    /// Everybody.
    Anyone,
    /// Those whose token shows what is asked for.
    Token(Requirement),
}

/// What a token must show.
pub(crate) struct Requirement {
    /// Where the tokens of its providers are.
    pub(crate) extractor: Extractor,
    scopes: Vec<String>,
    /// All scopes, as a challenge names them.
    scope_text: String,
    claims: Vec<(ClaimPath, Vec<ClaimValue>)>,
}

impl Rules {
    pub(crate) fn from_config(
        config: Vec<RuleConfig>,
        providers: &[Provider],
    ) -> Result<Self, ConfigError> {
        let mut rules = Vec::new();
        for (at, rule) in config.into_iter().enumerate() {
            let access = Access::from_config(rule.allow, rule.require, providers)
                .map_err(|error| error.within(&format!("rules[{at}]")))?;
            rules.push((rule.r#match, access));
        }
        Ok(Self(rules))
    }

    /// What the first rule that matches says.
    pub(crate) fn find(&self, request: &Request<'_>) -> Option<&Access> {
        let mut rules = self.0.iter();
        rules
            .find(|(matching, _)| matching.matches(request, IfAmbiguous::Misses))
            .map(|(_, access)| access)
    }
}

impl Access {
    fn from_config(
        allow: Option<Allow>,
        require: Option<RequireConfig>,
        providers: &[Provider],
    ) -> Result<Self, ConfigError> {
        let wrong = |rule| Err(ConfigError::at("", rule));
        match (allow, require) {
            (Some(Allow::Anyone), None) => Ok(Self::Anyone),
            (None, Some(require)) => Requirement::from_config(require, providers)
                .map(Self::Token)
                .map_err(|error| error.within("require")),
            (Some(_), Some(_)) => wrong("both `allow` and `require`; expected one of them"),
            (None, None) => wrong("neither `allow` nor `require`; expected one of them"),
        }
    }
}

impl Requirement {
    fn from_config(config: RequireConfig, providers: &[Provider]) -> Result<Self, ConfigError> {
        let mut extractor = Extractor::default();
        let names = config.any_of.into_vec();
        for (at, name) in names.iter().enumerate() {
            let wrong = |rule| ConfigError::at(format!("any_of[{at}]"), rule);
            if names.iter().take(at).any(|known| known == name) {
                return Err(wrong(format!("{:?} is there twice", name.as_str())));
            }
            let (place, provider) = find(name, providers).map_err(wrong)?;
            extractor.add(place, &provider.sources);
        }
        let scopes = config
            .scopes
            .0
            .iter()
            .map(|scope| scope.as_str().to_owned());
        let scopes: Vec<String> = scopes.collect();
        let claims = config.claims.into_vec().into_iter();
        Ok(Self {
            extractor,
            scope_text: scopes.join(" "),
            scopes,
            claims: claims
                .map(|(path, values)| (path, values.into_vec()))
                .collect(),
        })
    }

    /// Whether verified claims show what is asked for.
    pub(crate) fn check(&self, claims: &Value) -> Result<(), Refusal<'_>> {
        if !self.scopes.iter().all(|scope| has_scope(claims, scope)) {
            return Err(Refusal::from(Reason::InsufficientScope).for_scope(&self.scope_text));
        }
        for (path, values) in &self.claims {
            let found = path.find(claims);
            let any = |claim: &Value| values.iter().any(|value| value.is(claim));
            let fits = match found {
                Some(Value::Array(entries)) => entries.iter().any(any),
                Some(claim) => any(claim),
                None => false,
            };
            if !fits {
                return Err(
                    Refusal::from(Reason::ClaimMismatch).with_detail("claim", path.as_str())
                );
            }
        }
        Ok(())
    }
}

fn find<'p>(name: &Name, providers: &'p [Provider]) -> Result<(usize, &'p Provider), String> {
    let mut places = providers.iter().enumerate();
    places
        .find(|(_, provider)| &*provider.name == name.as_str())
        .ok_or_else(|| {
            let mut rule = format!("{:?} is not a provider; expected one of", name.as_str());
            for (at, provider) in providers.iter().enumerate() {
                // Writing into a String does not fail.
                let _ = write!(rule, "{} {}", if at > 0 { "," } else { "" }, provider.name);
            }
            rule
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(require: Value, claims: Value) -> Result<(), Reason> {
        let providers = crate::tests::providers();
        let mut config = json!({"any_of": ["dashboard"]});
        for (name, value) in require.as_object().unwrap() {
            config[name] = value.clone();
        }
        let config = serde_json::from_value(config).unwrap();
        let requirement = Requirement::from_config(config, providers.entries()).unwrap();
        requirement.check(&claims).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn all_scopes_must_be_there() {
        let require = json!({"scopes": ["rag:read", "rag:write"]});
        for (scope, expected) in [
            ("rag:write rag:read", Ok(())),
            ("rag:write", Err(Reason::InsufficientScope)),
            ("", Err(Reason::InsufficientScope)),
        ] {
            assert_eq!(
                check(require.clone(), json!({"scope": scope})),
                expected,
                "{scope}"
            );
        }
    }

    #[test]
    fn each_claim_must_have_one_of_its_values() {
        let require = json!({"claims": {"tenant.tier": ["gold", "silver"], "level": [2]}});
        for (claims, expected) in [
            (json!({"tenant": {"tier": "gold"}, "level": 2}), Ok(())),
            (
                json!({"tenant": {"tier": ["tin", "silver"]}, "level": 2}),
                Ok(()),
            ),
            (
                json!({"tenant": {"tier": "tin"}, "level": 2}),
                Err(Reason::ClaimMismatch),
            ),
            (
                json!({"tenant": {"tier": []}, "level": 2}),
                Err(Reason::ClaimMismatch),
            ),
            (
                json!({"tenant": {"tier": {"gold": 1}}, "level": 2}),
                Err(Reason::ClaimMismatch),
            ),
            (
                json!({"tenant": {"tier": "gold"}, "level": "2"}),
                Err(Reason::ClaimMismatch),
            ),
            (
                json!({"tenant": {"tier": "gold"}}),
                Err(Reason::ClaimMismatch),
            ),
            (json!({"tenant.tier": "gold", "level": 2}), Ok(())),
        ] {
            assert_eq!(check(require.clone(), claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn nothing_asked_for_is_nothing_to_show() {
        assert_eq!(check(json!({}), json!({})), Ok(()));
    }
}
