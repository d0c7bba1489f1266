//! Fetched key sets as a gateway's workers have them: in virtual time, with each answer given by
//! hand.

mod alone;
mod clocks;
mod discovering;
mod failing;
mod leases;
mod refreshing;
mod reloading;
mod rotating;
mod schedules;
mod several;
mod starting;
mod storing;
mod unknown;

use portcullis_issuer::{Key, jwks};
use portcullis_policy::{HttpCall, LocalReply, Span};
use portcullis_sim::{Answer, CallAnswer, Dialect, Worker, World};
use serde_json::{Value, json};

use crate::JwtAuth;

const ISSUER: &str = "https://id.example.com/realms/rag";
/// How often a worker ticks: what [`JwtAuth`] asks for.
const TICK: Span = Span::from_millis(100);

fn of() -> &'static Key {
    Key::of("EdDSA")
}

/// Another key of the same type.
fn other() -> &'static Key {
    Key::other("EdDSA")
}

fn remote() -> Value {
    json!({"upstream": "idp", "authority": "id.example.com", "path": "/certs"})
}

/// `remote_jwks` with these fields added or replaced.
fn remote_with(fields: Value) -> Value {
    let mut remote = remote();
    for (name, value) in fields.as_object().unwrap() {
        remote[name] = value.clone();
    }
    remote
}

fn provider(issuer: &str, remote: &Value) -> Value {
    json!({
        "issuer": issuer, "audiences": ["rag-api"], "algorithms": ["EdDSA"],
        "keys": [{"remote_jwks": remote}]
    })
}

/// A configuration of these providers, whose tokens are good for everything.
fn providers(providers: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = providers.iter().map(|(name, _)| *name).collect();
    let entries = providers.iter().cloned();
    let entries = entries.map(|(name, provider)| (name.to_owned(), provider));
    json!({
        "providers": Value::Object(entries.collect()),
        "rules": [{"require": {"any_of": names}}]
    })
}

/// One provider, `p`.
fn config_with(fields: Value) -> Value {
    providers(&[("p", provider(ISSUER, &remote_with(fields)))])
}

fn config() -> Value {
    config_with(json!({}))
}

/// A token of `issuer` that outlives every test.
fn token_by(issuer: &str, kid: &str, key: &Key) -> String {
    let claims = json!({"iss": issuer, "aud": "rag-api", "exp": 4_000_000_000_u64});
    key.token("EdDSA", json!({"kid": kid}), &claims)
}

fn token(kid: &str, key: &Key) -> String {
    token_by(ISSUER, kid, key)
}

fn ok(document: impl AsRef<[u8]>) -> CallAnswer {
    status(200, document)
}

fn status(status: u16, document: impl AsRef<[u8]>) -> CallAnswer {
    CallAnswer(Some((status, document.as_ref().to_vec())))
}

fn unreachable() -> CallAnswer {
    CallAnswer(None)
}

/// The answer of an issuer that publishes these keys.
fn set(keys: &[(&str, &Key)]) -> CallAnswer {
    ok(jwks(keys).to_string())
}

fn ask_for_reply(worker: &Worker<JwtAuth>, token: &str) -> Result<(), (LocalReply, String)> {
    let bearer = format!("Bearer {token}");
    let headers = [
        (":method", "GET"),
        (":authority", "rag"),
        (":path", "/api/x"),
        ("authorization", &*bearer),
    ];
    let before = worker.call();
    let (answer, _) = worker.request("192.0.2.1", &headers);
    assert_eq!(worker.call(), before, "no request makes a call");
    match answer {
        Answer::Passed(_) => Ok(()),
        Answer::Refused(reply) => {
            let lines = worker.telemetry.lines();
            let (_, rest) = lines.last().unwrap().split_once(" reason=").unwrap();
            let reason = rest.split(' ').next().unwrap();
            Err((reply, reason.to_owned()))
        }
    }
}

/// Asks with a token; tells the status, and why it was not 200.
fn ask(worker: &Worker<JwtAuth>, token: &str) -> (u16, String) {
    match ask_for_reply(worker, token) {
        Ok(()) => (200, String::new()),
        Err((reply, reason)) => (reply.status, reason),
    }
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn passes(worker: &Worker<JwtAuth>, token: &str) -> bool {
    ask(worker, token).0 == 200
}

fn metric(worker: &Worker<JwtAuth>, name: &str) -> u64 {
    worker.telemetry.metric(&format!("jwt_auth_{name}"))
}

const fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

/// The workers of one gateway.
struct Gateway {
    world: World,
    workers: Vec<Worker<JwtAuth>>,
}

impl Gateway {
    fn new(dialect: Dialect, workers: usize, config: &Value) -> Self {
        let mut gateway = Self {
            world: World::new(dialect, 1),
            workers: Vec::new(),
        };
        for _ in 0..workers {
            gateway.add(config);
        }
        gateway
    }

    /// A gateway whose workers have fetched this set.
    fn with(dialect: Dialect, workers: usize, config: &Value, answer: &CallAnswer) -> Self {
        let gateway = Self::new(dialect, workers, config);
        gateway.fetch(answer);
        gateway
    }

    /// One more worker, as a reload brings them.
    fn add(&mut self, config: &Value) {
        let number = self.workers.len() as u64;
        let worker = self.world.worker_taking(&config.to_string(), None, number);
        self.workers.push(worker.unwrap());
    }

    fn worker(&self, number: usize) -> &Worker<JwtAuth> {
        &self.workers[number]
    }

    /// Each worker ticks, in their order.
    fn tick(&self) {
        self.workers.iter().for_each(Worker::tick);
    }

    fn wait(&self, span: Span) {
        self.world.clock.advance(span);
    }

    /// The workers that have a call under way.
    fn asking(&self) -> Vec<usize> {
        let numbered = self.workers.iter().enumerate();
        let asking = numbered.filter(|(_, worker)| worker.call().is_some());
        asking.map(|(number, _)| number).collect()
    }

    /// The one call that is under way in all the gateway.
    fn call(&self) -> HttpCall {
        let calls: Vec<_> = self.workers.iter().filter_map(Worker::call).collect();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    /// Ends the calls that are under way.
    fn answer(&self, answer: &CallAnswer) {
        for number in self.asking() {
            self.worker(number).answer_call(answer);
        }
    }

    /// A fetch that is due now is made and answered, and all workers have heard of it.
    fn fetch(&self, answer: &CallAnswer) {
        self.tick();
        assert_eq!(self.asking().len(), 1, "one worker asks");
        self.answer(answer);
        self.tick();
    }

    /// Ticks until somebody asks, and tells how long that took; `None`: longer than `longest`.
    fn until_asked(&self, longest: Span) -> Option<Span> {
        let begin = self.world.clock.read();
        let waited = || self.world.clock.read().since(begin);
        while self.asking().is_empty() {
            if waited() >= longest {
                return None;
            }
            self.wait(TICK);
            self.tick();
        }
        Some(waited())
    }

    /// How many fetches of `p` had this result, by all workers' counts.
    fn fetches(&self, result: &str) -> u64 {
        self.fetches_of("p", result)
    }

    fn fetches_of(&self, provider: &str, result: &str) -> u64 {
        let name = format!("jwks_fetches.provider.{provider}.result.{result}");
        self.workers
            .iter()
            .map(|worker| metric(worker, &name))
            .sum()
    }

    fn all_pass(&self, token: &str) -> bool {
        self.workers.iter().all(|worker| passes(worker, token))
    }

    fn all_refuse(&self, token: &str, status: u16, reason: &str) -> bool {
        let said = refused(status, reason);
        self.workers.iter().all(|worker| ask(worker, token) == said)
    }
}
