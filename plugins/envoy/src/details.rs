//! Who made a response or ended a stream, by Envoy's `response.code_details`.

use portcullis_policy::Origin;

/// Who made a response, or ended a stream, of which Envoy says that.
#[must_use]
pub fn origin_by(details: &str) -> Origin {
    // As in "upstream_reset_before_response_started{connection_failure|…}".
    let (kind, why) = details.split_once(['{', '(']).unwrap_or((details, ""));
    match kind {
        // The gateway's own bounds (its `circuit_breakers`, its overload manager) held the
        // request back; the upstream never saw it.
        "upstream_reset_before_response_started"
            if why.starts_with("overflow") || why.starts_with("overload_manager") =>
        {
            Origin::Gateway
        }
        "upstream_reset_before_response_started" if why.starts_with("remote_reset") => {
            Origin::Reset
        }
        "via_upstream" => Origin::Upstream,
        // Without a host: all are ejected, fail their health checks, or their name is gone, as that
        // of a container is that died.
        "upstream_reset_before_response_started" | "no_healthy_upstream" => {
            Origin::ConnectionFailed
        }
        "upstream_reset_after_response_started" => Origin::BrokenOff,
        // Their clocks start when the request is whole.
        "response_timeout"
        | "upstream_per_try_timeout"
        | "upstream_per_try_idle_timeout"
        | "upstream_response_timeout" => Origin::TimedOut,
        "stream_idle_timeout" => Origin::Idle,
        // Of the listener or the route, or of the client by `grpc-timeout`; of the cluster.
        "max_duration_timeout" | "upstream_max_stream_duration_reached" => Origin::MaxDuration,
        // A connection that is closed, and a stream that is reset: by RST_STREAM, which has its
        // own words.
        "downstream_remote_disconnect"
        | "downstream_local_disconnect"
        | "http2.remote_reset"
        | "http2.remote_refuse"
        | "http3.remote_reset" => Origin::ClientGone,
        // Also a client that was late with its own request (`request_overall_timeout`,
        // `request_header_timeout`), and none at all: what another Wasm filter answers has no
        // details.
        _ => Origin::Gateway,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_details_tell_the_upstream_from_the_gateway_and_the_client() {
        for (details, origin) in [
            ("via_upstream", Origin::Upstream),
            (
                "upstream_reset_before_response_started{connection_failure}",
                Origin::ConnectionFailed,
            ),
            (
                "upstream_reset_after_response_started{connection_termination}",
                Origin::BrokenOff,
            ),
            (
                "upstream_reset_before_response_started{overflow}",
                Origin::Gateway,
            ),
            ("response_timeout", Origin::TimedOut),
            ("upstream_per_try_timeout", Origin::TimedOut),
            ("upstream_per_try_idle_timeout", Origin::TimedOut),
            ("stream_idle_timeout", Origin::Idle),
            ("max_duration_timeout", Origin::MaxDuration),
            ("upstream_max_stream_duration_reached", Origin::MaxDuration),
            ("request_overall_timeout", Origin::Gateway),
            ("request_header_timeout", Origin::Gateway),
            (
                "upstream_reset_before_response_started{remote_reset}",
                Origin::Reset,
            ),
            (
                "upstream_reset_before_response_started{remote_refused_stream_reset}",
                Origin::ConnectionFailed,
            ),
            ("downstream_remote_disconnect", Origin::ClientGone),
            ("direct_response", Origin::Gateway),
            ("no_healthy_upstream", Origin::ConnectionFailed),
            ("", Origin::Gateway),
        ] {
            assert_eq!(origin_by(details), origin, "{details}");
        }
    }
}
