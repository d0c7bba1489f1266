//! HTTP calls of a filter: a few at a time, each ended once, told apart by the gateway's tokens.
//!
//! The SDK's own dispatch of answers panics on a token that it does not know, and on statuses that
//! it does not expect. So answers come in through an export of ours, which the build puts in the
//! place of the SDK's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use portcullis_policy::{BodyError, CallId, CallReply, HttpCall, MOST_CALLS, NoReply, Span};

use crate::abi::{self, Map};
use crate::headers::encode;

/// The calls that are under way, oldest first.
#[derive(Default)]
pub(crate) struct UnderWay(RefCell<Vec<Call>>);

#[derive(Clone, Copy)]
struct Call {
    /// The gateway's name for it.
    token: u32,
    /// The policy's.
    id: CallId,
    /// How many ticks there are until it is given up. Not a date: the clock may be set.
    ticks_left: u64,
}

impl UnderWay {
    /// How long after its timeout a call is given up that the gateway has not ended. Kong is not
    /// known to end each.
    const GRACE: Span = Span::from_secs(1);

    /// Whether no other call may be made meanwhile.
    pub(crate) fn is_full(&self) -> bool {
        let calls = self.0.try_borrow();
        !calls.is_ok_and(|calls| calls.len() < MOST_CALLS)
    }

    /// Makes the call; `Err`: there will be no answer.
    pub(crate) fn dispatch(&self, id: CallId, call: &HttpCall, tick: Span) -> Result<(), NoReply> {
        let headers: [(&[u8], &[u8]); 5] = [
            (b":method", b"GET"),
            (b":scheme", call.scheme.as_bytes()),
            (b":authority", call.authority.as_bytes()),
            (b":path", call.path.as_bytes()),
            (b"accept", b"application/json"),
        ];
        let headers = encode(&headers).ok_or(NoReply::Unanswered)?;
        let timeout = call.timeout.as_nanos() / 1_000_000;
        let timeout = u32::try_from(timeout).unwrap_or(u32::MAX).max(1);
        let token = abi::http_call(&call.upstream, &headers, timeout).map_err(|status| {
            // The request is whole: what Envoy says so of is the cluster.
            if status == abi::Status::BAD_ARGUMENT {
                NoReply::NoSuchUpstream
            } else {
                NoReply::Unanswered
            }
        })?;
        let longest = call
            .timeout
            .as_nanos()
            .saturating_add(Self::GRACE.as_nanos());
        let ticks_left = longest.div_ceil(tick.as_nanos().max(1));
        if let Ok(mut calls) = self.0.try_borrow_mut() {
            calls.push(Call {
                token,
                id,
                ticks_left,
            });
        }
        Ok(())
    }

    /// The call with that token, if it is under way; it no longer is.
    fn take(&self, token: u32) -> Option<CallId> {
        let mut calls = self.0.try_borrow_mut().ok()?;
        let at = calls.iter().position(|call| call.token == token)?;
        Some(calls.remove(at).id)
    }

    /// The calls that are given up with this tick; they are no longer under way.
    pub(crate) fn given_up(&self) -> Vec<CallId> {
        let Ok(mut calls) = self.0.try_borrow_mut() else {
            return Vec::new();
        };
        let mut given_up = Vec::new();
        calls.retain_mut(|call| {
            call.ticks_left = call.ticks_left.saturating_sub(1);
            if call.ticks_left == 0 {
                given_up.push(call.id);
            }
            call.ticks_left > 0
        });
        given_up
    }
}

/// Who made a call.
pub(crate) trait Caller {
    fn calls(&self) -> &UnderWay;
    fn on_call_end(&self, call: CallId, reply: &dyn CallReply);
}

thread_local! {
    /// The configured filters of this module, by the number of their root context.
    static CALLERS: RefCell<BTreeMap<u32, Weak<dyn Caller>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Answers go to this one from now on, if they are its own.
pub(crate) fn register<C: Caller + 'static>(root: u32, caller: &Rc<C>) {
    let caller: Rc<dyn Caller> = Rc::<C>::clone(caller);
    CALLERS.with(|callers| {
        if let Ok(mut callers) = callers.try_borrow_mut() {
            callers.insert(root, Rc::downgrade(&caller));
            callers.retain(|_, caller| caller.strong_count() > 0);
        }
    });
}

/// `proxy_on_http_call_response`, once the build has renamed it (proxy-wasm ABI 0.2.1). Tokens are
/// unique in a gateway's process, so that whose it is need not be told.
#[unsafe(no_mangle)]
pub extern "C" fn portcullis_on_http_call_response(
    _context: u32,
    token: u32,
    _headers: usize,
    body: usize,
    _trailers: usize,
) {
    let mine = CALLERS.with(|callers| {
        let callers = callers.try_borrow().ok()?;
        let mut alive = callers.values().filter_map(Weak::upgrade);
        alive.find_map(|caller| Some((caller.calls().take(token)?, caller)))
    });
    // What is nobody's was given up, or was asked for by a configuration that is gone.
    if let Some((call, caller)) = mine {
        caller.on_call_end(call, &HostReply { body });
    }
}

/// The answer at hand.
struct HostReply {
    /// Bytes of its body.
    body: usize,
}

impl CallReply for HostReply {
    fn status(&self) -> Option<u16> {
        let status = abi::header(Map::CallResponse, ":status").ok()?;
        std::str::from_utf8(&status).ok()?.parse().ok()
    }

    fn body(&self, longest: usize) -> Result<Vec<u8>, BodyError> {
        if self.body > longest {
            return Err(BodyError::TooLong);
        }
        let body = abi::call_response_body(self.body).map_err(|_| BodyError::Unavailable)?;
        if body.len() > longest {
            return Err(BodyError::TooLong);
        }
        Ok(body)
    }
}
