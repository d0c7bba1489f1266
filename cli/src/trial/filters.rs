//! The filters of a trial, and the time that passes for them.

use std::mem;
use std::rc::Rc;

use portcullis_policy::{Span, Timestamp};

use super::chain::Chain;
use super::notes::notes;
use super::record::Note;
use super::running::{self, Running, Streaming};
use super::world::World;
use crate::document::Node;
use crate::filter::Variables;
use crate::gateway::Configured;

/// The filters of a chain, in force.
pub(super) struct Filters {
    world: Rc<World>,
    all: Vec<InForce>,
}

struct InForce {
    running: Box<dyn Running>,
    tick_at: Timestamp,
    before_auth: Vec<String>,
    /// What it has told since the last request.
    between: Vec<Note>,
}

/// Ticks that pass one by one, and as many that are spread over the rest of a long time.
const MOST_TICKS: u64 = 100;

impl Filters {
    /// Puts the filters of a chain in force.
    ///
    /// # Errors
    /// Which of them refuses its configuration.
    pub(super) fn start(
        world: Rc<World>,
        chain: &Chain,
        variables: impl Fn(&Configured) -> Variables,
    ) -> Result<Self, String> {
        let mut all = Vec::new();
        for configured in &chain.filters {
            let Configured { filter, host, .. } = configured;
            let variables = variables(configured);
            let started = running::start(*filter, *host, configured.value(), &variables, &world);
            let running = started.ok_or_else(|| {
                format!(
                    "{} refuses its configuration; `portcullis check` says why",
                    filter.name
                )
            })?;
            all.push(InForce {
                running,
                tick_at: world.now.get(),
                before_auth: before_auth(configured),
                between: Vec::new(),
            });
        }
        let mut filters = Self { world, all };
        // What is fetched comes with the first, and is known with the second.
        for _ in 0..2 {
            for index in 0..filters.count() {
                filters.tick(index);
            }
        }
        Ok(filters)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// What looks after one request in a filter.
    pub(super) fn stream(&self, index: usize, key: u64) -> Option<Box<dyn Streaming>> {
        Some(self.all.get(index)?.running.stream(key))
    }

    /// What a filter has told since this was last asked: with requests, and between them.
    pub(super) fn told(&mut self, index: usize) -> Vec<Note> {
        let heard = self.world.heard();
        let Some(filter) = self.all.get_mut(index) else {
            return Vec::new();
        };
        let mut told = mem::take(&mut filter.between);
        told.extend(notes(heard, &filter.before_auth));
        told
    }

    /// Moves the clock to a filter's next tick.
    pub(super) fn advance_to_tick(&mut self, index: usize) {
        let tick = self.all.get(index).map(|filter| filter.tick_at);
        let soon = self.world.now.get().after(Span::from_millis(1));
        self.advance(tick.unwrap_or_default().max(soon));
    }

    /// Moves the clock, with the ticks that are due until then.
    pub(super) fn advance(&mut self, time: Timestamp) {
        let mut passed = 0_u64;
        let begin = self.world.now.get();
        let rest = Span::from_nanos(time.since(begin).as_nanos() / MOST_TICKS);
        loop {
            let due = self.all.iter().enumerate();
            let due = due.map(|(index, filter)| (filter.tick_at, index)).min();
            let Some((at, index)) = due.filter(|(at, _)| *at <= time) else {
                break;
            };
            self.world.now.set(at.max(self.world.now.get()));
            self.tick(index);
            passed = passed.saturating_add(1);
            if passed > MOST_TICKS
                && let Some(filter) = self.all.get_mut(index)
            {
                filter.tick_at = filter.tick_at.max(at.after(rest));
            }
        }
        self.world.now.set(time.max(self.world.now.get()));
    }

    /// A filter's tick, with the answers to the calls that it makes.
    fn tick(&mut self, index: usize) {
        let Some(filter) = self.all.get_mut(index) else {
            return;
        };
        let every = filter.running.tick_every();
        filter.tick_at = self.world.now.get().after(every);
        filter.running.tick();
        // An answer may call for another call.
        for _ in 0..8 {
            for (number, body) in self.world.answered() {
                filter.running.answer(number, body);
            }
        }
        for note in notes(self.world.heard(), &filter.before_auth) {
            if !filter.between.contains(&note) {
                filter.between.push(note);
            }
        }
    }
}

/// The limits that `edge` asks before it looks at a token.
fn before_auth(configured: &Configured) -> Vec<String> {
    let limits = configured.part("rate_limit");
    let names = limits.and_then(|limits| limits.get("before_auth"));
    let names = names.map_or(&[][..], Node::items).iter();
    names.filter_map(Node::text).map(str::to_owned).collect()
}
