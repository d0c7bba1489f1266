//! Answers to the HTTP calls of filters.
//!
//! The SDK's own dispatch of answers panics on a token that it does not know, and on statuses that
//! it does not expect. So answers come in through an export of ours, which the build puts in the
//! place of the SDK's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use portcullis_driver::{Filter, Host, number};
use portcullis_policy::{BodyError, CallReply, Policy};

use crate::abi::{self, Map};

/// Who may have made a call.
trait Caller {
    /// Whether the call of this token is its own.
    fn on_answer(&self, token: u32, reply: &dyn CallReply) -> bool;
}

impl<P: Policy, H: Host> Caller for Filter<P, H> {
    fn on_answer(&self, token: u32, reply: &dyn CallReply) -> bool {
        Self::on_answer(self, token, reply)
    }
}

thread_local! {
    /// The configured filters of this module, by the number of their root context.
    static CALLERS: RefCell<BTreeMap<u32, Weak<dyn Caller>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Answers go to this one from now on, if they are its own.
pub(crate) fn register<P: Policy + 'static, H: Host>(root: u32, filter: &Rc<Filter<P, H>>) {
    let caller: Rc<dyn Caller> = Rc::<Filter<P, H>>::clone(filter);
    CALLERS.with(|callers| {
        if let Ok(mut callers) = callers.try_borrow_mut() {
            callers.insert(root, Rc::downgrade(&caller));
            callers.retain(|_, caller| caller.strong_count() > 0);
        }
    });
}

/// `proxy_on_http_call_response`, once the build has renamed it (proxy-wasm ABI 0.2.1). Tokens are
/// unique in a gateway's process, so that whose it is need not be told. What is nobody's was given up, or was asked for by a
/// configuration that is gone.
#[unsafe(no_mangle)]
pub extern "C" fn portcullis_on_http_call_response(
    _context: u32,
    token: u32,
    _headers: usize,
    body: usize,
    _trailers: usize,
) {
    let callers: Vec<Rc<dyn Caller>> = CALLERS.with(|callers| {
        let callers = callers.try_borrow();
        callers.map_or(Vec::new(), |callers| {
            callers.values().filter_map(Weak::upgrade).collect()
        })
    });
    let reply = HostReply { body };
    let _is_ours = callers.iter().any(|caller| caller.on_answer(token, &reply));
}

/// The answer at hand.
struct HostReply {
    /// Bytes of its body.
    body: usize,
}

impl CallReply for HostReply {
    fn status(&self) -> Option<u16> {
        number(&abi::header(Map::CallResponse, ":status").ok()?)
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        abi::header(Map::CallResponse, name).ok()
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
