//! Sends a local reply in the words of the client's protocol, as the host at hand wants them.

use portcullis_policy::LocalReply;

use crate::abi;
use crate::headers::encode;
use crate::host::Host;

/// Answers the request.
pub(crate) fn send(reply: &LocalReply, host: Host) -> Result<(), ()> {
    let mut headers: Vec<(&[u8], &[u8])> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let grpc = reply.grpc.map(|status| status.code());
    let code = grpc.map(|code| code.to_string()).unwrap_or_default();
    let (status, body, grpc) = match (grpc, host) {
        // Envoy makes a gRPC answer of it, with the body as its message.
        (Some(code), Host::Envoy) => (reply.status, reply.body.as_str(), Some(code)),
        (Some(_), _) => {
            headers.push((b"content-type", b"application/grpc"));
            headers.push((b"grpc-status", code.as_bytes()));
            headers.push((b"grpc-message", reply.body.as_bytes()));
            (200, "", None)
        }
        (None, _) => (reply.status, reply.body.as_str(), None),
    };
    let headers = encode(&headers).ok_or(())?;
    let details = match host {
        // The access log's response code details.
        Host::Envoy => reply.cause.as_str(),
        // On Kong it would be the status line's reason phrase, which the client sees.
        Host::Kong => "",
    };
    abi::send_local_response(status, details, &headers, body, grpc).map_err(|_| ())
}
