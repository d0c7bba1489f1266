//! Gateways of several workers each, an engine, and a network between them that delays, loses, doubles and reorders.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use portcullis_policy::{
    CallId, Headers, HttpCall, NoReply, Origin, PeerAddress, Policy as _, Request, Sent, Span,
    Verdict,
};
use portcullis_rate_limit::{Flow, RateLimit};
use portcullis_sim::{CallAnswer, Dialect, Draw, Worker, World};

use crate::server::Server;

pub(crate) const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const TICK: u64 = 50 * MILLI;

/// What goes wrong between gateways and engine, each once in so many times; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost_requests: u64,
    pub(crate) lost_answers: u64,
    pub(crate) doubled: u64,
    /// Of a way, in milliseconds.
    pub(crate) longest_delay: u64,
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    Tick { gateway: usize, worker: usize },
    Request(Sending),
    Arrives { at: Caller, call: HttpCall },
    Answered { at: Caller, body: Option<Vec<u8>> },
    GivenUp { at: Caller },
    Happens(Happening),
}

/// A request that is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) gateway: usize,
    pub(crate) key: usize,
    pub(crate) cost: u64,
}

/// What happens to all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// The engine answers nobody.
    Down,
    /// It does again, and knows what it knew.
    Up,
    /// It does again, and knows nothing.
    UpEmpty,
    /// A gateway's clock is set, by so many seconds.
    ClockSet { gateway: usize, by: i64 },
    /// A gateway reaches the engine no more, or does again.
    Cut { gateway: usize, is_cut: bool },
    /// A gateway starts anew, with what it shares lost.
    Replaced { gateway: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Caller {
    gateway: usize,
    worker: usize,
    /// Which of the gateways that have been there.
    born: u64,
    call: CallId,
}

struct Gateway {
    world: World,
    workers: Vec<Worker<RateLimit>>,
    born: u64,
    is_cut: bool,
}

/// A request that is held.
struct Held {
    gateway: usize,
    worker: usize,
    born: u64,
    sending: Sending,
    sent_at: u64,
    flow: Flow,
    ticks_left: u64,
}

/// A request that was admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    /// In nanoseconds since the begin.
    pub(crate) at: u64,
    pub(crate) key: usize,
    pub(crate) cost: u64,
    /// How long it was held.
    pub(crate) held: u64,
}

pub(crate) struct Play {
    config: String,
    dialect: Dialect,
    seed: u64,
    gateways: Vec<Gateway>,
    workers: usize,
    server: Server,
    /// What the engine's clock shows at the begin, in microseconds.
    engine_start: u64,
    is_down: bool,
    faults: Faults,
    draw: Draw,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: BTreeMap<u64, Event>,
    next: u64,
    under_way: Vec<Caller>,
    held: Vec<Held>,
    born: u64,
    pub(crate) admitted: Vec<Admitted>,
    pub(crate) refused: BTreeMap<u16, u64>,
    pub(crate) calls: u64,
    pub(crate) sent: u64,
}

struct Peer;

impl PeerAddress for Peer {
    fn peer(&self) -> Option<std::net::IpAddr> {
        None
    }
}

impl Play {
    pub(crate) fn new(
        config: &str,
        gateways: usize,
        workers: usize,
        faults: Faults,
        seed: u64,
    ) -> Self {
        let draw = Draw::new(seed, 17);
        let engine_start = 1_767_254_400_000_000 + draw.between(0, 3_600_000_000);
        let dialect = draw.of(&Dialect::BOTH);
        let mut play = Self {
            config: config.to_owned(),
            dialect,
            seed,
            gateways: Vec::new(),
            workers,
            server: Server::new(engine_start),
            engine_start,
            is_down: false,
            faults,
            draw,
            now: 0,
            events: BinaryHeap::new(),
            pending: BTreeMap::new(),
            next: 0,
            under_way: Vec::new(),
            held: Vec::new(),
            born: 0,
            admitted: Vec::new(),
            refused: BTreeMap::new(),
            calls: 0,
            sent: 0,
        };
        for gateway in 0..gateways {
            let made = play.gateway();
            play.gateways.push(made);
            for worker in 0..workers {
                let first = play.draw.between(0, TICK);
                play.at(first, Event::Tick { gateway, worker });
            }
        }
        play
    }

    fn gateway(&mut self) -> Gateway {
        self.born += 1;
        let world = World::new(self.dialect, self.seed.wrapping_mul(31) + self.born);
        // No two gateways show the same time.
        let off = self.draw.between(0, 20 * SECOND);
        world.clock.advance(Span::from_nanos(off + self.now));
        let workers = (0..self.workers).map(|number| {
            let worker = world.worker_taking(&self.config, None, number as u64);
            worker.unwrap_or_else(|error| panic!("{error}: {}", self.config))
        });
        Gateway {
            workers: workers.collect(),
            world,
            born: self.born,
            is_cut: false,
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.pending.insert(self.next, event);
        self.events.push(Reverse((at, self.next)));
        self.next += 1;
    }

    /// Has a request sent at that time.
    pub(crate) fn send(&mut self, at: u64, sending: Sending) {
        self.at(at, Event::Request(sending));
    }

    /// Has something happen at that time.
    pub(crate) fn happens(&mut self, at: u64, happening: Happening) {
        self.at(at, Event::Happens(happening));
    }

    /// How far its clock is in a window at the begin, in nanoseconds.
    pub(crate) fn offset_in(&self, window: u64) -> u64 {
        self.engine_start * 1_000 % window
    }

    /// Which of its windows the engine's clock shows then.
    pub(crate) fn window_at(&self, at: u64, window: u64) -> u64 {
        (self.engine_start * 1_000 + at) / window
    }

    /// Runs until then.
    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, number))) = self.events.peek().copied()
            && at <= end
        {
            self.events.pop();
            let event = self.pending.remove(&number).unwrap();
            let passed = at - self.now;
            self.now = at;
            for gateway in &self.gateways {
                gateway.world.clock.advance(Span::from_nanos(passed));
            }
            self.server.set_clock(self.engine_start + at / 1_000);
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { gateway, worker } => {
                self.at(self.now + TICK, Event::Tick { gateway, worker });
                let ticking = &self.gateways[gateway].workers[worker];
                ticking.policy.on_tick(&ticking.ports());
                self.make_calls(gateway, worker);
                self.ask_held(gateway, worker, 1);
            }
            Event::Request(sending) => {
                let worker = self.draw.between(0, self.workers as u64 - 1) as usize;
                self.sent += 1;
                self.request(sending, worker);
            }
            Event::Arrives { at, call } => {
                assert_eq!((call.method, call.path.as_str()), ("POST", "/"));
                if self.is_down || self.gateways[at.gateway].is_cut {
                    return;
                }
                let body = self.server.answer(&call.body);
                if !self.happens_once_in(self.faults.lost_answers) {
                    let delay = self.delay();
                    let body = Some(body);
                    self.at(self.now + delay, Event::Answered { at, body });
                }
            }
            Event::Answered { at, body } => {
                if self.gateways[at.gateway].is_cut {
                    return;
                }
                self.end_call(at, body);
            }
            Event::GivenUp { at } => self.end_call(at, None),
            Event::Happens(happening) => self.take(happening),
        }
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Down => self.is_down = true,
            Happening::Up => {
                self.is_down = false;
                self.server.restart();
            }
            Happening::UpEmpty => {
                self.is_down = false;
                self.server.restart();
                self.server.flush();
            }
            Happening::ClockSet { gateway, by } => {
                let clock = &self.gateways[gateway].world.clock;
                let by_nanos = Span::from_secs(by.unsigned_abs());
                clock.set(match by < 0 {
                    true => clock.read().before(by_nanos),
                    false => clock.read().after(by_nanos),
                });
            }
            Happening::Cut { gateway, is_cut } => self.gateways[gateway].is_cut = is_cut,
            Happening::Replaced { gateway } => {
                self.held.retain(|held| held.gateway != gateway);
                self.gateways[gateway] = self.gateway();
            }
        }
    }

    fn happens_once_in(&self, times: u64) -> bool {
        times > 0 && self.draw.once_in(times)
    }

    fn delay(&self) -> u64 {
        let longest = self.faults.longest_delay.max(1);
        self.draw.between(MILLI / 2, longest * MILLI)
    }

    fn make_calls(&mut self, gateway: usize, worker: usize) {
        loop {
            let calling = &self.gateways[gateway].workers[worker];
            let Some((call, http_call)) = calling.policy.next_call(&calling.ports()) else {
                return;
            };
            let at = Caller {
                gateway,
                worker,
                born: self.gateways[gateway].born,
                call,
            };
            assert!(!self.under_way.contains(&at), "{call:?} twice");
            self.under_way.push(at);
            self.calls += 1;
            let timeout = http_call.timeout.as_nanos();
            self.at(self.now + timeout, Event::GivenUp { at });
            if self.happens_once_in(self.faults.lost_requests) {
                continue;
            }
            let copies = 1 + u64::from(self.happens_once_in(self.faults.doubled));
            for _ in 0..copies {
                let delay = self.delay();
                let call = http_call.clone();
                self.at(self.now + delay, Event::Arrives { at, call });
            }
        }
    }

    fn end_call(&mut self, at: Caller, body: Option<Vec<u8>>) {
        let Some(known) = self.under_way.iter().position(|known| *known == at) else {
            // It has ended before.
            return;
        };
        self.under_way.swap_remove(known);
        if self.gateways[at.gateway].born != at.born {
            return;
        }
        let worker = &self.gateways[at.gateway].workers[at.worker];
        let ports = worker.ports();
        match body {
            Some(body) => {
                let answer = CallAnswer(Some((200, body)));
                worker.policy.on_call_end(at.call, &answer, &ports);
            }
            None => worker
                .policy
                .on_call_end(at.call, &NoReply::Unanswered, &ports),
        }
        self.make_calls(at.gateway, at.worker);
        self.ask_held(at.gateway, at.worker, 0);
    }

    fn request(&mut self, sending: Sending, worker: usize) {
        let headers = headers(&sending);
        let request = Request::new(&headers, &Peer).with_sent(Sent::Whole);
        let asked = &self.gateways[sending.gateway].workers[worker];
        let (verdict, flow) = asked.policy.on_request(&request, &asked.ports());
        let held = Held {
            gateway: sending.gateway,
            worker,
            born: self.gateways[sending.gateway].born,
            sending,
            sent_at: self.now,
            flow,
            ticks_left: 0,
        };
        self.decided(verdict_of(&verdict), held);
    }

    fn decided(&mut self, verdict: Ruling, mut held: Held) {
        match verdict {
            Ruling::Passed => {
                self.admitted.push(Admitted {
                    at: self.now,
                    key: held.sending.key,
                    cost: held.sending.cost,
                    held: self.now - held.sent_at,
                });
                let worker = &self.gateways[held.gateway].workers[held.worker];
                worker.end(held.flow, Origin::Upstream);
            }
            Ruling::Refused(status) => *self.refused.entry(status).or_default() += 1,
            Ruling::Waits(longest) => {
                if held.ticks_left == 0 {
                    held.ticks_left = longest.div_ceil(TICK) + 1;
                }
                let (gateway, worker) = (held.gateway, held.worker);
                self.held.push(held);
                if self.gateways[gateway].workers[worker].policy.is_urgent() {
                    self.make_calls(gateway, worker);
                }
            }
        }
    }

    fn ask_held(&mut self, gateway: usize, worker: usize, ticks: u64) {
        let all = std::mem::take(&mut self.held);
        let (asked, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|held| held.gateway == gateway && held.worker == worker);
        self.held = others;
        for mut held in asked {
            if held.born != self.gateways[gateway].born {
                continue;
            }
            held.ticks_left = held.ticks_left.saturating_sub(ticks);
            let headers = headers(&held.sending);
            let request = Request::new(&headers, &Peer).with_sent(Sent::Whole);
            let asked = &self.gateways[gateway].workers[worker];
            let is_last = held.ticks_left == 0;
            let verdict =
                asked
                    .policy
                    .on_request_waited(&request, &mut held.flow, is_last, &asked.ports());
            let ruling = verdict_of(&verdict);
            drop(verdict);
            assert!(
                !(is_last && matches!(ruling, Ruling::Waits(_))),
                "it waits for ever"
            );
            self.decided(ruling, held);
        }
    }
}

enum Ruling {
    Passed,
    Refused(u16),
    Waits(u64),
}

fn verdict_of(verdict: &Verdict<'_>) -> Ruling {
    match verdict {
        Verdict::Continue(_) => Ruling::Passed,
        Verdict::Refuse(reply) => Ruling::Refused(reply.status),
        Verdict::Wait { longest } => Ruling::Waits(longest.as_nanos()),
        Verdict::Read { .. } => panic!("no body decides"),
    }
}

fn headers(sending: &Sending) -> Headers {
    let method = match sending.cost {
        1 => "GET",
        _ => "POST",
    };
    let key = sending.key.to_string();
    Headers::from_pairs([
        (":method", method),
        (":path", "/"),
        (":authority", "rag"),
        ("x-user", &key),
    ])
}
