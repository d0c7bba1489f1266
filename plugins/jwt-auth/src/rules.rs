//! Who may do what.

use std::fmt::Write as _;

use portcullis_policy::Request;
use portcullis_policy::config::{
    ClaimPath, ConfigError, IfAmbiguous, Match, Name, NonEmpty, ObjectOnly, check_reached,
};
use serde_json::Value;

use crate::claims::{first_mismatch, has_scope};
use crate::config::{Allow, ClaimValue, IfInvalid, PresentedConfig, RequireConfig, RuleConfig};
use crate::extractor::{Extractor, Source};
use crate::identity::Forward;
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
    /// Whether a request without a token passes too, and what becomes of one whose token does not
    /// hold.
    pub(crate) optional: Option<IfInvalid>,
    /// Where the tokens are that a request must have, each of its own providers. The first is the
    /// caller's.
    pub(crate) tokens: Vec<Extractor>,
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
        let mut rules: Vec<(Match, Access)> = Vec::new();
        for (at, rule) in config.into_iter().enumerate() {
            let access = Access::from_config(rule.allow, rule.require, providers)
                .map_err(|error| error.within(&format!("rules[{at}]")))?;
            let before = rules.iter().map(|(before, _)| before);
            check_reached("rules", at, &rule.r#match, before)?;
            rules.push((rule.r#match, access));
        }
        Ok(Self(rules))
    }

    /// Whether one of them is about some hosts, and no others.
    pub(crate) fn name_hosts(&self) -> bool {
        self.0.iter().any(|(matching, _)| matching.names_hosts())
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
        require: Option<ObjectOnly<RequireConfig>>,
        providers: &[Provider],
    ) -> Result<Self, ConfigError> {
        let wrong = |rule| Err(ConfigError::at("", rule));
        match (allow, require) {
            (Some(Allow::Anyone), None) => Ok(Self::Anyone),
            (None, Some(ObjectOnly(require))) => Requirement::from_config(require, providers)
                .map(Self::Token)
                .map_err(|error| error.within("require")),
            (Some(_), Some(_)) => wrong("both `allow` and `require`; expected one of them"),
            (None, None) => wrong("neither `allow` nor `require`; expected one of them"),
        }
    }
}

impl Requirement {
    fn from_config(config: RequireConfig, providers: &[Provider]) -> Result<Self, ConfigError> {
        let presented = PresentedConfig {
            any_of: config.any_of,
            all_of: config.all_of,
            scopes: config.scopes,
            claims: config.claims,
        };
        match config.optional {
            None => Self::presented(presented, None, providers),
            Some(ObjectOnly(optional)) => {
                let beside = presented.any_of.is_some()
                    || presented.all_of.is_some()
                    || !presented.scopes.0.is_empty()
                    || !presented.claims.is_empty();
                if beside {
                    let rule = "with `optional`, everything else belongs into it";
                    return Err(ConfigError::at("", rule));
                }
                let (presented, invalid) = optional.split();
                Self::presented(presented, Some(invalid), providers)
                    .map_err(|e| e.within("optional"))
            }
        }
    }

    fn presented(
        config: PresentedConfig,
        optional: Option<IfInvalid>,
        providers: &[Provider],
    ) -> Result<Self, ConfigError> {
        let tokens = match (config.any_of, config.all_of) {
            (Some(names), None) => {
                let mut extractor = Extractor::default();
                for (index, provider) in named(names, "any_of", providers)? {
                    extractor.add(index, &provider.sources);
                }
                vec![extractor]
            }
            (None, Some(names)) => {
                let named = named(names, "all_of", providers)?;
                for (at, (_, provider)) in named.iter().enumerate() {
                    for (_, other) in named.iter().take(at) {
                        check_apart(provider, other)
                            .map_err(|rule| ConfigError::at(format!("all_of[{at}]"), rule))?;
                    }
                }
                let extractors = named.into_iter().map(|(index, provider)| {
                    let mut extractor = Extractor::default();
                    extractor.add(index, &provider.sources);
                    extractor
                });
                extractors.collect()
            }
            (Some(_), Some(_)) => {
                return Err(ConfigError::at(
                    "",
                    "both `any_of` and `all_of`; expected one of them",
                ));
            }
            (None, None) => {
                let rule = "expected one of `any_of` and `all_of`, or `optional` with one of them";
                return Err(ConfigError::at("", rule));
            }
        };
        let scopes = config.scopes.0.iter();
        let scopes: Vec<String> = scopes.map(|scope| scope.as_str().to_owned()).collect();
        let claims = config.claims.into_vec().into_iter();
        Ok(Self {
            optional,
            tokens,
            scope_text: scopes.join(" "),
            scopes,
            claims: claims
                .map(|(path, values)| (path, values.into_vec()))
                .collect(),
        })
    }

    /// Whether verified claims show what is asked for.
    pub(crate) fn check(&self, claims: &Value) -> Result<(), Refusal<'_>> {
        let mut lacking = self.scopes.iter().filter(|scope| !has_scope(claims, scope));
        if let Some(scope) = lacking.next() {
            let refusal = Refusal::from(Reason::InsufficientScope).with_detail("scope", scope);
            return Err(refusal.for_scope(&self.scope_text));
        }
        match first_mismatch(&self.claims, claims) {
            None => Ok(()),
            Some(path) => {
                Err(Refusal::from(Reason::ClaimMismatch).with_detail("claim", path.as_str()))
            }
        }
    }
}

/// Two tokens of one request must stand in two places, and be forwarded in other headers.
fn check_apart(provider: &Provider, other: &Provider) -> Result<(), String> {
    let name = &other.name;
    let sources = &provider.sources;
    let excludes = |source: &Source| sources.iter().any(|own| own.excludes(source));
    if other.sources.iter().any(excludes) {
        return Err(format!(
            "it looks for its token where {name:?} does; expected other places"
        ));
    }
    let same = |forward: &Forward| other.forwards.iter().any(|o| o.index == forward.index);
    if provider.forwards.iter().any(same) {
        return Err(format!(
            "a claim goes to a header of {name:?}; expected another one"
        ));
    }
    Ok(())
}

/// The providers of these names, each with its index.
fn named<'p>(
    names: NonEmpty<Name>,
    field: &str,
    providers: &'p [Provider],
) -> Result<Vec<(usize, &'p Provider)>, ConfigError> {
    let names = names.into_vec();
    let mut found = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let wrong = |rule| ConfigError::at(format!("{field}[{at}]"), rule);
        if names.iter().take(at).any(|known| known == name) {
            return Err(wrong(format!("{:?} is there twice", name.as_str())));
        }
        found.push(find(name, providers).map_err(wrong)?);
    }
    Ok(found)
}

fn find<'p>(name: &Name, providers: &'p [Provider]) -> Result<(usize, &'p Provider), String> {
    let mut indexed = providers.iter().enumerate();
    indexed
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
