//! Requests of which it is not known whether an engine has anything left for them.

use portcullis_policy::config::Mode;
use portcullis_policy::{Failure, Ports};

use crate::config::EngineAway;
use crate::failure::ENGINE;
use crate::global::Health;
use crate::limit::{Demand, Limit, Look};
use crate::policy::{Flow, RateLimit};

/// What becomes of such a request at one limit.
pub(crate) enum Without {
    /// What this says.
    Look(Box<Look>),
    /// It passes uncounted.
    Passes,
    /// It waits.
    Waits,
}

impl RateLimit {
    /// Asks for what is not known of a key, and says what becomes of the request meanwhile.
    pub(crate) fn without_lease(
        &self,
        limit: &Limit,
        demand: &Demand,
        look: Look,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Without, Failure> {
        let (Some(global), Some(name), Some(key)) =
            (&self.global, limit.leased_as(), demand.engine_key())
        else {
            return Ok(Without::Look(Box::new(look)));
        };
        let waits = limit.mode == Mode::Enforce && global.waits();
        // What fits into no lease is asked for as a whole.
        let need = match waits || demand.cost() > global.sizing.largest(limit.quota()) {
            true => demand.cost(),
            false => 0,
        };
        let placed = global.wish(name, key, need, &flow.wishes, ports)?;
        flow.wishes.extend(placed.number);
        if placed.health == Health::There {
            // Where the engine answers and nothing came of it for so long, there is too little for all who ask.
            return Ok(match waits && !flow.is_last {
                true => Without::Waits,
                false => Without::Look(Box::new(look)),
            });
        }
        global.count_without(ports);
        match global.on_error() {
            EngineAway::Local => {
                let alone = limit.look_alone(*demand, ports)?;
                Ok(Without::Look(Box::new(alone.unwrap_or(look))))
            }
            EngineAway::Allow => Ok(Without::Passes),
            EngineAway::Deny => Err(ENGINE),
        }
    }

    /// Whether a request waits for what is not known.
    pub(crate) fn may_wait(&self, limit: &Limit, flow: &Flow) -> bool {
        let global = self.global.as_ref();
        let waits = global.is_some_and(|global| global.waits());
        waits && limit.mode == Mode::Enforce && !flow.is_last
    }
}
