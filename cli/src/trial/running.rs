//! A filter in force, whichever it is and whatever loads it.

use std::rc::Rc;

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_driver::{Accepted, Root, Step, Stream, StreamId};
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::config::parse_value;
use portcullis_policy::{BodyError, CallReply, Environment, Policy, Span};
use portcullis_rate_limit::RateLimit;
use portcullis_service_token::ServiceToken;
use serde_json::Value;

use super::explained::Explained;
use super::host::{Envoy, EnvoyAlone, Gateway, Kong, Native, Worker};
use super::passing::Entered;
use super::watched::{Given, Watched};
use super::world::World;
use crate::filter::{Filter, Host};

/// A filter in force.
pub(super) trait Running {
    /// What looks after one request.
    fn stream(&self, number: u64) -> Box<dyn Streaming>;
    /// How often it is to have a tick.
    fn tick_every(&self) -> Span;
    /// Looks after what goes on between requests.
    fn tick(&mut self);
    /// Hands over the answer to its call of that number, if it is one of its own.
    fn answer(&self, number: u32, body: Vec<u8>);
}

/// A filter's part in one request.
pub(super) trait Streaming {
    fn on_request(&mut self, request: &Entered, ends: Ends) -> Step;
    fn on_request_body(&mut self, request: &Entered) -> Step;
    fn is_held(&self) -> bool;
    fn on_response(&mut self, response: &Entered);
    fn on_log(&mut self, response: &Entered);
}

/// Whether a head is all that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    Here,
    WithItsBody,
}

/// Puts a filter in force; `None` where it refuses its configuration, which `check` tells of.
pub(super) fn start(
    filter: Filter,
    host: Host,
    config: Value,
    environment: &dyn Environment,
    world: &Rc<World>,
) -> Option<Box<dyn Running>> {
    match filter.name {
        JwtAuth::NAME => of::<JwtAuth>(host, config, environment, world),
        RateLimit::NAME => of::<RateLimit>(host, config, environment, world),
        CircuitBreaker::NAME => of::<CircuitBreaker>(host, config, environment, world),
        ServiceToken::NAME => of::<ServiceToken>(host, config, environment, world),
        Edge::NAME => of::<Edge>(host, config, environment, world),
        _ => None,
    }
}

fn of<P: Explained + 'static>(
    host: Host,
    config: Value,
    environment: &dyn Environment,
    world: &Rc<World>,
) -> Option<Box<dyn Running>> {
    match host {
        Host::Envoy => on::<P, Envoy>(config, environment, world),
        Host::EnvoyAlone => on::<P, EnvoyAlone>(config, environment, world),
        Host::Native => on::<P, Native>(config, environment, world),
        Host::Kong => on::<P, Kong>(config, environment, world),
    }
}

fn on<P: Explained + 'static, G: Gateway>(
    config: Value,
    environment: &dyn Environment,
    world: &Rc<World>,
) -> Option<Box<dyn Running>> {
    let mut root = Root::<Watched<P>, _>::new(Worker::<G>::new(world));
    let given = Given {
        config: parse_value(config).ok()?,
        world: Rc::clone(world),
    };
    let accepted = root.configure(Ok(given), environment);
    let is_in_force = accepted == Accepted::Yes && root.filter().is_some();
    is_in_force.then(|| Box::new(root) as Box<dyn Running>)
}

impl<P: Explained + 'static, G: Gateway> Running for Root<Watched<P>, Worker<G>> {
    fn stream(&self, number: u64) -> Box<dyn Streaming> {
        Box::new(Root::stream(self, StreamId(number)))
    }

    fn tick_every(&self) -> Span {
        let filter = self.filter();
        filter.map_or(Span::from_secs(1), |filter| filter.tick_every())
    }

    fn tick(&mut self) {
        Root::tick(self);
    }

    fn answer(&self, number: u32, body: Vec<u8>) {
        if let Some(filter) = self.filter() {
            let _is_its_own = filter.on_answer(number, &Ok200(body));
        }
    }
}

/// An answer to a call.
struct Ok200(Vec<u8>);

impl CallReply for Ok200 {
    fn header(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn status(&self) -> Option<u16> {
        Some(200)
    }

    fn body(&self, longest: usize) -> Result<Vec<u8>, BodyError> {
        match self.0.len() <= longest {
            true => Ok(self.0.clone()),
            false => Err(BodyError::TooLong),
        }
    }
}

impl<P: Explained + 'static, G: Gateway> Streaming for Stream<Watched<P>, Worker<G>> {
    fn on_request(&mut self, request: &Entered, ends: Ends) -> Step {
        let count = request.0.headers.borrow().len();
        Self::on_request(self, request, count, ends == Ends::Here)
    }

    fn on_request_body(&mut self, request: &Entered) -> Step {
        let size = request.0.body.borrow().len();
        Self::on_request_body(self, request, size, true)
    }

    fn is_held(&self) -> bool {
        Self::is_held(self)
    }

    fn on_response(&mut self, response: &Entered) {
        let size = response.0.response_body.borrow().len();
        Self::on_response(self, response, size == 0);
        if size > 0 {
            self.on_response_body(response, size, true);
        }
    }

    fn on_log(&mut self, response: &Entered) {
        Self::on_log(self, response);
    }
}
