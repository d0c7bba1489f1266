//! The filters, by their names.

use std::rc::Rc;

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_driver::{Accepted, Filter, Host, Root, Step, Stream, StreamId};
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::config::{ConfigError, parse_text};
use portcullis_policy::{CallId, CallReply, Environment, MetricRegistry, Policy, Setup, Span};
use portcullis_rate_limit::RateLimit;
use portcullis_service_token::ServiceToken;

use crate::exchange::Entered;
use crate::instance::{Main, Worker};

/// A filter of some policy.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The instance of a worker.
    pub(crate) worker: fn(Worker, &[u8], &dyn Environment) -> Box<dyn OnWorker>,
    /// The instance of the main thread; `None` where the configuration is refused, which was said.
    pub(crate) main: fn(Main, &[u8], &dyn Environment) -> Taken,
    /// Whether a configuration can be put in force.
    pub(crate) check: fn(&[u8], &dyn Environment) -> Result<(), ConfigError>,
}

/// A policy of the main thread's, if its configuration was taken.
type Taken = Option<Box<dyn OnMain>>;

/// All filters.
const KINDS: [Kind; 5] = [
    kind::<JwtAuth>(),
    kind::<RateLimit>(),
    kind::<CircuitBreaker>(),
    kind::<ServiceToken>(),
    kind::<Edge>(),
];

/// The filter of that name.
pub(crate) fn named(name: &str) -> Option<Kind> {
    KINDS.into_iter().find(|kind| kind.name == name)
}

/// What they are called.
pub(crate) fn names() -> String {
    KINDS.map(|kind| kind.name).join(", ")
}

/// A policy of a worker's.
pub(crate) trait OnWorker {
    /// What looks after one request.
    fn stream(&self, id: StreamId) -> Box<dyn OnStream>;
    /// A tick has passed.
    fn tick(&self);
    /// How often one does.
    fn tick_every(&self) -> Span;
    /// There may be news in what is shared.
    fn look(&self);
    /// No request is left, and there may be no tick for as long.
    fn idle(&self);
    /// Whether it keeps something for its next tick that others go by.
    fn tells_with_ticks(&self) -> bool;
}

/// A policy of the main thread's.
pub(crate) trait OnMain {
    /// A tick has passed.
    fn tick(&self);
    /// How often one does.
    fn tick_every(&self) -> Span;
    /// A call was answered.
    fn on_answer(&self, number: u32, reply: &dyn CallReply);
    /// A worker's request lacks what this call would bring.
    fn want(&self, call: CallId);
}

/// A request and its response.
pub(crate) trait OnStream {
    fn on_request(&mut self, exchange: Entered, count: usize, ends: bool) -> Step;
    fn on_request_body(&mut self, exchange: Entered, size: usize, ends: bool) -> Step;
    fn on_request_trailers(&mut self, exchange: Entered) -> Step;
    fn on_response(&mut self, exchange: Entered, ends: bool);
    fn on_response_body(&mut self, exchange: Entered, size: usize, ends: bool);
    fn on_log(&mut self, exchange: Entered);
    /// Whether its request is held.
    fn is_held(&self) -> bool;
    /// Whether its request's body may be read before it goes on.
    fn reads_request(&self) -> bool;
    /// Whether it matters how long the parts of its request's body are.
    fn measures_request(&self) -> bool;
    /// Whether what was kept of its request's body comes with its next part.
    fn keeps_body(&self) -> bool;
    /// Whether it reads the parts of its response's body.
    fn reads_response(&self) -> bool;
}

const fn kind<P: Policy + 'static>() -> Kind {
    Kind {
        name: P::NAME,
        worker: |host, text, environment| Box::new(configured::<P, _>(host, text, environment).0),
        main: |host, text, environment| {
            let (root, accepted) = configured::<P, _>(host, text, environment);
            let filter = root.filter().cloned();
            match accepted {
                Accepted::Yes => filter.map(|filter| Box::new(filter) as Box<dyn OnMain>),
                Accepted::No => None,
            }
        },
        check: |text, environment| {
            let mut setup = Setup {
                environment,
                metrics: &mut MetricRegistry::default(),
                abilities: Worker::ABILITIES,
            };
            P::from_config(parse_text(whole(text))?, &mut setup).map(drop)
        },
    }
}

/// A filter without `filter_config`: what is missing is said.
const fn whole(text: &[u8]) -> &[u8] {
    match text.trim_ascii() {
        b"" => b"{}",
        text => text,
    }
}

fn configured<P: Policy + 'static, H: Host>(
    host: H,
    text: &[u8],
    environment: &dyn Environment,
) -> (Root<P, H>, Accepted) {
    let mut root = Root::new(host);
    let config = parse_text(whole(text)).map_err(|error| error.to_string());
    let accepted = root.configure(config, environment);
    (root, accepted)
}

impl<P: Policy + 'static> OnWorker for Root<P, Worker> {
    fn stream(&self, id: StreamId) -> Box<dyn OnStream> {
        Box::new(Self::stream(self, id))
    }

    fn tick(&self) {
        if let Some(filter) = self.filter() {
            filter.tick();
        }
    }

    fn tick_every(&self) -> Span {
        self.filter()
            .map_or(Span::from_secs(1), |filter| filter.tick_every())
    }

    fn look(&self) {
        if let Some(filter) = self.filter() {
            filter.look();
        }
    }

    fn idle(&self) {
        if let Some(filter) = self.filter() {
            filter.idle();
        }
    }

    fn tells_with_ticks(&self) -> bool {
        self.filter()
            .is_some_and(|filter| filter.tells_with_ticks())
    }
}

impl<P: Policy + 'static> OnMain for Rc<Filter<P, Main>> {
    fn tick(&self) {
        Filter::tick(self);
    }

    fn tick_every(&self) -> Span {
        Filter::tick_every(self)
    }

    fn on_answer(&self, number: u32, reply: &dyn CallReply) {
        // What is nobody's was given up.
        let _is_ours = Filter::on_answer(self, number, reply);
    }

    fn want(&self, call: CallId) {
        Filter::want(self, call);
    }
}

impl<P: Policy> OnStream for Stream<P, Worker> {
    fn on_request(&mut self, exchange: Entered, count: usize, ends: bool) -> Step {
        Self::on_request(self, &exchange, count, ends)
    }

    fn on_request_body(&mut self, exchange: Entered, size: usize, ends: bool) -> Step {
        Self::on_request_body(self, &exchange, size, ends)
    }

    fn on_request_trailers(&mut self, exchange: Entered) -> Step {
        Self::on_request_trailers(self, &exchange)
    }

    fn on_response(&mut self, exchange: Entered, ends: bool) {
        Self::on_response(self, &exchange, ends);
    }

    fn on_response_body(&mut self, exchange: Entered, size: usize, ends: bool) {
        Self::on_response_body(self, &exchange, size, ends);
    }

    fn on_log(&mut self, exchange: Entered) {
        Self::on_log(self, &exchange);
    }

    fn is_held(&self) -> bool {
        Self::is_held(self)
    }

    fn reads_request(&self) -> bool {
        Self::reads_request(self)
    }

    fn measures_request(&self) -> bool {
        Self::measures_request(self)
    }

    fn keeps_body(&self) -> bool {
        Self::keeps_body(self)
    }

    fn reads_response(&self) -> bool {
        Self::reads_response(self)
    }
}
