//! nginx with ngx_wasm_module: Kong's data plane, or nginx alone.

mod body;
mod response;

use std::net::IpAddr;

use portcullis_driver::{Exchange, Failed, RequestBody};
use portcullis_policy::{
    Abilities, HeaderEdit, Headers, HostFailure, LocalReply, Origin, PeerAddress, Request,
    RequestEdits, ResponseEdits, Splice, is_folded,
};

use self::response::Head;
use super::common;
use crate::abi::{self, Map};
use crate::worker::Nature;

/// Whatever stream is at hand in Kong's worker.
#[derive(Clone, Copy)]
pub(super) struct Kong;

impl Nature for Kong {
    /// Kong would go on without any filter, for all of its services.
    const KEEPS_FORMER_CONFIGURATION: bool = false;
    /// Without a zone of shared memory reading it traps. A trap while a filter is configured leaves the gateway open, one in
    /// a tick starts the filter anew and with it one more timer; one within a request answers it with 500.
    const SHARES_BEFORE_REQUESTS: bool = false;
    /// The worker dies of such a call.
    const CALLS_FROM_ANSWERS: bool = false;
    const ABILITIES: Abilities = Abilities::KONG;
}

impl PeerAddress for Kong {
    fn peer(&self) -> Option<IpAddr> {
        common::peer()
    }

    fn route(&self) -> Option<String> {
        common::route("kong\0route_name")
    }
}

impl Exchange for Kong {
    type Head = Head;

    /// Pseudo-headers are not counted here.
    fn request_headers(&self, count: usize) -> Result<Headers, HostFailure> {
        /// A list of more than these is longer than the memory that Kong asks for: what lies behind is overwritten with
        /// bytes of the client's.
        const MOST: usize = 96;
        if count > MOST {
            return Err(HostFailure::HeadersCut);
        }
        let headers = common::request_headers()?;
        let real = headers.iter().filter(|(name, _)| !name.starts_with(b":"));
        // A client that sends more than are shown could hide one that it forged.
        match real.count() < count {
            true => Err(HostFailure::HeadersCut),
            false => Ok(headers),
        }
    }

    /// `:path` is what nginx has made of it, decoded, its dots resolved and its slashes merged, while what goes on to the
    /// upstream is made of the original.
    fn target(&self) -> Result<Option<Vec<u8>>, HostFailure> {
        match abi::property("request\0path") {
            Ok(target) if !target.is_empty() => Ok(Some(target)),
            Ok(_) | Err(_) => Err(HostFailure::Headers),
        }
    }

    fn body(&self, request: &Request<'_>, _: bool, observed: bool) -> RequestBody {
        body::of(request, observed)
    }

    fn request_body(&self, _: usize, _: usize, _: &mut dyn FnMut(&[u8])) -> Result<(), Failed> {
        Err(Failed)
    }

    fn change_request_body(&self, _: usize, _: &[Splice]) -> Result<(), Failed> {
        Err(Failed)
    }

    fn response_body(&self, _: usize, _: &mut dyn FnMut(&[u8])) -> Result<(), Failed> {
        Err(Failed)
    }

    fn change_response_body(&self, _: usize, _: &[u8]) -> Result<(), Failed> {
        Err(Failed)
    }

    /// Kong has settled by now which path the upstream gets, and ends the request where a query is to be set.
    fn change_request(&self, _: Option<&Headers>, edits: &RequestEdits<'_>) -> Result<(), Failed> {
        let outcome = apply(Map::Request, edits.headers());
        match edits.target() {
            Some(_) => Err(Failed),
            None => outcome,
        }
    }

    /// Headers are neither fetched nor put back all at once: `:status` is not known to be among them, and lines of one name
    /// would become one.
    fn response(&self, _: bool) -> Head {
        Head::default()
    }

    fn change_response(&self, _: &Head, edits: &ResponseEdits<'_>) -> Result<(), Failed> {
        apply(Map::Response, edits.headers())
    }

    fn ending(&self, answered: bool) -> Origin {
        /// nginx's word for a client that closed its request.
        const CLIENT_CLOSED: &str = "499";
        match !answered && common::text("response\0code").as_deref() == Some(CLIENT_CLOSED) {
            true => Origin::ClientGone,
            false => Origin::Unknown,
        }
    }

    /// Kong shows no trailers.
    fn trailing_grpc_status(&self) -> Option<u8> {
        None
    }

    /// The cause is not sent: it would be the status line's reason phrase, which the client sees.
    fn reply(&self, reply: &LocalReply) -> Result<(), Failed> {
        let Some(grpc) = reply.grpc else {
            return common::send(reply, reply.status, &[], &reply.body, "", None);
        };
        let code = grpc.code().to_string();
        let more: [(&[u8], &[u8]); 3] = [
            (b"content-type", b"application/grpc"),
            (b"grpc-status", code.as_bytes()),
            (b"grpc-message", reply.body.as_bytes()),
        ];
        common::send(reply, 200, &more, "", "", None)
    }
}

fn apply(map: Map, edits: &[HeaderEdit<'_>]) -> Result<(), Failed> {
    let mut outcome = Ok(());
    for edit in edits {
        outcome = outcome.and(match edit {
            HeaderEdit::Set { name, value } => {
                abi::replace_header(map, name, value).map_err(Failed::from)
            }
            // A header that is removed still reaches the upstream. Emptied it does so too, and a backend that folds its name
            // would join it with the one that is ours.
            HeaderEdit::Clear { name } => match abi::replace_header(map, name, b"") {
                Ok(()) if is_folded(name) => Err(Failed),
                emptied => emptied.map_err(Failed::from),
            },
        });
    }
    outcome
}
