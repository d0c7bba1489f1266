//! Workers that take turns, each turn up to its next look at shared data, in an order drawn from
//! a seed.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::SeededEntropy;

/// Hands out turns. A clone hands out the same.
#[derive(Clone)]
pub struct Turns {
    shared: Arc<(Mutex<State>, Condvar)>,
    me: usize,
}

struct State {
    /// Whose turn it is; `None` until all have arrived.
    current: Option<usize>,
    waiting: Vec<bool>,
    arrived: usize,
    order: SeededEntropy,
}

impl State {
    fn draw(&mut self) {
        let ready: Vec<usize> = (0..self.waiting.len())
            .filter(|worker| self.waiting[*worker])
            .collect();
        let drawn = self.order.below(ready.len() as u64) as usize;
        self.current = ready.get(drawn).copied();
    }
}

impl Turns {
    /// Ends this worker's turn and waits for its next one.
    pub fn next(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.draw();
        changed.notify_all();
        while state.current != Some(self.me) {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn arrive(&self) {
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.arrived += 1;
        if state.arrived == state.waiting.len() {
            state.draw();
            changed.notify_all();
        }
        while state.current != Some(self.me) {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Leaves also when the worker panics, so that a failed assertion does not hang the others.
impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let (state, changed) = &*self.0.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting[self.0.me] = false;
        state.draw();
        changed.notify_all();
    }
}

struct Leaving<'a>(&'a Turns);

/// Runs `workers` copies of `work` that take turns as `seed` says, and returns what each returned.
/// A copy gives its turn away where it calls [`Turns::next`], as a [`ZoneStore`](crate::ZoneStore)
/// made with these turns does before each access.
pub fn interleave<R: Send>(
    workers: usize,
    seed: u64,
    work: impl Fn(usize, Turns) -> R + Sync,
) -> Vec<R> {
    let state = State {
        current: None,
        waiting: vec![true; workers],
        arrived: 0,
        order: SeededEntropy::new(seed),
    };
    let shared = Arc::new((Mutex::new(state), Condvar::new()));
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|me| {
                let turns = Turns {
                    shared: Arc::clone(&shared),
                    me,
                };
                let work = &work;
                scope.spawn(move || {
                    turns.arrive();
                    let _leaving = Leaving(&turns);
                    work(me, turns.clone())
                })
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn order(seed: u64) -> Vec<usize> {
        let order = Mutex::new(Vec::new());
        interleave(3, seed, |me, turns| {
            for _ in 0..4 {
                order.lock().unwrap().push(me);
                turns.next();
            }
        });
        order.into_inner().unwrap()
    }

    #[test]
    fn a_seed_gives_one_order_and_seeds_give_several() {
        assert_eq!(order(7), order(7));
        assert!((0..20).any(|seed| order(seed) != order(7)));
        assert_eq!(order(1).len(), 12);
    }
}
