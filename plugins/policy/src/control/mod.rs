//! The control path: what a person on call asks a gateway, and tells it.
//!
//! One path, answered before anything else, to whoever shows its token. Parameters stand in the query; requests have no
//! bodies. What the words of a [`Command`] mean the plugins know, each behind [`Controlled`].

mod command;
mod naming;

use serde_json::{Map, Value, json};

pub use command::{Command, KeyNamed, Turn};
pub use naming::CallerNames;

use crate::config::{ConfigError, ControlConfig, Secret, SecretUse};
use crate::path::without_slash_at_end;
use crate::{Counter, LocalReply, LogLine, Ports, Request, Sent, Setup};

/// As many bytes as a hash that nobody guesses.
const SHORTEST_TOKEN: usize = 32;

/// A control path, and what opens it.
#[derive(Debug)]
pub struct Control {
    plugin: &'static str,
    path: String,
    token: Secret,
    names: CallerNames,
    used: Counter,
    refused: Counter,
}

/// What a command comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// By plugin, what it has to say.
    pub shown: Map<String, Value>,
    /// Whom it was about, for the log: never a key or a name in clear.
    pub about: Option<String>,
}

/// Why a command comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// What it asks for makes no sense.
    Invalid(String),
    /// What it names is not there.
    Unknown(String),
    /// The configuration says otherwise.
    Conflict(String),
    /// The plugin can't do its work now: a fixed word.
    Unavailable(&'static str),
}

/// A plugin that can be asked and told.
pub trait Controlled {
    /// Carries a command out; `None` where it is none of this plugin's.
    ///
    /// # Errors
    /// [`Failed`]; nothing was changed then.
    fn carry_out(&self, command: &Command, ports: &Ports<'_>) -> Option<Result<Answer, Failed>>;
}

impl Answer {
    /// What one plugin says.
    #[must_use]
    pub fn of(plugin: &str, shown: Value) -> Self {
        Self {
            shown: Map::from_iter([(plugin.to_owned(), shown)]),
            about: None,
        }
    }

    /// Whom it is about.
    #[must_use]
    pub fn about(mut self, caller: String) -> Self {
        self.about = Some(caller);
        self
    }
}

impl Failed {
    /// That `name` is none of those that there are.
    #[must_use]
    pub fn not_among<'n>(what: &str, name: &str, all: impl Iterator<Item = &'n str>) -> Self {
        let all = all.collect::<Vec<_>>().join(", ");
        Self::Unknown(format!("{name:?} is no {what} here; there is {all}"))
    }

    /// As a part of a larger answer.
    #[must_use]
    pub fn shown(&self) -> Value {
        json!({ "failed": self.detail() })
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::Unknown(_) => 404,
            Self::Conflict(_) => 409,
            Self::Unavailable(_) => 503,
        }
    }

    /// A fixed word for the log.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Unknown(_) => "unknown",
            Self::Conflict(_) => "conflict",
            Self::Unavailable(reason) => reason,
        }
    }

    fn detail(&self) -> &str {
        match self {
            Self::Invalid(detail) | Self::Unknown(detail) | Self::Conflict(detail) => detail,
            Self::Unavailable(reason) => reason,
        }
    }
}

impl Control {
    /// Fetches the token. `plugin`: the filter that answers.
    ///
    /// # Errors
    /// [`ConfigError`] names field and rule, never the secret.
    pub fn new(
        config: ControlConfig,
        plugin: &'static str,
        setup: &mut Setup<'_>,
    ) -> Result<Self, ConfigError> {
        let wrong = |rule: String| ConfigError::at("control.token", rule);
        let token = config
            .token
            .0
            .resolve(SecretUse::HeaderValue, setup.environment);
        let token = token.map_err(wrong)?;
        let length = token.as_bytes().len();
        if length < SHORTEST_TOKEN {
            return Err(wrong(format!(
                "the secret has {length} bytes; expected at least {SHORTEST_TOKEN}"
            )));
        }
        Ok(Self {
            plugin,
            path: without_slash_at_end(config.path.as_str()).to_owned(),
            names: CallerNames::of(&token),
            token,
            used: setup.metrics.counter("control_used"),
            refused: setup.metrics.counter("control_refused"),
        })
    }

    /// Refuses a path of another kind that this one would hide.
    ///
    /// # Errors
    /// [`ConfigError`] at `control.path`.
    pub fn check_apart(&self, what: &str, path: &str) -> Result<(), ConfigError> {
        if without_slash_at_end(path) != self.path {
            return Ok(());
        }
        let rule = format!("{path:?} is the path of `{what}` too; expected another");
        Err(ConfigError::at("control.path", rule))
    }

    /// Whether its token is one that is used for something else, too. `known` compares in constant time.
    #[must_use]
    pub fn shares_token(&self, known: impl Fn(&[u8]) -> bool) -> bool {
        known(self.token.as_bytes())
    }

    /// What callers are called in the log, for whoever can ask this path who they are.
    #[must_use]
    pub const fn names(&self) -> &CallerNames {
        &self.names
    }

    /// Whether a request is for the control path.
    #[must_use]
    pub fn is_for(&self, request: &Request<'_>) -> bool {
        let asked = request.path();
        asked.is_ok_and(|path| path.without_slash_at_end() == self.path)
    }

    /// The answer to a request for the control path; `None` to any other, but one that shows its token: that was meant
    /// for this path, and goes no further.
    #[must_use]
    pub fn answer(
        &self,
        request: &Request<'_>,
        controlled: &dyn Controlled,
        ports: &Ports<'_>,
    ) -> Option<LocalReply> {
        if !self.is_for(request) {
            return self.shows_token(request).then(|| {
                ports.telemetry.count(self.refused);
                let line =
                    LogLine::new(self.plugin, "control_refused").with("reason", "other_path");
                ports.telemetry.log(self.from(line, request));
                let detail = format!("this is not the control path, which is {}", self.path);
                problem(404, "Not found", &detail).because(self.plugin, "control_refused")
            });
        }
        if let Err(reason) = self.check_token(request) {
            ports.telemetry.count(self.refused);
            let line = LogLine::new(self.plugin, "control_refused").with("reason", reason);
            ports.telemetry.log(self.from(line, request));
            let challenge = "Bearer realm=\"portcullis-control\"";
            let reply = problem(
                401,
                "Authentication required",
                "expected the control path's token after Bearer",
            );
            return Some(
                reply
                    .because(self.plugin, "control_refused")
                    .with("www-authenticate", challenge),
            );
        }
        ports.telemetry.count(self.used);
        Some(self.obey(request, controlled, ports))
    }

    /// Whoever comes with a token that is not ours learns nothing of how close it was.
    fn check_token(&self, request: &Request<'_>) -> Result<(), &'static str> {
        let mut lines = request.headers().values("authorization");
        let (line, other) = (lines.next(), lines.next());
        let line = line.ok_or("no_token")?;
        if other.is_some() {
            return Err("several_tokens");
        }
        let (scheme, token) = line.split_at_checked(7).ok_or("no_token")?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err("no_token");
        }
        match self.token.matches(token.trim_ascii()) {
            true => Ok(()),
            false => Err("wrong_token"),
        }
    }

    /// Whether our token stands in it, in whatever form: for whoever mistook the path.
    fn shows_token(&self, request: &Request<'_>) -> bool {
        let lines = request.headers().values("authorization");
        let last = |line: &[u8]| {
            self.token
                .matches(line.rsplit(u8::is_ascii_whitespace).next().unwrap_or(line))
        };
        lines.fold(false, |shows, line| shows | last(line.trim_ascii()))
    }

    fn obey(
        &self,
        request: &Request<'_>,
        controlled: &dyn Controlled,
        ports: &Ports<'_>,
    ) -> LocalReply {
        let line = LogLine::new(self.plugin, "control");
        if !matches!(request.method(), "GET" | "HEAD" | "POST") {
            let line = line.with("action", "none").with("result", "method");
            ports.telemetry.log(self.from(line, request));
            let reply = problem(
                405,
                "Method not allowed",
                "expected GET to ask, or POST to change something",
            );
            return reply
                .because(self.plugin, "control")
                .with("allow", "GET, HEAD, POST");
        }
        let command = match request.sent() {
            Sent::Whole => Command::parse(request),
            Sent::HeadOnly => Err(Failed::Invalid(
                "the request has a body; expected its parameters in the query".to_owned(),
            )),
        };
        let (line, done) = match command {
            Ok(command) => {
                let line = command.described(line);
                let done = controlled.carry_out(&command, ports);
                let nobody = || Err(Failed::Unknown(command.missing().to_owned()));
                (line, done.unwrap_or_else(nobody))
            }
            Err(failed) => (line.with("action", "none"), Err(failed)),
        };
        let (line, reply) = match done {
            Ok(answer) => {
                let line = match &answer.about {
                    Some(caller) => line.with("caller", caller),
                    None => line,
                };
                let body = Value::Object(answer.shown).to_string();
                (
                    line.with("result", "done"),
                    json_reply(200, body, "application/json"),
                )
            }
            Err(failed) => {
                let title = match &failed {
                    Failed::Invalid(_) => "Invalid request",
                    Failed::Unknown(_) => "Not found",
                    Failed::Conflict(_) => "Conflict",
                    Failed::Unavailable(_) => "Service unavailable",
                };
                let reply = problem(failed.status(), title, failed.detail());
                (line.with("result", failed.as_str()), reply)
            }
        };
        ports.telemetry.log(self.from(line, request));
        reply.because(self.plugin, "control")
    }

    /// A use is known by where it came from, too.
    fn from(&self, line: LogLine, request: &Request<'_>) -> LogLine {
        let line = line.with("method", request.method());
        let line = match request.peer() {
            Some(peer) => line.with("peer", peer.to_string()),
            None => line,
        };
        line.with_id_of(request)
    }
}

fn problem(status: u16, title: &str, detail: &str) -> LocalReply {
    let body = json!({
        "type": "urn:portcullis:problem/control", "title": title, "status": status, "detail": detail
    });
    json_reply(status, body.to_string(), "application/problem+json")
}

/// For people with `curl`, whatever their client says that it speaks.
fn json_reply(status: u16, mut body: String, content_type: &str) -> LocalReply {
    body.push('\n');
    LocalReply {
        status,
        headers: Vec::new(),
        body,
        grpc: None,
        cause: String::new(),
    }
    .with("content-type", content_type)
    .with("cache-control", "no-store")
}

#[cfg(test)]
mod tests;
