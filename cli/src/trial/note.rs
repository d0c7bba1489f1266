//! What filters find out of a request.

use portcullis_policy::Span;
use serde_json::{Map, Value};

/// Something that a filter found out.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The rule of `jwt_auth` that decides, by its index; `None` where none matches.
    Rule(Option<usize>),
    /// It is a CORS preflight, which passes without a token.
    Preflight,
    /// The request has a good token of this provider.
    Caller(String),
    /// Its token, or that it has none, is not enough.
    Denied {
        /// What becomes of it: `refused`, `shadow_refused`, `anonymous`.
        event: String,
        /// A reason of docs/jwt_auth.md.
        reason: String,
        /// What is said beside it, such as the claim.
        details: Vec<(String, String)>,
    },
    /// A limit was asked.
    Limit(LimitNote),
    /// A breaker was asked.
    Breaker {
        /// Its name.
        name: String,
        /// What it said: `admitted`, `rejected`, `shadow_rejected`, `elsewhere`.
        said: String,
        /// How it was before.
        state: Value,
    },
    /// What a breaker made of the answer: `successes`, `failures`, `ignored`, `slow`, `broken_off`.
    Outcome {
        /// Its name.
        name: String,
        /// What it was taken for.
        as_what: String,
    },
    /// A breaker has changed its state.
    Transition {
        /// Its name.
        name: String,
        /// `closed`, `half_open` or `open`.
        to: String,
    },
    /// The credential of `service_token`: `injected`, `shadow_injected` or `spoofed`.
    Credential(String),
    /// What the answer says was used, of a limit with `cost.tokens`.
    Used {
        /// The limit.
        limit: String,
        /// `input_tokens`, `cached_input_tokens` or `output_tokens`; `estimated` or `unreadable` of requests.
        what: String,
        /// How many.
        count: u32,
    },
    /// What a limit with `cost.tokens` has left once it is known what was used.
    Left {
        /// The limit.
        limit: String,
        /// How much.
        remaining: u32,
    },
    /// Keys would be fetched from this URL, and nobody has said what is there.
    NoKeys(String),
    /// A plugin failed: `rate_limit`, `slot_unavailable`.
    Failed {
        /// The plugin.
        plugin: String,
        /// A reason of its page.
        reason: String,
    },
    /// Another line of the log.
    Line(String),
}

/// What a limit made of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitNote {
    /// Its name.
    pub name: String,
    /// `allowed`, `limited`, `shadow_limited`, `skipped` or `elsewhere`.
    pub said: String,
    /// Why, where it is not that nothing is left.
    pub reason: Option<String>,
    /// Where the request stands, where it has a key.
    pub stands: Option<Stands>,
}

/// Where a request stands with a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stands {
    /// The parts of its key, and what the request has of them.
    pub key: Vec<String>,
    /// What the request has of them: `…` for what may be a secret.
    pub value: String,
    /// What it was charged.
    pub charged: u32,
    /// What is left now.
    pub remaining: u32,
    /// Of how many.
    pub quota: u32,
    /// In how long a window; `None`: at a time.
    pub window: Option<Span>,
    /// When all of it is there again.
    pub reset: Span,
    /// When an ordinary request is admitted.
    pub retry_after: Span,
}

impl Note {
    /// As JSON: an object whose `what` says which note it is.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let pairs: Vec<(&str, Value)> = match self {
            Self::Rule(index) => vec![("what", "rule".into()), ("index", (*index).into())],
            Self::Preflight => vec![("what", "preflight".into())],
            Self::Caller(provider) => {
                vec![
                    ("what", "caller".into()),
                    ("provider", provider.as_str().into()),
                ]
            }
            Self::Denied {
                event,
                reason,
                details,
            } => {
                let details = details.iter();
                let details =
                    details.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
                vec![
                    ("what", "denied".into()),
                    ("event", event.as_str().into()),
                    ("reason", reason.as_str().into()),
                    ("details", Value::Object(details.collect())),
                ]
            }
            Self::Limit(limit) => return limit.to_json(),
            Self::Breaker { name, said, state } => vec![
                ("what", "breaker".into()),
                ("breaker", name.as_str().into()),
                ("said", said.as_str().into()),
                ("state", state.clone()),
            ],
            Self::Outcome { name, as_what } => vec![
                ("what", "outcome".into()),
                ("breaker", name.as_str().into()),
                ("as", as_what.as_str().into()),
            ],
            Self::Transition { name, to } => vec![
                ("what", "transition".into()),
                ("breaker", name.as_str().into()),
                ("to", to.as_str().into()),
            ],
            Self::Credential(said) => {
                vec![
                    ("what", "credential".into()),
                    ("said", said.as_str().into()),
                ]
            }
            Self::Used { limit, what, count } => vec![
                ("what", "used".into()),
                ("limit", limit.as_str().into()),
                ("of", what.as_str().into()),
                ("count", (*count).into()),
            ],
            Self::Left { limit, remaining } => vec![
                ("what", "left".into()),
                ("limit", limit.as_str().into()),
                ("remaining", (*remaining).into()),
            ],
            Self::NoKeys(url) => vec![("what", "no_keys".into()), ("url", url.as_str().into())],
            Self::Failed { plugin, reason } => vec![
                ("what", "failed".into()),
                ("plugin", plugin.as_str().into()),
                ("reason", reason.as_str().into()),
            ],
            Self::Line(line) => vec![("what", "line".into()), ("line", line.as_str().into())],
        };
        object(pairs)
    }
}

impl LimitNote {
    fn to_json(&self) -> Value {
        let mut pairs = vec![
            ("what", Value::from("limit")),
            ("limit", self.name.as_str().into()),
            ("said", self.said.as_str().into()),
        ];
        if let Some(reason) = &self.reason {
            pairs.push(("reason", reason.as_str().into()));
        }
        if let Some(stands) = &self.stands {
            pairs.extend([
                ("key", stands.key.clone().into()),
                ("value", stands.value.as_str().into()),
                ("charged", stands.charged.into()),
                ("remaining", stands.remaining.into()),
                ("quota", stands.quota.into()),
                ("window", stands.window.map(Span::as_secs_ceil).into()),
                ("reset", stands.reset.as_secs_ceil().into()),
                ("retry_after", stands.retry_after.as_secs_ceil().into()),
            ]);
        }
        object(pairs)
    }
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    let pairs = pairs.into_iter();
    Value::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}
