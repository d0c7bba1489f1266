//! What the control path is asked, in its own words.

use crate::config::Duration;
use crate::control::Failed;
use crate::parameters::{form_decoded, query_pairs};
use crate::{LogLine, Request, Span};

/// What is asked, or to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `GET`: the state of everything.
    State,
    /// `GET ?limit=`: one limit, with its busiest keys.
    Limit(String),
    /// `GET ?key=` or `?caller=`: what a key has left.
    Key(KeyNamed),
    /// `GET ?breaker=`: one breaker.
    Breaker(String),
    /// `GET ?caller=s.…`: whom a name in the log stands for.
    Who(String),
    /// `GET ?sub=`: what a subject is called in the log.
    Subject {
        /// As in its token.
        subject: String,
        /// Whose token; of all providers where it is not given.
        provider: Option<String>,
    },
    /// `POST ?action=reset`: a key begins anew.
    Reset(KeyNamed),
    /// `POST ?action=open`, `close`, `force` and `release`.
    Turn {
        /// Its name.
        breaker: String,
        /// Which way.
        turn: Turn,
    },
}

/// A key of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyNamed {
    /// By the value of each part, in the order of the limit's `key`; `constant` has none. Of all limits that have as many
    /// parts, where none is named.
    Values {
        /// The limit.
        limit: Option<String>,
        /// The values, decoded.
        values: Vec<Vec<u8>>,
    },
    /// As the log calls it, which also tells the limit: `k.…`.
    Caller(String),
}

/// What becomes of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opens, as if it had tripped.
    Open,
    /// It closes, and has seen nothing.
    Close,
    /// It is held open for so long.
    HoldOpen(Span),
    /// It is held closed for so long.
    HoldClosed(Span),
    /// It is no longer held.
    Release,
}

/// A forgotten force is an outage, or no breaker at all.
const LONGEST_HOLD: Span = Span::from_secs(24 * 3600);

impl Command {
    /// Reads a request: its method and its query.
    pub(super) fn parse(request: &Request<'_>) -> Result<Self, Failed> {
        let mut given = Given::of(request)?;
        let command = match request.method() {
            "POST" => Self::parse_action(&mut given),
            _ => Self::parse_question(&mut given),
        }?;
        given.finish()?;
        Ok(command)
    }

    fn parse_question(given: &mut Given) -> Result<Self, Failed> {
        if let Some(name) = given.take("breaker")? {
            return Ok(Self::Breaker(name));
        }
        if let Some(subject) = given.take("sub")? {
            let provider = given.take("provider")?;
            return Ok(Self::Subject { subject, provider });
        }
        if given.names("caller") {
            let caller = given.take("caller")?.unwrap_or_default();
            return Ok(match caller.starts_with("s.") {
                true => Self::Who(caller),
                false => Self::Key(KeyNamed::Caller(caller)),
            });
        }
        if given.names("key") {
            return Ok(Self::Key(given.take_key()?));
        }
        Ok(given.take("limit")?.map_or(Self::State, Self::Limit))
    }

    fn parse_action(given: &mut Given) -> Result<Self, Failed> {
        const ACTIONS: &str = "expected action=reset, open, close, force or release";
        let action = given.take("action")?;
        let action = action.ok_or_else(|| invalid(format!("no `action`; {ACTIONS}")))?;
        if action == "reset" {
            return Ok(Self::Reset(match given.take("caller")? {
                Some(caller) => KeyNamed::Caller(caller),
                None => given.take_key()?,
            }));
        }
        let turn = match action.as_str() {
            "open" => Turn::Open,
            "close" => Turn::Close,
            "release" => Turn::Release,
            "force" => given.take_hold()?,
            other => return Err(invalid(format!("{other:?} is no action; {ACTIONS}"))),
        };
        let breaker = given.take("breaker")?;
        let breaker = breaker.ok_or_else(|| invalid("no `breaker`; expected its name".into()))?;
        Ok(Self::Turn { breaker, turn })
    }

    /// Adds what is asked to a line; never a key or a name in clear.
    pub(super) fn described(&self, line: LogLine) -> LogLine {
        let limit = |line: LogLine, key: &KeyNamed| match key {
            KeyNamed::Values {
                limit: Some(limit), ..
            } => line.with("limit", limit),
            KeyNamed::Values { limit: None, .. } | KeyNamed::Caller(_) => line,
        };
        match self {
            Self::State => line.with("action", "state"),
            Self::Limit(name) => line.with("action", "limit").with("limit", name),
            Self::Key(key) => limit(line.with("action", "key"), key),
            Self::Breaker(name) => line.with("action", "breaker").with("breaker", name),
            Self::Who(_) => line.with("action", "who"),
            Self::Subject { .. } => line.with("action", "subject"),
            Self::Reset(key) => limit(line.with("action", "reset"), key),
            Self::Turn { breaker, turn } => {
                let line = line.with("action", turn.as_str()).with("breaker", breaker);
                match turn {
                    Turn::HoldOpen(span) => line.with("state", "open").with("for", secs(*span)),
                    Turn::HoldClosed(span) => line.with("state", "closed").with("for", secs(*span)),
                    Turn::Open | Turn::Close | Turn::Release => line,
                }
            }
        }
    }

    /// What is said where no plugin here has what it is about.
    pub(super) const fn missing(&self) -> &'static str {
        match self {
            Self::State => "nothing here can be asked",
            Self::Limit(_) | Self::Key(_) | Self::Reset(_) => "there are no limits here",
            Self::Breaker(_) | Self::Turn { .. } => "there are no breakers here",
            Self::Who(_) | Self::Subject { .. } => "no tokens are verified here",
        }
    }
}

fn secs(span: Span) -> String {
    format!("{}s", span.as_secs_ceil())
}

impl Turn {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
            Self::HoldOpen(_) | Self::HoldClosed(_) => "force",
            Self::Release => "release",
        }
    }
}

/// The parameters that nobody has looked at yet.
struct Given(Vec<(String, Vec<u8>)>);

impl Given {
    fn of(request: &Request<'_>) -> Result<Self, Failed> {
        let mut given = Vec::new();
        for pair in query_pairs(request.target()).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let name = form_decoded(parts.next().unwrap_or_default()).into_owned();
            let name = String::from_utf8(name);
            let name = name.map_err(|_| invalid("a parameter's name is no text".into()))?;
            let value = form_decoded(parts.next().unwrap_or_default()).into_owned();
            given.push((name, value));
        }
        Ok(Self(given))
    }

    fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }

    fn take_all(&mut self, name: &str) -> Vec<Vec<u8>> {
        let taken = self.0.extract_if(.., |(given, _)| given == name);
        taken.map(|(_, value)| value).collect()
    }

    /// A parameter that is given once, as text.
    fn take(&mut self, name: &str) -> Result<Option<String>, Failed> {
        let mut values = self.take_all(name).into_iter();
        let (value, other) = (values.next(), values.next());
        if other.is_some() {
            return Err(invalid(format!("`{name}` is there twice")));
        }
        let Some(value) = value else {
            return Ok(None);
        };
        match String::from_utf8(value) {
            Ok(value) if !value.is_empty() => Ok(Some(value)),
            Ok(_) => Err(invalid(format!("`{name}` is empty"))),
            Err(_) => Err(invalid(format!("`{name}` is no text"))),
        }
    }

    fn take_key(&mut self) -> Result<KeyNamed, Failed> {
        let values = self.take_all("key");
        let limit = self.take("limit")?;
        if values.is_empty() && limit.is_none() {
            let rule = "expected `key`, once for each part of the limit's key, or `caller`";
            return Err(invalid(rule.into()));
        }
        Ok(KeyNamed::Values { limit, values })
    }

    fn take_hold(&mut self) -> Result<Turn, Failed> {
        let state = self.take("state")?;
        let span = self.take("for")?;
        let span = span.ok_or_else(|| {
            invalid("no `for`; expected how long, such as 10m, and at most 24h".into())
        })?;
        let span = <Duration>::from_text(&span).map_err(|rule| invalid(format!("for: {rule}")))?;
        let span = span.span();
        if span > LONGEST_HOLD {
            return Err(invalid("for: longer than 24h".into()));
        }
        match state.as_deref() {
            Some("open") => Ok(Turn::HoldOpen(span)),
            Some("closed") => Ok(Turn::HoldClosed(span)),
            Some(_) | None => Err(invalid("expected state=open or state=closed".into())),
        }
    }

    /// What nobody has taken is a mistake.
    fn finish(self) -> Result<(), Failed> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("{name:?} is no parameter of this"))),
        }
    }
}

const fn invalid(detail: String) -> Failed {
    Failed::Invalid(detail)
}
