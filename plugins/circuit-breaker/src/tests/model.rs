//! The breaker beside a reference that knows its requests by number instead of by tickets: any
//! sequence of events must lead both through the same states.

use portcullis_policy::{Policy as _, Timestamp};
use proptest::prelude::*;

use super::*;

const FAILURES_TO_OPEN: u32 = 3;
const SUCCESSES_TO_CLOSE: u32 = 2;
const PROBES: usize = 2;
const OPEN_FOR: Span = Span::from_secs(5);
const LEASE: Span = Span::from_secs(7);
const CONFIG: &str = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":3},
    "open_for":{"initial":"5s"},
    "half_open":{"probes":2,"successes_to_close":2,"probe_lease":"7s"}}],
    "status":{"path":"/status"}}"#;

#[derive(Clone, Debug)]
enum Event {
    Ask,
    /// The request of this index among those that wait (counted round) ends.
    End(usize, How),
    Wait(Span),
}

#[derive(Clone, Copy, Debug)]
enum How {
    Good,
    Bad,
    GoodThenBroken,
    RefusedByAnother,
    Unreachable,
    ClientGone,
    Vanished,
    GivenBack,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let how = prop_oneof![
        3 => Just(How::Good),
        4 => Just(How::Bad),
        1 => Just(How::GoodThenBroken),
        1 => Just(How::RefusedByAnother),
        1 => Just(How::Unreachable),
        1 => Just(How::ClientGone),
        1 => Just(How::Vanished),
        1 => Just(How::GivenBack),
    ];
    let event = prop_oneof![
        5 => Just(Event::Ask),
        4 => (any::<usize>(), how).prop_map(|(index, how)| Event::End(index, how)),
        2 => (1_u64..6_000).prop_map(|millis| Event::Wait(Span::from_millis(millis))),
    ];
    proptest::collection::vec(event, 0..120)
}

/// What the reference knows.
struct Model {
    now: Timestamp,
    epoch: u32,
    state: State,
    /// Settled as success, failure, nothing.
    settled: [u64; 3],
    admitted: u64,
    transitions: u64,
}

enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
    },
    /// Who has each permit, and until when.
    HalfOpen {
        leases: Vec<Option<(u64, Timestamp)>>,
        successes: u32,
    },
}

#[derive(Clone, Copy)]
struct Asked {
    number: u64,
    epoch: u32,
    /// Its success is known by its head; of others the end may still make a failure.
    probe: bool,
}

impl Model {
    fn turn(&mut self, state: State) {
        self.epoch += 1;
        self.transitions += 1;
        self.state = state;
    }

    fn ask(&mut self) -> Option<Asked> {
        if matches!(self.state, State::Open { until } if self.now >= until) {
            let leases = vec![None; 16];
            self.turn(State::HalfOpen {
                leases,
                successes: 0,
            });
        }
        let (number, now) = (self.admitted, self.now);
        let probe = match &mut self.state {
            State::Closed { .. } => false,
            State::Open { .. } => return None,
            State::HalfOpen { leases, .. } => {
                let is_out =
                    |lease: &Option<(u64, Timestamp)>| lease.is_some_and(|(_, until)| now < until);
                if leases.iter().filter(|lease| is_out(lease)).count() >= PROBES {
                    return None;
                }
                let free = leases.iter_mut().find(|lease| !is_out(lease)).unwrap();
                *free = Some((number, now.after(LEASE)));
                true
            }
        };
        self.admitted += 1;
        Some(Asked {
            number,
            epoch: self.epoch,
            probe,
        })
    }

    fn settle(&mut self, asked: Asked, how: How) {
        let success = match how {
            How::Good => Some(true),
            How::GoodThenBroken => Some(asked.probe),
            How::Bad | How::Unreachable | How::Vanished => Some(false),
            How::RefusedByAnother | How::ClientGone | How::GivenBack => None,
        };
        self.settled[match success {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        }] += 1;
        if asked.epoch != self.epoch {
            return;
        }
        let open = State::Open {
            until: self.now.after(OPEN_FOR),
        };
        match &mut self.state {
            State::Closed { failures } => match success {
                Some(true) => *failures = 0,
                None => {}
                Some(false) => {
                    *failures += 1;
                    if *failures == FAILURES_TO_OPEN {
                        self.turn(open);
                    }
                }
            },
            State::Open { .. } => unreachable!("nobody is admitted in an open epoch"),
            State::HalfOpen { leases, successes } => {
                let mine = |lease: &&mut Option<(u64, Timestamp)>| {
                    lease.is_some_and(|(number, _)| number == asked.number)
                };
                // Another may have its permit, once its lease was over.
                if let Some(lease) = leases.iter_mut().find(mine) {
                    *lease = None;
                }
                match success {
                    None => {}
                    Some(false) => self.turn(open),
                    Some(true) => {
                        *successes += 1;
                        if *successes == SUCCESSES_TO_CLOSE {
                            self.turn(State::Closed { failures: 0 });
                        }
                    }
                }
            }
        }
    }

    fn shown(&self) -> &'static str {
        match &self.state {
            State::Closed { .. } => r#"{"a":"closed"}"#,
            State::Open { until } if self.now < *until => r#"{"a":"open"}"#,
            State::Open { .. } | State::HalfOpen { .. } => r#"{"a":"half_open"}"#,
        }
    }
}

/// Plays the end of a request; what has been settled stays so.
fn end(worker: &Breaker, mut flow: Flow, how: How) {
    let mut head = |status, origin| drop(worker.respond(&mut flow, status, origin));
    let last = match how {
        How::Good => {
            head(200, Origin::Upstream);
            End(Origin::Unknown)
        }
        How::Bad => {
            head(503, Origin::Upstream);
            End(Origin::Unknown)
        }
        How::GoodThenBroken => {
            head(200, Origin::Upstream);
            End(Origin::BrokenOff)
        }
        How::RefusedByAnother => {
            head(429, Origin::Gateway);
            End(Origin::Gateway)
        }
        How::Unreachable => End(Origin::ConnectionFailed),
        How::ClientGone => End(Origin::ClientGone),
        How::Vanished => End(Origin::Lost),
        How::GivenBack => {
            worker.policy.give_back(&mut flow, &worker.ports());
            End(Origin::Gateway)
        }
    };
    let dropped = End(Origin::Lost);
    worker.policy.on_end(&mut flow, &last, &worker.ports());
    worker.policy.on_end(&mut flow, &dropped, &worker.ports());
    assert!(all_settled(&flow));
}

fn play(dialect: Dialect, events: Vec<Event>) {
    let world = World::new(dialect, 1);
    let worker: Breaker = world.worker(CONFIG).unwrap();
    let mut waiting: Vec<(Asked, Flow)> = Vec::new();
    let mut model = Model {
        now: world.clock.read(),
        epoch: 0,
        state: State::Closed { failures: 0 },
        settled: [0; 3],
        admitted: 0,
        transitions: 0,
    };
    for event in events {
        match event {
            Event::Wait(span) => {
                world.clock.advance(span);
                model.now = world.clock.read();
            }
            Event::Ask => {
                let before = model.shown();
                let (answer, flow) = ask(&worker, "/x");
                let asked = model.ask();
                assert_eq!(answer.status() == 200, asked.is_some(), "{before}");
                match before {
                    r#"{"a":"closed"}"# => assert!(asked.is_some()),
                    r#"{"a":"open"}"# => assert!(asked.is_none()),
                    _ => {}
                }
                waiting.extend(asked.map(|asked| (asked, flow)));
            }
            Event::End(index, how) => {
                if let Some(index) = index.checked_rem(waiting.len()) {
                    let (asked, flow) = waiting.swap_remove(index);
                    end(&worker, flow, how);
                    model.settle(asked, how);
                }
            }
        }
        assert_eq!(state(&worker), model.shown());
    }
    for (asked, flow) in waiting {
        end(&worker, flow, How::ClientGone);
        model.settle(asked, How::ClientGone);
    }
    assert_eq!(model.admitted, model.settled.iter().sum::<u64>());
    let settled = ["successes", "failures", "ignored"]
        .map(|outcome| metric(&worker, &format!("{outcome}.breaker.a")));
    assert_eq!(settled, model.settled);
    assert_eq!(metric(&worker, "admitted.breaker.a"), model.admitted);
    let reported: u64 = ["closed", "half_open", "open"]
        .iter()
        .map(|to| metric(&worker, &format!("transitions.breaker.a.to.{to}")))
        .sum();
    assert_eq!(reported, model.transitions);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_events_leads_through_the_states_of_the_reference(events in events()) {
        play(Dialect::Envoy, events.clone());
        play(Dialect::Kong, events);
    }
}
