//! Workers that tick, ask, die and are answered in an order drawn from a seed, while the issuer
//! changes its keys, the clock is set and shared data fails. `PORTCULLIS_SCHEDULES` sets how many
//! schedules are tried.

use std::collections::BTreeSet;

use portcullis_policy::Timestamp;
use portcullis_sim::{SeededEntropy, schedules_or};

use super::*;

const REFRESH: Span = secs(20);
/// Longest time from a fetch to the next one that all may see: `refresh`, a retry after that, a
/// lease that nobody ends, and a few ticks.
const HEALED_WITHIN: u64 = 20 + 20 + 8 + 4;
const STEPS: usize = 80;
/// How often the issuer may change its keys.
const GENERATIONS: usize = 16;

fn schedules() -> u64 {
    let fewer = if cfg!(target_arch = "wasm32") {
        100
    } else {
        3_000
    };
    schedules_or(fewer)
}

/// What the issuer has: a set for each generation, of its own key and of the one before, and a
/// token of each key.
struct Issuer {
    sets: Vec<CallAnswer>,
    tokens: Vec<String>,
}

impl Issuer {
    fn new() -> Self {
        let kid = |generation: usize| format!("g{generation}");
        let sets = (0..GENERATIONS).map(|generation| {
            let own = [kid(generation), kid(generation.saturating_sub(1))];
            // Every third set takes two pieces.
            let fillers = if generation % 3 == 2 { 9 } else { 0 };
            let fillers = (0..fillers).map(|n| format!("{n:f>500}"));
            let kids: Vec<String> = own.into_iter().chain(fillers).collect();
            let keys: Vec<_> = kids.iter().map(|kid| (&**kid, of())).collect();
            set(&keys)
        });
        let tokens = (0..GENERATIONS).map(|generation| token(&kid(generation), of()));
        Self {
            sets: sets.collect(),
            tokens: tokens.collect(),
        }
    }
}

/// A fetch that a worker has begun.
#[derive(Clone, Copy)]
struct Begun {
    at: Timestamp,
    /// What was published then: an answer may be as old.
    generation: usize,
}

/// What goes wrong in a schedule, besides answers and workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    None,
    /// The clock is set.
    Clock,
    /// Shared data fails, tears reads and loses what it holds.
    Store,
    Both,
}

struct Run<'a> {
    seed: u64,
    issuer: &'a Issuer,
    dice: SeededEntropy,
    config: Value,
    lease: Span,
    faults: Faults,
    gateway: Gateway,
    /// By the worker's index.
    fetches: Vec<Option<Begun>>,
    /// Of workers that are gone.
    orphans: Vec<Begun>,
    generation: usize,
    /// Generations whose keys were in an answer.
    served: BTreeSet<usize>,
}

impl<'a> Run<'a> {
    fn new(seed: u64, faults: Faults, issuer: &'a Issuer) -> Self {
        let discovers = seed / 2 % 2 == 1;
        let mut remote = remote_with(json!({
            "refresh": "20s", "refetch_min_interval": "5s", "max_stale": "1m"
        }));
        if discovers {
            remote["discovery"] = json!(true);
            remote.as_object_mut().unwrap().remove("path");
        }
        let config = providers(&[("p", provider(ISSUER, &remote))]);
        let dice = SeededEntropy::new(seed);
        let workers = 1 + dice.below(4) as usize;
        Self {
            seed,
            issuer,
            lease: if discovers { secs(8) } else { secs(5) },
            faults,
            gateway: Gateway::new(Dialect::BOTH[seed as usize % 2], workers, &config),
            dice,
            config,
            fetches: vec![None; workers],
            orphans: Vec::new(),
            generation: 0,
            served: BTreeSet::new(),
        }
    }

    fn below(&self, bound: usize) -> usize {
        self.dice.below(bound as u64) as usize
    }

    fn now(&self) -> Timestamp {
        self.gateway.world.clock.read()
    }

    fn play(mut self) {
        for _ in 0..STEPS {
            let number = self.below(self.fetches.len());
            match self.below(24) {
                0..8 => {
                    let most = [200, 3_000, 12_000][self.below(3)];
                    self.gateway.wait(Span::from_millis(self.dice.below(most)));
                    self.tick(number);
                }
                8..10 => self.tick(number),
                10..14 => self.answer(number),
                14..17 => self.request(number),
                17 => self.generation = (self.generation + 1).min(GENERATIONS - 2),
                18 => self.die(number),
                _ => self.fault(number),
            }
        }
        self.heal();
    }

    fn tick(&mut self, number: usize) {
        let before = self.gateway.worker(number).call();
        self.gateway.worker(number).tick();
        if before.is_none() && self.gateway.worker(number).call().is_some() {
            self.begin(number);
        }
    }

    fn begin(&mut self, number: usize) {
        let now = self.now();
        let begun = self.fetches.iter().flatten().chain(&self.orphans);
        let alive = begun.filter(|begun| now.since(begun.at) < self.lease);
        assert!(
            self.faults != Faults::None || alive.count() == 0,
            "seed {}: two have the lease",
            self.seed
        );
        self.fetches[number] = Some(Begun {
            at: now,
            generation: self.generation,
        });
    }

    fn answer(&mut self, number: usize) {
        let Some(call) = self.gateway.worker(number).call() else {
            return;
        };
        let begun = self.fetches[number].take().unwrap();
        let answer = match self.below(8) {
            0 => unreachable(),
            1 => status(500, ""),
            2 => ok("{"),
            _ if call.path != "/certs" => ok(
                json!({"issuer": ISSUER, "jwks_uri": "https://id.example.com/certs"}).to_string(),
            ),
            drawn => self.serve(if drawn == 3 {
                begun.generation
            } else {
                self.generation
            }),
        };
        self.gateway.worker(number).answer_call(&answer);
        match self.gateway.worker(number).call() {
            Some(second) if call.path != "/certs" && second.path == "/certs" => {
                self.fetches[number] = Some(begun);
            }
            Some(_) => self.begin(number),
            None => {}
        }
    }

    /// The set of a generation, which from now on may be known.
    fn serve(&mut self, generation: usize) -> CallAnswer {
        self.served
            .extend([generation, generation.saturating_sub(1)]);
        self.issuer.sets[generation].clone()
    }

    fn request(&self, number: usize) {
        let generation = self.below(self.generation + 2);
        let said = ask(self.gateway.worker(number), &self.issuer.tokens[generation]);
        let known = said.0 != 200 || self.served.contains(&generation);
        assert!(known, "seed {}: a token of {generation} passed", self.seed);
    }

    /// The worker goes without a word, and another one comes in its place.
    fn die(&mut self, number: usize) {
        self.orphans.extend(self.fetches[number].take());
        self.gateway.add(&self.config);
        self.gateway.workers.swap_remove(number);
    }

    fn fault(&self, number: usize) {
        let (world, store) = (&self.gateway.world, &self.gateway.worker(number).store.0);
        let kinds = match self.faults {
            Faults::None => return,
            Faults::Clock => 0..3,
            Faults::Store => 3..10,
            Faults::Both => 0..10,
        };
        match kinds.start + self.below(kinds.len()) {
            0 => world.clock.set(self.now().before(secs(3600))),
            1 => world.clock.set(self.now().before(secs(7))),
            2 => world.clock.advance(secs(24 * 3600)),
            3 => store.fail_after(Some(self.dice.below(12) as u32)),
            4 => store.fail_writes(true),
            5 | 6 => {
                store.fail_after(None);
                store.fail_writes(false);
            }
            7 => world.zone.tear_reads(0.4, self.seed),
            8 => world.zone.clear(),
            _ => {
                let mut slots = world.zone.keys();
                slots.sort();
                if !slots.is_empty() {
                    world.zone.evict(&slots[self.below(slots.len())]);
                }
            }
        }
    }

    /// No more faults: within a bounded time all workers have what is published now.
    fn heal(mut self) {
        self.gateway.world.zone.tear_reads(0.0, 0);
        for worker in &self.gateway.workers {
            worker.store.0.fail_after(None);
            worker.store.0.fail_writes(false);
        }
        // What nobody has yet, so that it has to be fetched and shared.
        self.generation += 1;
        let workers = self.fetches.len();
        let first = self.below(workers);
        for _ in 0..HEALED_WITHIN {
            for number in (first..workers).chain(0..first) {
                self.gateway.worker(number).tick();
                while let Some(call) = self.gateway.worker(number).call() {
                    let answer = match &*call.path {
                        "/certs" => self.serve(self.generation),
                        _ => ok(json!({"issuer": ISSUER,
                            "jwks_uri": "https://id.example.com/certs"})
                        .to_string()),
                    };
                    self.gateway.worker(number).answer_call(&answer);
                }
            }
            self.gateway.wait(secs(1));
        }
        self.gateway.tick();
        let last = self.generation;
        for (generation, token) in self.issuer.tokens.iter().enumerate() {
            let published = generation == last || generation + 1 == last;
            for worker in &self.gateway.workers {
                let said = ask(worker, token);
                let expected = if published { 200 } else { 401 };
                assert_eq!(
                    said.0, expected,
                    "seed {}: {generation} of {last}",
                    self.seed
                );
            }
        }
        let documents = self.gateway.workers.iter().map(|worker| {
            let (_, keys) = worker.policy.providers.remote_keys().next().unwrap();
            keys.held.borrow().as_ref().unwrap().document
        });
        let documents: Vec<_> = documents.collect();
        assert!(
            documents.iter().all(|d| *d == documents[0]),
            "seed {}",
            self.seed
        );
    }
}

fn play(faults: Faults, share: u64) {
    assert!(secs(HEALED_WITHIN) > REFRESH);
    let issuer = Issuer::new();
    for seed in 0..schedules() / share {
        Run::new(seed, faults, &issuer).play();
    }
}

#[test]
fn in_any_schedule_one_asks_at_a_time_no_other_key_counts_and_all_heals() {
    play(Faults::None, 3);
}

#[test]
fn with_any_steps_of_the_clock_no_other_key_counts_and_all_heals() {
    play(Faults::Clock, 6);
}

#[test]
fn with_any_faults_of_the_store_no_other_key_counts_and_all_heals() {
    play(Faults::Store, 4);
}

#[test]
fn with_faults_of_both_no_other_key_counts_and_all_heals() {
    play(Faults::Both, 4);
}
