//! The life of a request: which callbacks run, in which order, and which do not.
//!
//! | | Envoy | Kong |
//! | --- | --- | --- |
//! | a filter's own answer | passes its own response callback, then log | the same |
//! | connect failure, timeout | a response with 503 or 504 | nothing but the deletion (`error_page`) |
//! | client gone | log, without a status if there was no response | log with status 499 |
//! | the end of a response | a body callback says so, if there are no trailers | nothing |
//! | order at the end | log, done, delete | done, log, delete |
//! | another filter rejected first | log alone | response and log, without a request |

use std::mem;

use crate::Dialect;
use crate::calls::Calls;
use crate::end::{End, close};
use crate::exchange::{Exchange, Finished, Outcome, ResponseHead};
use crate::host::Host;
use crate::instance::Instance;
use crate::local_reply::LocalReply;
use crate::log::LogLevel;
use crate::request::Request;
use crate::response::{Response, ResponseOrigin};
use crate::state::{Phase, Shared};
use crate::stream::{FLAG_UPSTREAM_TERMINATION, Facts, Stream};
use crate::trap::Trap;

const CONTINUE: u32 = 0;

impl Host {
    /// A request arrives: creates its context and runs the request callback. If the filter answers itself, its own
    /// response callback runs too.
    pub fn request(&mut self, worker: usize, request: Request) -> Result<Exchange, Trap> {
        self.shared.recent = Calls::default();
        let dialect = self.dialect();
        if self.open_door(worker).is_some() {
            return Ok(Exchange::unfiltered(worker, Stream::new(dialect, &request)));
        }
        let index = self.living(worker)?;
        let (instance, shared) = self.parts(index)?;
        let context = create_context(instance, shared, Stream::new(dialect, &request))?;
        let stream = open(instance, context)?;
        stream.request_open = true;
        let count = stream.request.count();
        // Kong never says that a stream ends with its headers.
        let ends = u32::from(request.end_of_stream && dialect == Dialect::Envoy);
        let arguments = [context, count, ends];
        let name = "proxy_on_request_headers";
        let action = instance.run(shared, name, Phase::RequestHeaders, context, &arguments)?;
        let outcome = decide(
            instance,
            shared,
            context,
            action.unwrap_or(CONTINUE) == CONTINUE,
        )?;
        let mut exchange = Exchange {
            outcome,
            response: None,
            context,
            worker,
            calls: Calls::default(),
            instance: index,
            responded: false,
            bypassed: false,
            unfiltered: false,
            request_body: Vec::new(),
        };
        self.settle(&mut exchange);
        Ok(exchange)
    }

    /// All of the request's body has come: Kong calls once for it, before anything goes on to the upstream.
    pub fn request_body(&mut self, exchange: &mut Exchange, size: u32) -> Result<(), Trap> {
        self.shared.recent = Calls::default();
        if exchange.unfiltered {
            return Ok(());
        }
        let (instance, shared) = self.parts(exchange.instance)?;
        let arguments = [exchange.context, size, 1];
        let (name, context) = ("proxy_on_request_body", exchange.context);
        instance.run(shared, name, Phase::RequestBody, context, &arguments)?;
        if open(instance, context)?.local_reply.is_some() {
            exchange.outcome = decide(instance, shared, context, false)?;
        }
        self.settle(exchange);
        Ok(())
    }

    /// A part of the request's body comes. Where the filter holds the request back, Envoy goes on reading it, as it does with
    /// `allow_on_headers_stop_iteration`, and keeps what has come. `ends`: whether it is the last.
    pub fn request_part(
        &mut self,
        exchange: &mut Exchange,
        bytes: &[u8],
        ends: bool,
    ) -> Result<(), Trap> {
        self.shared.recent = Calls::default();
        if exchange.unfiltered || exchange.responded {
            return Ok(());
        }
        let waits = exchange.outcome == Outcome::Paused;
        let (instance, shared) = self.parts(exchange.instance)?;
        let (name, context) = ("proxy_on_request_body", exchange.context);
        let stream = open(instance, context)?;
        if !waits {
            stream.request_body.clear();
        }
        stream.request_body.extend_from_slice(bytes);
        let size = u32::try_from(stream.request_body.len()).unwrap_or(u32::MAX);
        let arguments = [context, size, u32::from(ends)];
        let action = instance.run(shared, name, Phase::RequestBody, context, &arguments)?;
        let goes_on = action.unwrap_or(CONTINUE) == CONTINUE;
        if waits && goes_on {
            exchange.request_body = open(instance, context)?.request_body.clone();
        }
        if open(instance, context)?.local_reply.is_some() || waits && goes_on {
            exchange.outcome = decide(instance, shared, context, goes_on)?;
        }
        self.settle(exchange);
        Ok(())
    }

    /// A part of the response's body comes. `ends`: whether it is the last. What the client receives of it.
    pub fn response_part(
        &mut self,
        exchange: &mut Exchange,
        bytes: &[u8],
        ends: bool,
    ) -> Result<Vec<u8>, Trap> {
        self.shared.recent = Calls::default();
        let (instance, shared) = self.parts(exchange.instance)?;
        let context = exchange.context;
        bytes.clone_into(&mut open(instance, context)?.response_body);
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let arguments = [context, size, u32::from(ends)];
        let name = "proxy_on_response_body";
        instance.run(shared, name, Phase::ResponseBody, context, &arguments)?;
        let passed = mem::take(&mut open(instance, context)?.response_body);
        exchange.calls.merge(&self.shared.recent);
        Ok(passed)
    }

    /// Looks again at what the filter decided, after the answer to a call that it waited for.
    pub fn resume(&mut self, exchange: &mut Exchange) -> Result<(), Trap> {
        self.shared.recent = Calls::default();
        if exchange.outcome != Outcome::Paused {
            return Ok(());
        }
        let (instance, shared) = self.parts(exchange.instance)?;
        let stream = open(instance, exchange.context)?;
        exchange.calls.merge(&mem::take(&mut stream.owed));
        let resumed = stream.resumed;
        exchange.outcome = decide(instance, shared, exchange.context, resumed)?;
        self.settle(exchange);
        Ok(())
    }

    /// A response arrives. What the client receives of it is in `exchange.response` afterwards; `None` there means
    /// that the filter holds it back, or that it went past the filter.
    ///
    /// Does nothing if the filter answered itself: that response is through already. Kong answers connect failures and
    /// timeouts past the filter.
    pub fn respond(&mut self, exchange: &mut Exchange, response: Response) -> Result<(), Trap> {
        if exchange.responded {
            return Ok(());
        }
        self.shared.recent = Calls::default();
        exchange.responded = true;
        if exchange.unfiltered {
            let mut stream = Stream::unseen(self.dialect(), "");
            let shown = response.shown(self.dialect());
            stream.start_response(response.status, &shown, Facts::of(&response));
            exchange.response = Some(head(&stream));
            return Ok(());
        }
        let unanswered = matches!(
            response.origin,
            ResponseOrigin::ConnectFailure | ResponseOrigin::Timeout
        );
        if self.dialect() == Dialect::Kong && unanswered {
            exchange.bypassed = true;
            return Ok(());
        }
        let (instance, shared) = self.parts(exchange.instance)?;
        let stream = open(instance, exchange.context)?;
        let shown = response.shown(shared.dialect);
        stream.start_response(response.status, &shown, Facts::of(&response));
        exchange.response = run_response(instance, shared, exchange.context, false)?;
        instance.must_export(shared.dialect, "proxy_on_response_body")?;
        exchange.calls.merge(&self.shared.recent);
        Ok(())
    }

    /// The stream ends: runs what the gateway runs then, and deletes the context.
    ///
    /// After a trap or a crash of its instance there is nothing left to run.
    pub fn finish(&mut self, mut exchange: Exchange, end: End) -> Result<Finished, Trap> {
        let instance = self
            .instances
            .get(exchange.instance)
            .and_then(Option::as_ref);
        let gone = instance.is_none_or(|instance| instance.dead);
        if !gone {
            if end == End::UpstreamReset && !exchange.responded {
                let mut early = Response::connect_failure();
                early.details = Some(
                    "upstream_reset_before_response_started{connection_termination}".to_owned(),
                );
                early.flags = Some(FLAG_UPSTREAM_TERMINATION);
                self.respond(&mut exchange, early)?;
            }
            self.shared.recent = Calls::default();
            let (instance, shared) = self.parts(exchange.instance)?;
            let own = exchange.outcome.local_status().is_some();
            exchange
                .calls
                .merge(&mem::take(&mut open(instance, exchange.context)?.owed));
            end.note(shared.dialect, open(instance, exchange.context)?, own);
            if end == End::Complete && !own && shared.dialect == Dialect::Envoy {
                last_of_response(instance, shared, exchange.context)?;
            }
            let callbacks = end.callbacks(shared.dialect, exchange.bypassed);
            let ended = close(instance, shared, exchange.context, callbacks);
            exchange.calls.merge(&self.shared.recent);
            ended?;
            self.shut_down_if_idle(exchange.instance);
        }
        Ok(Finished {
            outcome: exchange.outcome,
            response: exchange.response,
            calls: exchange.calls,
        })
    }

    /// Another filter rejects a request before this one sees it: Kong shows this one the response and the log, Envoy
    /// the log alone.
    pub fn response_without_request(
        &mut self,
        worker: usize,
        response: Response,
    ) -> Result<Finished, Trap> {
        self.shared.recent = Calls::default();
        let dialect = self.dialect();
        let index = self.living(worker)?;
        let (instance, shared) = self.parts(index)?;
        let stream = Stream::new(dialect, &Request::get("/"));
        let context = create_context(instance, shared, stream)?;
        let mut exchange = Exchange {
            outcome: Outcome::Continue {
                headers: Vec::new(),
            },
            response: None,
            context,
            worker,
            calls: Calls::default(),
            instance: index,
            responded: true,
            bypassed: false,
            unfiltered: false,
            request_body: Vec::new(),
        };
        let stream = open(instance, context)?;
        let shown = response.shown(dialect);
        stream.start_response(response.status, &shown, Facts::of(&response));
        stream.response_open = dialect == Dialect::Kong;
        exchange.response = match dialect {
            Dialect::Kong => run_response(instance, shared, context, false)?,
            Dialect::Envoy => Some(head(open(instance, context)?)),
        };
        exchange.calls.merge(&self.shared.recent);
        self.finish(exchange, End::Complete)
    }

    /// An instance that still runs, and the process it runs in.
    pub(crate) fn parts(&mut self, index: usize) -> Result<(&mut Instance, &mut Shared), Trap> {
        match self.instances.get_mut(index) {
            Some(Some(instance)) if !instance.dead => Ok((instance, &mut self.shared)),
            _ => Err(Trap::new(
                "",
                "the instance of this request has trapped before",
                false,
            )),
        }
    }

    /// Notes what the decision about a request means for the exchange.
    fn settle(&mut self, exchange: &mut Exchange) {
        exchange.calls.merge(&self.shared.recent);
        if let Outcome::LocalReply {
            status, headers, ..
        } = &exchange.outcome
        {
            exchange.responded = true;
            exchange.response = Some(ResponseHead {
                status: *status,
                headers: headers.clone(),
            });
        }
    }
}

fn create_context(
    instance: &mut Instance,
    shared: &mut Shared,
    stream: Stream,
) -> Result<u32, Trap> {
    let context = instance.new_context();
    let root = instance.state().root;
    instance.state_mut().streams.insert(context, stream);
    instance.run(
        shared,
        "proxy_on_context_create",
        Phase::Create,
        context,
        &[context, root],
    )?;
    Ok(context)
}

/// What the filter decided; if it answered itself, the answer's way back through it.
fn decide(
    instance: &mut Instance,
    shared: &mut Shared,
    context: u32,
    go_on: bool,
) -> Result<Outcome, Trap> {
    let stream = open(instance, context)?;
    if let Some(reply) = stream.local_reply.take() {
        return local_reply(instance, shared, context, reply);
    }
    if !go_on {
        return Ok(Outcome::Paused);
    }
    stream.request_open = false;
    Ok(Outcome::Continue {
        headers: stream.request.sent_upstream(),
    })
}

fn local_reply(
    instance: &mut Instance,
    shared: &mut Shared,
    context: u32,
    reply: LocalReply,
) -> Result<Outcome, Trap> {
    let stream = open(instance, context)?;
    let sent = reply.to(shared.dialect, &stream.request);
    stream.start_response(
        sent.status,
        &sent.headers,
        Facts::local(reply.status, &reply.details),
    );
    run_response(instance, shared, context, reply.body.is_empty())?;
    let seen = head(open(instance, context)?);
    Ok(Outcome::LocalReply {
        status: seen.status,
        headers: seen.headers,
        body: sent.body,
        grpc_status: reply.grpc_status,
    })
}

/// Runs the response callback: what the client receives, `None` while the filter holds the response back.
fn run_response(
    instance: &mut Instance,
    shared: &mut Shared,
    context: u32,
    ends: bool,
) -> Result<Option<ResponseHead>, Trap> {
    let count = open(instance, context)?.response.count();
    let ends = u32::from(ends && shared.dialect == Dialect::Envoy);
    let name = "proxy_on_response_headers";
    let action = instance.run(
        shared,
        name,
        Phase::ResponseHeaders,
        context,
        &[context, count, ends],
    )?;
    let worker = instance.state().worker;
    let stream = open(instance, context)?;
    if let Some(reply) = stream.local_reply.take() {
        // Only Envoy gets here. It sends this reply past all filters, this one included.
        let sent = reply.to(shared.dialect, &stream.request);
        stream.facts = Facts::local(reply.status, &reply.details);
        return Ok(Some(ResponseHead {
            status: sent.status,
            headers: sent.headers,
        }));
    }
    if action.unwrap_or(CONTINUE) != CONTINUE {
        if shared.dialect == Dialect::Kong {
            let message = "proxy_wasm cannot pause in \"header_filter\" phase";
            shared.note(worker, LogLevel::Error, message.to_owned());
            return Err(Trap::new(name, message, false));
        }
        return Ok(None);
    }
    stream.response_open = false;
    Ok(Some(head(stream)))
}

/// Runs the callback for the last part of a response's body, unless trailers follow it.
fn last_of_response(
    instance: &mut Instance,
    shared: &mut Shared,
    context: u32,
) -> Result<(), Trap> {
    let stream = open(instance, context)?;
    if !stream.response_started || !stream.facts.trailers.is_empty() {
        return Ok(());
    }
    // A byte of which no more is known.
    open(instance, context)?.response_body = b" ".to_vec();
    let arguments = [context, 1, 1];
    let name = "proxy_on_response_body";
    instance.run(shared, name, Phase::ResponseBody, context, &arguments)?;
    Ok(())
}

fn head(stream: &Stream) -> ResponseHead {
    let status = stream
        .response
        .get(":status")
        .and_then(|status| std::str::from_utf8(status).ok());
    ResponseHead {
        status: status.and_then(|status| status.parse().ok()).unwrap_or(0),
        headers: stream.response.sent_downstream(),
    }
}

fn open(instance: &mut Instance, context: u32) -> Result<&mut Stream, Trap> {
    let stream = instance.state_mut().streams.get_mut(&context);
    stream.ok_or_else(|| Trap::new("", "there is no such request", false))
}
