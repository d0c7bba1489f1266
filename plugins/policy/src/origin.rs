//! Who made a response, from what the gateways tell of it.

/// Who made a response, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The upstream answered.
    Upstream,
    /// The upstream could not be reached, has no host that can be, or cut the connection before its
    /// response headers.
    ConnectionFailed,
    /// The upstream did not answer in time.
    TimedOut,
    /// The upstream broke off in the middle of its response.
    BrokenOff,
    /// The gateway or another filter answered in the upstream's stead.
    Gateway,
    /// The client went away.
    ClientGone,
    /// The gateway does not tell.
    Unknown,
}

impl Origin {
    /// From Envoy's `response.code_details`.
    #[must_use]
    pub fn from_envoy_details(details: &str) -> Self {
        // As in "upstream_reset_before_response_started{connection_failure|…}".
        let (kind, why) = details.split_once(['{', '(']).unwrap_or((details, ""));
        match kind {
            // The gateway's own bounds (its `circuit_breakers`, its overload manager) held the
            // request back; the upstream never saw it.
            "upstream_reset_before_response_started"
                if why.starts_with("overflow") || why.starts_with("overload_manager") =>
            {
                Self::Gateway
            }
            "via_upstream" => Self::Upstream,
            // Without a host: all are ejected, fail their health checks, or their name is gone, as that
            // of a container is that died.
            "upstream_reset_before_response_started" | "no_healthy_upstream" => {
                Self::ConnectionFailed
            }
            "upstream_reset_after_response_started" => Self::BrokenOff,
            "response_timeout"
            | "upstream_per_try_timeout"
            | "upstream_per_try_idle_timeout"
            | "upstream_max_stream_duration_reached"
            | "upstream_response_timeout" => Self::TimedOut,
            // A connection that is closed, and a stream that is reset: by RST_STREAM, which has its
            // own words.
            "downstream_remote_disconnect"
            | "downstream_local_disconnect"
            | "http2.remote_reset"
            | "http2.remote_refuse"
            | "http3.remote_reset" => Self::ClientGone,
            // Also none at all: what another Wasm filter answers has no details.
            _ => Self::Gateway,
        }
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
            ("downstream_remote_disconnect", Origin::ClientGone),
            ("direct_response", Origin::Gateway),
            ("no_healthy_upstream", Origin::ConnectionFailed),
            ("", Origin::Gateway),
        ] {
            assert_eq!(Origin::from_envoy_details(details), origin, "{details}");
        }
    }
}
