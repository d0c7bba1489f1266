//! Properties of a request, as each gateway knows them.
//!
//! The two have hardly a name in common that means the same: addresses have a port on Envoy, numbers are eight bytes
//! there and text on Kong, and asking Kong for one it does not know writes an error line for every request.

use crate::Dialect;
use crate::peer;
use crate::state::Phase;
use crate::stream::Stream;

/// The answer to a question for a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// Its value in the gateway's format.
    Value(Vec<u8>),
    /// Known, but without a value now.
    Absent,
    /// Not known. Kong logs an error.
    Unknown,
    /// Asking for it traps.
    Traps,
    /// Asking for it takes the worker down.
    Crashes,
}

/// A property of a request, by its dotted path, as the callback of that phase sees it.
pub(crate) fn of_stream(dialect: Dialect, phase: Phase, stream: &Stream, path: &str) -> Property {
    if dialect == Dialect::Kong
        && let Some(halt) = halts_kong(phase, path)
    {
        return halt;
    }
    if let Some(value) = stream.properties.get(path) {
        return Property::Value(value.clone());
    }
    match dialect {
        Dialect::Envoy => envoy(stream, path),
        Dialect::Kong => kong(stream, path),
    }
}

/// What Kong's own properties do outside of a request's callbacks, in which Lua can't be entered, and all of them once
/// nginx has let go of the request. (Of the former a real one crashes at some times and not at others.)
fn halts_kong(phase: Phase, path: &str) -> Option<Property> {
    let kongs = path.starts_with("kong.");
    match phase {
        Phase::Delete => Some(Property::Crashes),
        Phase::ResponseHeaders if kongs => Some(Property::Crashes),
        Phase::Log | Phase::Done if kongs => Some(Property::Traps),
        _ if path == "kong.response.source" => Some(Property::Traps),
        _ => None,
    }
}

fn envoy(stream: &Stream, path: &str) -> Property {
    let facts = &stream.facts;
    let address = peer::with_port(&stream.peer);
    match path {
        "source.address" => text(&address),
        "source.port" => peer::parse(&stream.peer)
            .map_or(Property::Absent, |peer| number(i64::from(peer.port()))),
        "destination.address" => text("10.0.0.254:10000"),
        "destination.port" => number(10_000),
        "connection.id" => number(1),
        "connection.mtls" => Property::Value(vec![0]),
        "xds.route_name" => text("route"),
        "xds.cluster_name" => text("upstream"),
        "request.path" => header(stream, ":path"),
        "request.url_path" => header_before(stream, ":path", b'?'),
        "request.host" => header(stream, ":authority"),
        "request.method" => header(stream, ":method"),
        "request.scheme" => header(stream, ":scheme"),
        "request.protocol" => text(stream.protocol),
        "request.id" => header(stream, "x-request-id"),
        "request.referer" => header(stream, "referer"),
        "request.useragent" => header(stream, "user-agent"),
        "response.code" => facts
            .status
            .map_or(Property::Absent, |status| number(i64::from(status))),
        "response.code_details" => facts.details.as_deref().map_or(Property::Absent, text),
        "response.flags" => number(facts.flags),
        path if path.starts_with("response.trailers.") => {
            let mut trailers = facts.trailers.iter();
            let found = trailers.find(|(name, _)| path.ends_with(&format!("s.{name}")));
            found.map_or(Property::Absent, |(_, value)| {
                Property::Value(value.clone())
            })
        }
        "upstream.address" => facts.upstream.map_or(Property::Absent, text),
        _ => headers(stream, path).unwrap_or(Property::Unknown),
    }
}

fn kong(stream: &Stream, path: &str) -> Property {
    let facts = &stream.facts;
    match path {
        "source.address" => text(&peer::without_port(&stream.peer)),
        "source.port" => peer::parse(&stream.peer)
            .map_or(Property::Absent, |peer| text(&peer.port().to_string())),
        // The target as it came, unlike `:path`.
        "request.path" => text(&stream.target),
        "request.url_path" => header_before(stream, ":path", b'?'),
        "request.method" => header(stream, ":method"),
        "request.scheme" => header(stream, ":scheme"),
        "request.protocol" => text(stream.protocol),
        "request.id" => header(stream, "x-request-id"),
        "request.referer" => header(stream, "referer"),
        "request.useragent" => header(stream, "user-agent"),
        "connection.id" => text("1"),
        // nginx's $status: three digits, zeros while there is no response.
        "response.code" => text(&format!("{:03}", facts.status.unwrap_or(0))),
        "kong.route_name" => text("route"),
        "kong.service_name" => text("service"),
        "kong.service.response.status" => facts
            .service_status
            .map_or(Property::Absent, |status| text(&status.to_string())),
        // nginx's own variables; this one is absent where a neighbour or Kong has answered.
        "ngx.upstream_status" => match (facts.service_status, facts.status) {
            (Some(status), _) => text(&status.to_string()),
            (None, Some(499)) => text("-"),
            (None, _) => Property::Absent,
        },
        _ => headers(stream, path).unwrap_or(Property::Unknown),
    }
}

fn headers(stream: &Stream, path: &str) -> Option<Property> {
    if let Some(name) = path.strip_prefix("request.headers.") {
        return Some(header(stream, name));
    }
    let name = path.strip_prefix("response.headers.")?;
    Some(
        stream
            .response
            .get(name)
            .map_or(Property::Absent, |value| Property::Value(value.to_vec())),
    )
}

fn header(stream: &Stream, name: &str) -> Property {
    stream
        .request
        .get(name)
        .map_or(Property::Absent, |value| Property::Value(value.to_vec()))
}

fn header_before(stream: &Stream, name: &str, end: u8) -> Property {
    let value = stream
        .request
        .get(name)
        .and_then(|value| value.split(|byte| *byte == end).next());
    value.map_or(Property::Absent, |value| Property::Value(value.to_vec()))
}

fn text(value: &str) -> Property {
    Property::Value(value.as_bytes().to_vec())
}

/// Envoy hands out an integer as eight bytes, least significant first.
fn number(value: i64) -> Property {
    Property::Value(value.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;
    use crate::response::Response;
    use crate::stream::Facts;

    fn asked(dialect: Dialect, response: Option<Response>, path: &str) -> Property {
        let request = Request::get("/a?b=c")
            .peer("10.0.0.1:1234")
            .property("kong.tag", "blue");
        let mut stream = Stream::new(dialect, &request);
        if let Some(response) = response {
            stream.start_response(response.status, &response.headers, Facts::of(&response));
        }
        of_stream(dialect, Phase::ResponseHeaders, &stream, path)
    }

    #[test]
    fn source_address_has_a_port_on_envoy_and_none_on_kong() {
        assert_eq!(
            asked(Dialect::Envoy, None, "source.address"),
            text("10.0.0.1:1234")
        );
        assert_eq!(
            asked(Dialect::Kong, None, "source.address"),
            text("10.0.0.1")
        );
    }

    #[test]
    fn response_code_is_eight_bytes_on_envoy_and_text_on_kong() {
        let response = Some(Response::upstream(200));
        assert_eq!(
            asked(Dialect::Envoy, response.clone(), "response.code"),
            number(200)
        );
        assert_eq!(asked(Dialect::Kong, response, "response.code"), text("200"));
        assert_eq!(
            asked(Dialect::Envoy, None, "response.code"),
            Property::Absent
        );
    }

    #[test]
    fn kong_knows_none_of_envoys_own() {
        let response = Some(Response::upstream(200));
        for path in [
            "response.code_details",
            "response.flags",
            "upstream.address",
            "xds.route_name",
        ] {
            assert_eq!(
                asked(Dialect::Kong, response.clone(), path),
                Property::Unknown,
                "{path}"
            );
            assert!(
                matches!(
                    asked(Dialect::Envoy, response.clone(), path),
                    Property::Value(_)
                ),
                "{path}"
            );
        }
        assert_eq!(
            asked(Dialect::Envoy, None, "kong.route_name"),
            Property::Unknown
        );
    }

    #[test]
    fn envoy_tells_who_answered_by_details_flags_and_upstream() {
        for (response, details, flags, upstream) in [
            (Response::upstream(200), "via_upstream", 0, true),
            (Response::upstream(503), "via_upstream", 0, true),
            (Response::other_filter(403), "", 0, false),
            (
                Response::connect_failure(),
                "upstream_reset_before_response_started{connection_failure}",
                0x20,
                true,
            ),
            (Response::timeout(), "response_timeout", 0x4, true),
            (
                Response::upstream(500).details("odd").flags(9),
                "odd",
                9,
                true,
            ),
        ] {
            let ask = |path| asked(Dialect::Envoy, Some(response.clone()), path);
            assert_eq!(ask("response.code_details"), text(details));
            assert_eq!(ask("response.flags"), number(flags));
            assert_eq!(
                matches!(ask("upstream.address"), Property::Value(_)),
                upstream,
                "{details}"
            );
        }
    }

    #[test]
    fn kong_tells_who_answered_by_nginxs_word_for_the_upstream() {
        let status = |response| asked(Dialect::Kong, Some(response), "ngx.upstream_status");
        assert_eq!(status(Response::upstream(503)), text("503"));
        assert_eq!(status(Response::other_filter(403)), Property::Absent);
    }

    #[test]
    fn kongs_own_properties_end_the_worker_behind_the_request() {
        let stream = Stream::new(Dialect::Kong, &Request::get("/"));
        let asked = |phase, path| of_stream(Dialect::Kong, phase, &stream, path);
        for (path, in_request, in_response, at_log, at_end) in [
            (
                "kong.route_name",
                text("route"),
                Property::Crashes,
                Property::Traps,
                Property::Crashes,
            ),
            (
                "kong.response.source",
                Property::Traps,
                Property::Crashes,
                Property::Traps,
                Property::Crashes,
            ),
            (
                "ngx.upstream_status",
                Property::Absent,
                Property::Absent,
                Property::Absent,
                Property::Crashes,
            ),
        ] {
            assert_eq!(asked(Phase::RequestHeaders, path), in_request, "{path}");
            assert_eq!(asked(Phase::ResponseHeaders, path), in_response, "{path}");
            assert_eq!(asked(Phase::Log, path), at_log, "{path}");
            assert_eq!(asked(Phase::Delete, path), at_end, "{path}");
        }
    }

    #[test]
    fn a_test_may_set_any_property() {
        assert_eq!(asked(Dialect::Envoy, None, "kong.tag"), text("blue"));
    }

    #[test]
    fn headers_and_path_are_properties_too() {
        assert_eq!(asked(Dialect::Envoy, None, "request.url_path"), text("/a"));
        assert_eq!(
            asked(Dialect::Envoy, None, "request.headers.host"),
            text("example.com")
        );
        let response = Some(Response::upstream(200).header("x-cache", "hit"));
        assert_eq!(
            asked(Dialect::Kong, response, "response.headers.x-cache"),
            text("hit")
        );
    }
}
