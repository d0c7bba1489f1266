//! Random requests, and the callbacks that each of them brings.

use std::collections::VecDeque;

use portcullis_policy::{Ending, Origin, Response};
use portcullis_sim::{Dialect, Draw};

/// A request that was drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    pub(crate) path: &'static str,
    pub(crate) speaks_grpc: bool,
    pub(crate) id: Option<&'static str>,
    /// Whether a body is to follow.
    pub(crate) has_body: bool,
}

/// A callback after the request's own.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Head(Head),
    End(End),
    /// The last of the request's body.
    Body,
    /// Another policy of the filter refuses the request.
    GiveBack,
}

/// A response's head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: Option<u16>,
    pub(crate) grpc: Option<u8>,
    pub(crate) origin: Origin,
    pub(crate) dialect: Dialect,
}

/// The end of a stream.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) origin: Origin,
    pub(crate) grpc: Option<u8>,
}

impl Response for Head {
    fn status(&self) -> Option<u16> {
        self.status
    }
    fn origin(&self) -> Origin {
        self.origin
    }
    fn origin_is_told_later(&self) -> bool {
        self.dialect == Dialect::Envoy
    }
    fn grpc_status(&self) -> Option<u8> {
        self.grpc
    }
}

impl Ending for End {
    fn origin(&self) -> Origin {
        self.origin
    }
    fn grpc_status(&self) -> Option<u8> {
        self.grpc
    }
}

const ORIGINS: [Origin; 11] = [
    Origin::Upstream,
    Origin::ConnectionFailed,
    Origin::TimedOut,
    Origin::Reset,
    Origin::Idle,
    Origin::MaxDuration,
    Origin::BrokenOff,
    Origin::Gateway,
    Origin::ClientGone,
    Origin::Lost,
    Origin::Unknown,
];
const STATUSES: [u16; 10] = [200, 204, 302, 404, 408, 429, 500, 502, 503, 504];

impl Drawn {
    pub(crate) fn draw(draw: &Draw) -> Self {
        Self {
            path: draw.of(&["/", "/a", "/a/x", "/b", "//a"]),
            speaks_grpc: draw.once_in(4),
            id: draw.once_in(4).then_some("id-1"),
            has_body: draw.once_in(3),
        }
    }

    /// All headers, pseudo-headers included.
    pub(crate) fn headers(&self) -> Vec<(&'static str, &'static str)> {
        let mut all = vec![(":method", "POST"), (":path", self.path)];
        if self.speaks_grpc {
            all.push(("content-type", "application/grpc"));
        }
        if self.has_body {
            all.push(("content-length", "7"));
        }
        all.extend(self.id.map(|id| ("x-request-id", id)));
        all
    }
}

fn code(draw: &Draw) -> Option<u8> {
    draw.of(&[None, None, Some(0), Some(5), Some(8), Some(14)])
}

/// A head as gateways show them, for the most part: failures of the gateway with its own statuses.
fn head(draw: &Draw, dialect: Dialect) -> Head {
    let (status, origin) = match draw.between(0, 11) {
        0..=4 => (200, Origin::Upstream),
        5 => (draw.of(&[404, 429]), Origin::Upstream),
        6 | 7 => (draw.of(&[500, 502, 503, 504]), Origin::Upstream),
        8 => (draw.of(&[502, 503]), Origin::ConnectionFailed),
        9 => (
            draw.of(&[408, 504]),
            draw.of(&[Origin::TimedOut, Origin::Idle]),
        ),
        10 => (draw.of(&[200, 403, 429, 503]), Origin::Gateway),
        _ => (draw.of(&STATUSES), draw.of(&ORIGINS)),
    };
    Head {
        status: (!draw.once_in(16)).then_some(status),
        grpc: code(draw),
        origin,
        dialect,
    }
}

/// All that is heard of a request; the last is always its end.
pub(crate) fn steps(draw: &Draw, dialect: Dialect, sent: &Drawn) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    // Some bodies come in time, some after the answer, and some never.
    if sent.has_body && draw.once_in(2) {
        steps.push_back(Step::Body);
    }
    let end = |origin| {
        let grpc = code(draw);
        Step::End(End { origin, grpc })
    };
    let mut last = None;
    if !draw.once_in(4) {
        let head = head(draw, dialect);
        last = Some(head.origin);
        steps.push_back(Step::Head(head));
    }
    if sent.has_body && draw.once_in(6) {
        steps.push_back(Step::Body);
    }
    if draw.once_in(10) {
        steps.push_back(Step::Head(head(draw, dialect)));
    }
    if draw.once_in(12) {
        steps.push_back(Step::GiveBack);
    }
    let logged = match (dialect, last) {
        _ if draw.once_in(6) => draw.of(&ORIGINS),
        (Dialect::Envoy, Some(origin)) => origin,
        (Dialect::Envoy, None) => draw.of(&ORIGINS),
        (Dialect::Kong, Some(_)) => Origin::Unknown,
        (Dialect::Kong, None) => draw.of(&[Origin::Unknown, Origin::ClientGone]),
    };
    // With its `error_page` Kong drops a request without a log; and a client may leave before all
    // of its request has come.
    if !draw.once_in(4) {
        steps.push_back(end(logged));
    }
    if draw.once_in(8) {
        steps.push_back(end(draw.of(&ORIGINS)));
    }
    let dropped = draw.of(&[Origin::Lost, Origin::Lost, Origin::ClientGone]);
    steps.push_back(end(dropped));
    steps
}
