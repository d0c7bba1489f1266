//! Breakers as a person on call sees and turns them.

use portcullis_policy::config::Mode;
use portcullis_policy::{
    Answer, Command, Controlled, Failed, Failure, LogLine, Ports, Step, Timestamp, Turn, update,
};
use serde_json::{Map, Value};

use crate::NAME;
use crate::breaker::{Change, Moment, Record};
use crate::circuit::Circuit;
use crate::config::Force;
use crate::hold::{Hold, Side};
use crate::policy::CircuitBreaker;
use crate::status::Detail;
use crate::transition::Why;

impl Controlled for CircuitBreaker {
    fn carry_out(&self, command: &Command, ports: &Ports<'_>) -> Option<Result<Answer, Failed>> {
        let done = match command {
            Command::State => self.describe(self.circuits.iter(), ports),
            Command::Breaker(name) => {
                let found = self.find(name);
                found.and_then(|circuit| self.describe(std::iter::once(circuit), ports))
            }
            Command::Turn { breaker, turn } => self.find(breaker).and_then(|circuit| {
                circuit.check_can_be_turned()?;
                let turned = circuit.turn(*turn, ports);
                turned.map_err(|failure| self.failed_at(failure, ports))?;
                self.describe(std::iter::once(circuit), ports)
            }),
            Command::Limit(_)
            | Command::Key(_)
            | Command::Reset(_)
            | Command::Who(_)
            | Command::Subject { .. } => return None,
        };
        Some(done)
    }
}

impl CircuitBreaker {
    fn find(&self, name: &str) -> Result<&Circuit, Failed> {
        let found = self.circuits.iter().find(|circuit| circuit.name == name);
        found.ok_or_else(|| {
            let names = self.circuits.iter().map(|circuit| circuit.name.as_str());
            Failed::not_among("breaker", name, names)
        })
    }

    fn describe<'c>(
        &self,
        circuits: impl Iterator<Item = &'c Circuit>,
        ports: &Ports<'_>,
    ) -> Result<Answer, Failed> {
        let mut shown = Map::new();
        for circuit in circuits {
            let state = circuit.shown(Detail::All, ports);
            let state = state.map_err(|failure| self.failed_at(failure, ports))?;
            shown.insert(circuit.name.clone(), state);
        }
        Ok(Answer::of(NAME, Value::Object(shown)))
    }

    fn failed_at(&self, failure: Failure, ports: &Ports<'_>) -> Failed {
        self.errors.count(failure, ports);
        Failed::Unavailable(failure.as_str())
    }
}

impl Circuit {
    /// What its configuration says is not overruled from here: it would have no effect.
    fn check_can_be_turned(&self) -> Result<(), Failed> {
        let why = match (self.mode, self.force) {
            (Mode::Off, _) => "it is off",
            (Mode::Enforce | Mode::Shadow, Force::Open) => "it is forced open",
            (Mode::Enforce | Mode::Shadow, Force::Closed) => "it is forced closed",
            (Mode::Enforce | Mode::Shadow, Force::None) => return Ok(()),
        };
        Err(Failed::Conflict(format!("{why} by the configuration")))
    }

    /// Turns it, on all workers: each reads its record within a few milliseconds.
    fn turn(&self, turn: Turn, ports: &Ports<'_>) -> Result<(), Failure> {
        let moment = Moment {
            now: ports.clock.now()?,
            roll: self.roll(ports),
        };
        self.glance.forget();
        let hold = |side, span| Some(Hold::new(side, moment.now, span));
        match turn {
            Turn::Open => self.tell(ports, |record| record.told_to_open(&self.settings, moment)),
            Turn::Close => self.tell(ports, |record| record.told_to_close(moment.now)),
            Turn::HoldOpen(span) => self.hold(hold(Side::Open, span), ports),
            Turn::HoldClosed(span) => self.hold(hold(Side::Closed, span), ports),
            Turn::Release => self.hold(None, ports),
        }
    }

    fn tell(&self, ports: &Ports<'_>, order: impl Fn(&Record) -> Change) -> Result<(), Failure> {
        let transition = update(ports.store, &self.key, |record: Option<&Record>| {
            let change = order(&record.cloned().unwrap_or_default());
            Step::Write(change.record, change.transition)
        })?;
        if let Some(transition) = transition {
            self.announce(transition, None, ports);
        }
        Ok(())
    }

    fn hold(&self, hold: Option<Hold>, ports: &Ports<'_>) -> Result<(), Failure> {
        let changed = update(ports.store, &self.key, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            match record.holding(hold) {
                Some(held) => Step::Write(held, true),
                None => Step::Keep(false),
            }
        })?;
        if changed {
            self.tell_hold(hold, Why::Control.as_str(), ports);
        }
        Ok(())
    }

    /// Ends a hold that is over although no request has come since. Another may have been ordered meanwhile: that is seen
    /// when the gauge is set.
    pub(crate) fn end_hold(&self, ports: &Ports<'_>) -> Result<(), Failure> {
        let Some(until) = self.hold_until.get() else {
            return Ok(());
        };
        let now = ports.clock.now()?;
        if now >= until {
            self.outlive(now, ports)?;
            self.show(ports);
        }
        Ok(())
    }

    /// Forgets a hold that is over. Only who writes that down tells of it.
    pub(crate) fn outlive(&self, now: Timestamp, ports: &Ports<'_>) -> Result<(), Failure> {
        self.glance.forget();
        let over = update(
            ports.store,
            &self.key,
            |record: Option<&Record>| match record.and_then(|record| record.outlived(now)) {
                Some(released) => Step::Write(released, true),
                None => Step::Keep(false),
            },
        )?;
        if over {
            self.tell_hold(None, "time_over", ports);
        }
        Ok(())
    }

    fn tell_hold(&self, hold: Option<Hold>, reason: &str, ports: &Ports<'_>) {
        self.show(ports);
        let line = |event| LogLine::new(NAME, event).with("breaker", &self.name);
        let line = match hold {
            Some(hold) => line("forced")
                .with("to", hold.side.phase().as_str())
                .with("until", hold.until.unix_secs().to_string()),
            None => line("released"),
        };
        ports.telemetry.log(line.with("reason", reason));
    }
}
