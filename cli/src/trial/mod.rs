//! Runs the filters of a chain on requests, in memory: the same policies, driven as a gateway drives them.

pub mod chain;
mod ends;
mod explained;
mod filters;
mod heard;
mod host;
mod log_line;
mod memory;
mod note;
mod notes;
mod passing;
pub mod record;
mod running;
pub mod series;
mod upstream;
mod watched;
mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use portcullis_driver::Step;
use portcullis_policy::{Span, Timestamp};

use self::chain::Chain;
use self::ends::{Around, sent_on, shown, shown_first};
use self::filters::Filters;
use self::passing::Entered;
use self::record::{Answer, Record};
use self::running::{Ends, Streaming};
pub use self::upstream::{Fails, Upstream};
use self::world::World;
use crate::filter::{Host, Variables};
use crate::gateway::Configured;
use crate::requests::Asked;

/// Who sends requests that do not say who (RFC 5737).
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// What a trial goes by, beside its filters.
#[derive(Clone, Debug)]
pub struct Setting {
    /// When it begins.
    pub at: Timestamp,
    /// Who sends requests that do not say who.
    pub client: IpAddr,
    /// What is answered to the filters' own calls, by their URLs.
    pub answers: BTreeMap<String, Vec<u8>>,
}

/// Filters in force, and the requests that they have seen.
pub struct Trial {
    world: Rc<World>,
    around: Around,
    filters: Filters,
    under_way: Vec<UnderWay>,
    records: Vec<Record>,
}

/// A request that the backend works on, or that a filter has answered.
struct UnderWay {
    record: usize,
    ends: Timestamp,
    streams: Vec<Box<dyn Streaming>>,
    entered: Entered,
    upstream: Upstream,
}

/// For how long at most a request is held.
const LONGEST_HELD: Span = Span::from_secs(60);

impl Trial {
    /// Puts the filters of a chain in force. `variables`: those of the gateway, as each filter sees them.
    ///
    /// # Errors
    /// Which of them refuses its configuration.
    pub fn start(
        chain: &Chain,
        setting: Setting,
        variables: impl Fn(&Configured) -> Variables,
    ) -> Result<Self, String> {
        let world = Rc::new(World::default());
        world.now.set(setting.at);
        *world.answers.borrow_mut() = setting.answers;
        let first = chain.filters.first();
        Ok(Self {
            filters: Filters::start(Rc::clone(&world), chain, variables)?,
            world,
            around: Around {
                is_kong: first.is_some_and(|first| first.host == Host::Kong),
                knows_the_peer: first.and_then(|first| Some(first.manager?.knows_the_peer)),
                client: setting.client,
            },
            under_way: Vec::new(),
            records: Vec::new(),
        })
    }

    /// When it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world.now.get()
    }

    /// Lets so much time pass.
    pub fn wait(&mut self, span: Span) {
        self.pass_until(self.now().after(span));
    }

    /// Sends a request at its time, or now where it has none, or one that is over. `upstream`: what the backend answers.
    pub fn send(&mut self, asked: &Asked, upstream: &Upstream) {
        self.pass_until(asked.at.unwrap_or_default());
        let number = self.records.len().saturating_add(1);
        let entered = Entered(Rc::new(shown_first(asked, number, &self.around)));
        let key = u64::try_from(number).unwrap_or(u64::MAX);
        self.world.enter(key, &entered.0);
        let sent = entered.0.headers.borrow().clone();
        let mut record = Record::new(number, self.now(), entered.0.peer, asked);
        let streams = self.ask_all(key, &entered, &mut record);
        let is_answered = entered.0.reply.borrow().is_some();
        if !is_answered {
            record.backend = Some(sent_on(&entered.0, &sent, asked));
        }
        let under_way = UnderWay {
            record: self.records.len(),
            ends: self.now().after(upstream.delay),
            streams,
            entered,
            upstream: upstream.clone(),
        };
        self.records.push(record);
        if is_answered {
            self.end(under_way);
        } else {
            self.under_way.push(under_way);
            self.pass_until(self.now());
        }
    }

    /// What came of all requests so far. Those that the backend works on have no answer yet.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What came of all requests, once each has its answer.
    #[must_use]
    pub fn finish(mut self) -> Vec<Record> {
        while let Some(last) = self.under_way.iter().map(|request| request.ends).max() {
            self.pass_until(last);
        }
        self.records
    }

    /// Asks the filters one after another, until one answers.
    fn ask_all(
        &mut self,
        key: u64,
        entered: &Entered,
        record: &mut Record,
    ) -> Vec<Box<dyn Streaming>> {
        let is_answered = || entered.0.reply.borrow().is_some();
        let has_body = !entered.0.body.borrow().is_empty();
        let mut streams: Vec<Box<dyn Streaming>> = Vec::new();
        // The filters that a body passes without being waited for.
        let mut passed = Vec::new();
        for index in 0..self.filters.count() {
            let Some(mut stream) = self.filters.stream(index, key) else {
                break;
            };
            let ends = match has_body {
                true => Ends::WithItsBody,
                false => Ends::Here,
            };
            record.steps.push(record::Step::of(index));
            let step = stream.on_request(entered, ends);
            match has_body && step == Step::Stop && stream.is_held() {
                true => drop(stream.on_request_body(entered)),
                false => passed.push(index),
            }
            self.note(index, record, When::Asked);
            let until = self.now().after(LONGEST_HELD);
            while stream.is_held() && self.now() < until {
                self.filters.advance_to_tick(index);
                self.note(index, record, When::Asked);
            }
            streams.push(stream);
            if is_answered() {
                break;
            }
        }
        for index in passed {
            if has_body
                && !is_answered()
                && let Some(stream) = streams.get_mut(index)
            {
                let _stops = stream.on_request_body(entered);
                self.note(index, record, When::Asked);
            }
        }
        streams
    }

    /// The answer to a request passes back through its filters.
    fn end(&mut self, mut request: UnderWay) {
        let Some(mut record) = self.records.get(request.record).cloned() else {
            return;
        };
        let passing = Rc::clone(&request.entered.0);
        let reply = passing.reply.take();
        let (head, body) = match &reply {
            Some(reply) => upstream::of_filter(reply),
            None => request.upstream.answer(self.around.is_kong),
        };
        passing.changed.borrow_mut().clear();
        *passing.response.borrow_mut() = head;
        *passing.response_body.borrow_mut() = body;
        let mut order: Vec<usize> = (0..request.streams.len()).collect();
        // Envoy's filters see an answer in reverse.
        if !self.around.is_kong {
            order.reverse();
        }
        // Of what Kong answers by its error page its filters hear nothing.
        let is_seen = !(self.around.is_kong && reply.is_none() && request.upstream.fails.is_some());
        for pass in [Pass::Response, Pass::Log].into_iter().filter(|_| is_seen) {
            for index in order.iter().copied() {
                if let Some(stream) = request.streams.get_mut(index) {
                    match pass {
                        Pass::Response => stream.on_response(&request.entered),
                        Pass::Log => stream.on_log(&request.entered),
                    }
                    self.note(index, &mut record, When::Answered);
                }
            }
        }
        for (index, stream) in request.streams.into_iter().enumerate() {
            drop(stream);
            self.note(index, &mut record, When::Answered);
        }
        let head = passing.response.borrow().clone();
        let changed = passing.changed.take();
        let is_set = |name: &str| reply.is_some() || changed.iter().any(|set| set == name);
        record.answer = Answer {
            status: head.status,
            headers: shown(&head.headers, is_set),
            body: String::from_utf8_lossy(&passing.response_body.borrow()).into_owned(),
            cause: match &reply {
                Some(reply) => Some(reply.cause.clone()),
                None => request.upstream.cause().map(str::to_owned),
            },
        };
        if let Some(known) = self.records.get_mut(request.record) {
            *known = record;
        }
    }

    /// Takes down what a filter has told.
    fn note(&mut self, index: usize, record: &mut Record, when: When) {
        let told = self.filters.told(index);
        if let Some(step) = record.steps.get_mut(index) {
            match when {
                When::Asked => step.notes.extend(told),
                When::Answered => step.notes_of_answer.extend(told),
            }
        }
    }

    /// Lets time pass. Requests that the backend has answered by then end when it has.
    fn pass_until(&mut self, time: Timestamp) {
        let time = time.max(self.now());
        loop {
            let due = self.under_way.iter().enumerate();
            let due = due.filter(|(_, request)| request.ends <= time);
            let first = due.min_by_key(|(_, request)| request.ends);
            let Some((index, ends)) = first.map(|(index, request)| (index, request.ends)) else {
                break;
            };
            let request = self.under_way.remove(index);
            self.filters.advance(ends);
            self.end(request);
        }
        self.filters.advance(time);
    }
}

/// How an answer goes through the filters: its head and body, and then the log.
#[derive(Clone, Copy)]
enum Pass {
    Response,
    Log,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Asked,
    Answered,
}
