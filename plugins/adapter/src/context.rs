//! The SDK's callbacks, handed to the driver.

use portcullis_driver::{Accepted, Step, StreamId};
use portcullis_policy::{Environment, Policy};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::worker::{Nature, Worker};
use crate::{abi, answers, configuration};

/// One filter of a worker.
pub(crate) struct Root<P: Policy, X: Nature> {
    id: u32,
    exchange: X,
    driven: portcullis_driver::Root<P, Worker<X>>,
}

impl<P: Policy + 'static, X: Nature> Root<P, X> {
    pub(crate) fn new(id: u32, exchange: X) -> Self {
        Self {
            id,
            exchange,
            driven: portcullis_driver::Root::new(Worker { exchange, root: id }),
        }
    }

    fn read(size: usize) -> Result<P::Config, String> {
        let bytes = abi::plugin_configuration(size)
            .map_err(|_| "configuration: the gateway did not hand it over".to_owned())?;
        configuration::parse(&bytes).map_err(|error| error.to_string())
    }
}

impl<P: Policy + 'static, X: Nature> Context for Root<P, X> {}

impl<P: Policy + 'static, X: Nature> RootContext for Root<P, X> {
    fn on_configure(&mut self, size: usize) -> bool {
        let accepted = self.driven.configure(Self::read(size), &Variables);
        if let Some(filter) = self.driven.filter() {
            answers::register(self.id, filter);
        }
        accepted == Accepted::Yes
    }

    fn on_tick(&mut self) {
        self.driven.tick();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            exchange: self.exchange,
            driven: self.driven.stream(StreamId(id.into())),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One request and its response.
struct Stream<P: Policy, X: Nature> {
    exchange: X,
    driven: portcullis_driver::Stream<P, Worker<X>>,
}

impl<P: Policy, X: Nature> Context for Stream<P, X> {}

impl<P: Policy, X: Nature> HttpContext for Stream<P, X> {
    fn on_http_request_headers(&mut self, count: usize, ends: bool) -> Action {
        action(self.driven.on_request(&self.exchange, count, ends))
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        action(self.driven.on_request_body(&self.exchange, size, ends))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        action(self.driven.on_request_trailers(&self.exchange))
    }

    fn on_http_response_headers(&mut self, _: usize, ends: bool) -> Action {
        self.driven.on_response(&self.exchange, ends);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        self.driven.on_response_body(&self.exchange, size, ends);
        Action::Continue
    }

    fn on_log(&mut self) {
        self.driven.on_log(&self.exchange);
    }
}

const fn action(step: Step) -> Action {
    match step {
        Step::Continue => Action::Continue,
        Step::Stop => Action::Pause,
    }
}

/// The variables that the host shows.
struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
