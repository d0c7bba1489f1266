//! How a stream ends.

use crate::Dialect;
use crate::instance::Instance;
use crate::state::{Phase, Shared};
use crate::stream::{FLAG_DOWNSTREAM_TERMINATION, FLAG_UPSTREAM_TERMINATION, Stream};
use crate::trap::Trap;

/// How a stream ends, for [`Host::finish`](crate::Host::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The response went out whole.
    Complete,
    /// The client went away, before or after the response's headers.
    ClientGone,
    /// The upstream broke the connection in mid-response; without a response yet, before it answered.
    UpstreamReset,
    /// The stream has lived for as long as the gateway lets one live.
    MaxDuration,
    /// The gateway lets go of the stream without logging it: on Kong, deletion is all the filter sees.
    Dropped,
}

type Callback = (&'static str, Phase);

const LOG: Callback = ("proxy_on_log", Phase::Log);
const DONE: Callback = ("proxy_on_done", Phase::Done);
const DELETE: Callback = ("proxy_on_delete", Phase::Delete);

impl End {
    /// Which callbacks run, in this order. `bypassed`: the gateway answered past the filter.
    pub(crate) fn callbacks(self, dialect: Dialect, bypassed: bool) -> &'static [Callback] {
        match (dialect, self) {
            (Dialect::Kong, _) if bypassed => &[DELETE],
            (Dialect::Kong, End::Dropped) => &[DELETE],
            (Dialect::Envoy, End::Dropped) => &[DONE, DELETE],
            (
                Dialect::Kong,
                End::Complete | End::ClientGone | End::UpstreamReset | End::MaxDuration,
            ) => &[DONE, LOG, DELETE],
            (
                Dialect::Envoy,
                End::Complete | End::ClientGone | End::UpstreamReset | End::MaxDuration,
            ) => &[LOG, DONE, DELETE],
        }
    }

    /// What the properties say afterwards. `own`: the filter answered itself.
    pub(crate) fn note(self, dialect: Dialect, stream: &mut Stream, own: bool) {
        let facts = &mut stream.facts;
        match (dialect, self) {
            (Dialect::Envoy, End::ClientGone) => {
                facts.details = Some("downstream_remote_disconnect".to_owned());
                facts.flags |= FLAG_DOWNSTREAM_TERMINATION;
            }
            (Dialect::Kong, End::ClientGone) => {
                facts.status = Some(499);
            }
            // With flags there has been a failure already, and nothing came that could break off.
            (Dialect::Envoy, End::UpstreamReset) if !own && facts.flags == 0 => {
                facts.details = Some(
                    "upstream_reset_after_response_started{connection_termination}".to_owned(),
                );
                facts.flags |= FLAG_UPSTREAM_TERMINATION;
            }
            (Dialect::Envoy, End::MaxDuration) if !own => {
                facts.details = Some("max_duration_timeout".to_owned());
            }
            (_, End::Complete | End::UpstreamReset | End::MaxDuration | End::Dropped) => {}
        }
    }
}

/// Runs the end of a stream and forgets it.
pub(crate) fn close(
    instance: &mut Instance,
    shared: &mut Shared,
    context: u32,
    callbacks: &[Callback],
) -> Result<(), Trap> {
    for (name, phase) in callbacks {
        if *phase == Phase::Delete {
            // Calls are cancelled with the context that made them.
            let index = instance.state().instance;
            shared
                .pending
                .retain(|call| call.instance != index || call.context != context);
        }
        instance.run(shared, name, *phase, context, &[context])?;
    }
    instance.state_mut().streams.remove(&context);
    Ok(())
}
