//! How long requests' bodies may be.

use portcullis_policy::config::{IfAmbiguous, List, Match, Mode};
use portcullis_policy::{Counter, LocalReply, MetricRegistry, Ports, Problem, Request};

use crate::NAME;
use crate::config::MaxBody;
use crate::refusal::refusal;

/// How long bodies may be, by the first that matches.
#[derive(Debug)]
pub(crate) struct Bounds {
    mode: Mode,
    bounds: Vec<(Match, u64)>,
    refused: Option<Counter>,
}

/// So much of a body is read at most to find out what a request takes.
const MOST_READ: u64 = 1024 * 1024;

impl Bounds {
    pub(crate) fn new(config: List<MaxBody>, mode: Mode, metrics: &mut MetricRegistry) -> Self {
        let bounds = config.0.into_iter();
        let bounds: Vec<_> = bounds
            .map(|bound| (bound.matches, bound.bytes.get()))
            .collect();
        Self {
            mode,
            refused: (!bounds.is_empty()).then(|| metrics.counter("rate_limit_body_too_long")),
            bounds,
        }
    }

    /// How many bytes of its body may pass. A path with two readings may be any of those that match it.
    fn most(&self, request: &Request<'_>) -> Option<u64> {
        if self.mode == Mode::Off {
            return None;
        }
        let matching =
            |(matches, _): &&(Match, u64)| matches.matches(request, IfAmbiguous::Matches);
        let mut matching = self.bounds.iter().filter(matching).map(|(_, most)| *most);
        match request.path() {
            Ok(_) => matching.next(),
            Err(_) => matching.min(),
        }
    }

    /// How much of its body may be read.
    pub(crate) fn most_read(&self, request: &Request<'_>) -> usize {
        let most = self
            .most(request)
            .map_or(MOST_READ, |most| most.min(MOST_READ));
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// How many bytes of its body may pass, unless it says that it is longer.
    pub(crate) fn of(
        &self,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) -> Result<Option<u64>, LocalReply> {
        const REASON: &str = "body_too_long";
        let Some(most) = self.most(request) else {
            return Ok(None);
        };
        let lengths = request.headers().values("content-length");
        let is_longer = |length: &[u8]| {
            let length = std::str::from_utf8(length).ok();
            length.is_none_or(|length| length.trim().parse().is_ok_and(|said: u64| said > most))
        };
        if !lengths.into_iter().any(is_longer) {
            return Ok((self.mode == Mode::Enforce).then_some(most));
        }
        if let Some(refused) = self.refused {
            ports.telemetry.count(refused);
        }
        let problem = Problem::CONTENT_TOO_LARGE;
        ports
            .telemetry
            .log(refusal(self.mode, REASON, None, problem, request));
        match self.mode {
            Mode::Enforce => Err(problem.reply(request).because(NAME, REASON)),
            Mode::Shadow | Mode::Off => Ok(None),
        }
    }
}
