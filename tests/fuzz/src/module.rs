//! Target `module`: native code under whatever order of events Envoy could come up with, with whatever clients, upstreams and
//! issuers send, and with faults in between. A panic is one here although the module would catch it.
//!
//! What was refused stays refused, what passes carries the credential once and the caller's own identity, and no request waits for
//! ever. That memory is used rightly is what the sanitizer looks at.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_issuer::Key;
use portcullis_modulehost::{
    Envoy, Header, Outcome, RouteConfig, Stream, advance_millis, forget, set_clock, take_log,
};
use serde_json::{Value, json};

use crate::NOW;
use crate::oracle::AUDIENCE;

const ISSUER: &str = "https://secret.example";
const CREDENTIAL: &str = "fuzz-credential-of-32-bytes-or-more";
const USER: &str = "alice";

/// What happens next. Streams are named by their place among those that live.
#[derive(Arbitrary, Clone, Debug)]
pub enum Event {
    /// A request's head.
    Request {
        /// Whether it has a good token.
        token: bool,
        /// Whether no body follows.
        ends: bool,
        /// Whether its route has a configuration of its own.
        own_route: bool,
        /// What fails at it.
        fails: Option<Fault>,
        /// The connection's peer, as Envoy writes it.
        peer: Option<String>,
        /// Its path.
        path: Vec<u8>,
        /// Further headers.
        headers: Vec<(Name, Vec<u8>)>,
    },
    /// A part of its body, and whether it is the last.
    Body(u8, Vec<u8>, bool),
    /// Its trailers.
    Trailers(u8),
    /// A response's head.
    Respond {
        /// To which request.
        to: u8,
        /// Its status.
        status: u16,
        /// Details of the response's code.
        details: String,
        /// Whether the upstream sent it.
        upstream: bool,
        /// Further headers.
        headers: Vec<(Name, Vec<u8>)>,
    },
    /// A part of a response's body.
    Part(u8, Vec<u8>),
    /// The last of a response, with trailers.
    Whole(u8, Vec<(Name, Vec<u8>)>),
    /// A stream ends, with other details where they are given.
    End(u8, Option<String>),
    /// A stream is gone.
    Forget(u8),
    /// A tick.
    Tick,
    /// So many milliseconds pass.
    Wait(u16),
    /// Another configuration takes the place of the one in force.
    Replace,
    /// The route's configuration goes.
    DropRoute,
    /// A configuration is read.
    Configure(String, Vec<u8>),
    /// The answer to the first call under way; without one it fails.
    Answer(Option<(u16, Vec<u8>)>),
}

/// A header's name.
#[derive(Arbitrary, Clone, Debug)]
pub enum Name {
    /// One that filters look at.
    Known(u8),
    /// Any other.
    Other(String),
}

/// What the host does not do.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Fault {
    /// It shows no headers.
    Headers,
    /// It does not set the credential.
    Credential,
    /// It does not set the identity.
    Identity,
}

const KNOWN: [&str; 20] = [
    "authorization",
    "x-service-token",
    "x_service_token",
    "x-user-id",
    "x.user.id",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "cookie",
    "x-forwarded-for",
    "host",
    "origin",
    "access-control-request-method",
    "x-request-id",
    "grpc-status",
    "retry-after",
    "ratelimit",
    "x-ratelimit-limit",
    "x-envoy-upstream-service-time",
];

impl Name {
    /// As Envoy shows names: in lower case, and none that is a pseudo-header.
    fn text(&self) -> String {
        match self {
            Self::Known(at) => KNOWN[usize::from(*at) % KNOWN.len()].to_owned(),
            Self::Other(name) => name.trim_start_matches(':').to_ascii_lowercase(),
        }
    }
}

impl Fault {
    const fn at(fault: Option<Self>) -> fn(&str) -> bool {
        match fault {
            Some(Self::Headers) => |what| matches!(what.as_bytes(), b"headers"),
            Some(Self::Credential) => |what| matches!(what.as_bytes(), b"x-service-token"),
            Some(Self::Identity) => |what| matches!(what.as_bytes(), b"x-user-id"),
            None => |_| false,
        }
    }
}

static CONFIG: LazyLock<String> = LazyLock::new(|| config().to_string());

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": USER, "exp": NOW + 86_400});
    Key::of("HS256").token("HS256", json!({}), &claims)
});

fn config() -> Value {
    let secret = URL_SAFE_NO_PAD.encode(Key::of("HS256").bytes());
    json!({
        "jwt_auth": {
            "providers": {
                "near": {
                    "issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": ["HS256"],
                    "keys": [{"secret": {"value": secret, "encoding": "base64url"}}],
                    "forward": {"claims": {"sub": "x-user-id"}},
                },
                "far": {
                    "issuer": "https://far.example", "audiences": [AUDIENCE], "algorithms": ["RS256", "ES256"],
                    "keys": [{"remote_jwks": {"upstream": "idp", "authority": "far.example", "path": "/jwks", "wait": "2s"}}],
                },
            },
            "rules": [{"require": {"any_of": ["near", "far"]}}],
        },
        "rate_limit": {
            "limits": [
                {"name": "l", "key": ["client_address"], "quota": 20, "window": "10s"},
                {"name": "t", "key": ["client_address"], "quota": 20_000, "window": "10s",
                 "cost": {"tokens": {}, "reserve": {"output": {"from": ["max_tokens", "o.k"], "clamp": true}}}},
                {"name": "f", "key": ["client_address"], "quota": 900, "window": "10s", "algorithm": "token_bucket",
                 "cost": {"field": {"json": "n", "at_most": 9, "unreadable": "at_most"}},
                 "on_exceeded": {"set": {"x-tier": "small"}}},
            ],
            "capacity": 64, "on_error": "allow", "log": "usage", "max_body": [{"bytes": 300}],
            "usage": {"include_usage": "force", "models": {"m": ["a*"]}},
        },
        "circuit_breaker": {"breakers": [{
            "name": "b", "open_for": {"initial": "5s"}, "failures": {"stall": "2s"},
            "trip": {"consecutive_failures": 3,
                "slow_first_token": {"above": 0.5, "slower_than": "1s", "window": "10s", "minimum_requests": 3}},
        }]},
        "service_token": {"credential": {
            "kind": "static", "secrets": [{"id": "a", "value": CREDENTIAL}],
        }},
    })
}

/// Events of which the first is a request that passes.
pub fn good() -> Vec<Event> {
    let request = Event::Request {
        token: true,
        ends: true,
        own_route: false,
        fails: None,
        peer: None,
        path: b"/a".to_vec(),
        headers: vec![(Name::Known(1), b"forged".to_vec())],
    };
    let respond = Event::Respond {
        to: 0,
        status: 200,
        details: "via_upstream".to_owned(),
        upstream: true,
        headers: Vec::new(),
    };
    vec![
        request,
        respond,
        Event::Whole(0, Vec::new()),
        Event::End(0, None),
    ]
}

/// A stream, and whether it was let pass.
struct Living {
    stream: Stream,
    has_token: bool,
    passes: bool,
    /// Whether a response's head has come.
    answered: bool,
}

impl Living {
    /// Looks what has become of it, and holds what passed to what may pass.
    fn passed(&mut self, outcome: &Outcome) {
        if self.passes || *outcome != Outcome::Continue {
            return;
        }
        self.passes = true;
        assert!(self.has_token, "nobody passes without a token");
        let sent = self.stream.sent();
        let values = |name: &str| -> Vec<&[u8]> {
            let folded = |other: &str| other.replace(['_', '.'], "-") == name;
            let lines = sent.iter().filter(|(other, _)| folded(other));
            // One that is to be taken away passes empty where it can't be removed.
            lines
                .map(|(_, value)| value.as_slice())
                .filter(|value| !value.is_empty())
                .collect()
        };
        assert_eq!(values("x-service-token"), [CREDENTIAL.as_bytes()]);
        assert_eq!(values("x-user-id"), [USER.as_bytes()]);
    }
}

/// Tries a run of events; true where a request passes.
pub fn check(events: Vec<Event>) -> bool {
    set_clock(NOW * 1_000_000_000);
    forget();
    let mut envoy = Envoy::start("edge", &CONFIG).expect("a configuration");
    let mut route = Some(RouteConfig::new("edge", &CONFIG).expect("a configuration"));
    let mut living: Vec<Living> = Vec::new();
    // A configuration that is gone serves the streams that it has.
    let mut before: Vec<(Envoy, Vec<Living>)> = Vec::new();
    let mut passed = false;
    for event in events {
        happen(event, &mut envoy, &mut route, &mut living, &mut before);
        for living in &mut living {
            // What was held goes on, or is answered, of its own accord.
            let outcome = living.stream.look();
            living.passed(&outcome);
            passed |= living.passes;
        }
        for line in take_log() {
            assert!(!line.contains(char::is_control), "in a log line: {line:?}");
            assert!(
                !line.contains(CREDENTIAL) && !line.contains(&*TOKEN),
                "a secret in a log line"
            );
        }
    }
    // No request waits for longer than it may.
    let is_held = |living: &mut Living| !living.passes && living.stream.look() == Outcome::Held;
    // For a body 30 s.
    let mut ticks = 700;
    while living.iter_mut().any(is_held) {
        ticks -= 1;
        assert_ne!(ticks, 0, "a request waits for ever");
        advance_millis(50);
        envoy.tick();
    }
    // Whoever still holds something lets go of it in any order.
    drop(living);
    for (mut envoy, living) in before {
        drop(living);
        envoy.tick();
    }
    envoy.tick();
    take_log();
    passed
}

fn happen(
    event: Event,
    envoy: &mut Envoy,
    route: &mut Option<RouteConfig>,
    living: &mut Vec<Living>,
    before: &mut Vec<(Envoy, Vec<Living>)>,
) {
    /// So many streams and configurations live at a time.
    const MOST: usize = 16;
    let lines = |headers: Vec<(Name, Vec<u8>)>| -> Vec<Header> {
        let lines = headers.into_iter();
        lines.map(|(name, value)| (name.text(), value)).collect()
    };
    match event {
        Event::Request {
            token,
            ends,
            own_route,
            fails,
            peer,
            path,
            headers,
        } => {
            let pseudo: [(&str, &[u8]); 3] = [
                (":method", b"GET"),
                (":path", &path),
                (":authority", b"rag"),
            ];
            let mut all: Vec<Header> = pseudo
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .into();
            if token {
                let value = format!("Bearer {}", *TOKEN);
                all.push(("authorization".to_owned(), value.into_bytes()));
            }
            all.extend(lines(headers));
            let peer = peer.as_deref().unwrap_or("192.0.2.1:1");
            let (stream, outcome) = match (&*route, own_route) {
                (Some(route), true) => envoy.request_on(route, peer, all),
                _ => envoy.request_with(peer, all, ends, |stream| stream.fail(Fault::at(fails))),
            };
            let mut new = Living {
                stream,
                has_token: token,
                passes: false,
                answered: false,
            };
            new.passed(&outcome);
            living.push(new);
            living.truncate(MOST);
        }
        Event::Body(at, bytes, ends) => {
            if let Some(living) = living.get_mut(usize::from(at)) {
                let outcome = living.stream.send(&bytes, ends);
                // It may decide on its request; else none goes on alone.
                living.passed(&outcome);
            }
        }
        Event::Part(at, bytes) => {
            let at = living.get_mut(usize::from(at));
            if let Some(living) = at.filter(|living| living.answered) {
                living.stream.answer_part(&bytes);
            }
        }
        Event::Trailers(at) => {
            if let Some(living) = living.get_mut(usize::from(at)) {
                living.stream.trailers();
            }
        }
        Event::Respond {
            to,
            status,
            details,
            upstream,
            headers,
        } => {
            let to = living.get_mut(usize::from(to));
            if let Some(living) = to.filter(|living| living.passes && !living.answered) {
                living.answered = true;
                let mut head = vec![(":status".to_owned(), status.to_string().into_bytes())];
                head.extend(lines(headers));
                let head = living.stream.respond(head, &details, upstream);
                let count = |name: &str| head.iter().filter(|(other, _)| other == name).count();
                // A request without an address has nothing to show, and the upstream's lines stay.
                if count("ratelimit-policy") == 1 {
                    assert_eq!([count("ratelimit"), count("x-ratelimit-limit")], [1, 1]);
                }
            }
        }
        Event::Whole(at, trailers) => {
            let at = living.get_mut(usize::from(at));
            if let Some(living) = at.filter(|living| living.passes) {
                living.stream.respond_whole(lines(trailers));
            }
        }
        Event::End(at, details) => {
            let at = usize::from(at);
            if at < living.len() {
                living.remove(at).stream.end(details.as_deref());
                envoy.settle();
            }
        }
        Event::Forget(at) => {
            let at = usize::from(at);
            if at < living.len() {
                drop(living.remove(at));
            }
        }
        Event::Tick => envoy.tick(),
        Event::Wait(millis) => advance_millis(millis.into()),
        Event::Replace if before.len() < MOST => {
            let next = Envoy::start("edge", &CONFIG).expect("a configuration");
            let old = std::mem::replace(envoy, next);
            before.push((old, std::mem::take(living)));
        }
        Event::Replace => {}
        Event::DropRoute => *route = None,
        Event::Configure(name, text) => {
            let text = String::from_utf8_lossy(&text);
            drop(RouteConfig::new(&name, &text));
            drop(Envoy::start("jwt_auth", &text));
        }
        Event::Answer(answer) => {
            if let Some(id) = envoy.calls().first().map(|call| call.id) {
                let answer = answer.as_ref();
                envoy.answer(id, answer.map(|(status, body)| (*status, body.as_slice())));
            }
        }
    }
}
