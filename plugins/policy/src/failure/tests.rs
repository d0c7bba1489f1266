//! What becomes of requests at which a plugin fails.

use super::*;
use crate::test_ports::{Nothing, Recorded};
use crate::{Headers, PeerAddress};

const ODD: Failure = Failure::Special(&SpecialFailure {
    reason: "odd",
    problem: Problem::LENGTH_REQUIRED,
    by: FailureBy::Client,
});

struct Nobody;
impl PeerAddress for Nobody {
    fn peer(&self) -> Option<std::net::IpAddr> {
        None
    }
}

struct Setting {
    metrics: MetricRegistry,
    failures: Failures,
    recorded: Recorded,
}

impl Setting {
    fn new(mode: Mode, on_error: OnError, lines: FailureLines) -> Self {
        let mut metrics = MetricRegistry::default();
        let settings = FailureSettings {
            plugin: "p",
            metric: "p_errors",
            mode,
            on_error,
            lines,
        };
        let others = Failure::SLOT.into_iter().chain([Failure::Clock, ODD]);
        let failures = Failures::announce(settings, others, &mut metrics);
        Self {
            metrics,
            failures,
            recorded: Recorded::default(),
        }
    }

    fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &Nothing,
            entropy: &Nothing,
            store: &Nothing,
            telemetry: &self.recorded,
        }
    }

    fn counted(&self) -> Vec<&str> {
        let counted = self.recorded.counted.borrow();
        let name = |counter: &usize| &*self.metrics.metrics()[*counter].1;
        counted.iter().map(name).collect()
    }
}

#[test]
fn each_failure_is_counted_under_its_own_word() {
    let setting = Setting::new(Mode::Enforce, OnError::Deny, FailureLines::Refused);
    let all = Failure::SLOT.into_iter().chain(Failure::HOST);
    let all: Vec<_> = all.chain([Failure::Clock, ODD]).collect();
    for failure in &all {
        setting.failures.count(*failure, &setting.ports());
    }
    let words = [
        "store_unavailable",
        "store_contended",
        "store_foreign",
        "headers_unreadable",
        "headers_cut",
        "edit_failed",
        "clock_unavailable",
        "odd",
    ];
    assert_eq!(
        setting.counted(),
        words.map(|word| format!("p_errors.reason.{word}"))
    );
    assert_eq!(setting.metrics.metrics().len(), all.len());
}

#[test]
fn only_the_gateways_failures_are_left_to_on_error_and_only_an_enforced_plugin_refuses() {
    for on_error in [OnError::Allow, OnError::Deny] {
        let setting = Setting::new(Mode::Enforce, on_error, FailureLines::Refused);
        let fate = |failure, mode| setting.failures.fate(failure, mode);
        let gateways = match on_error {
            OnError::Allow => Fate::AllowedOnError,
            OnError::Deny => Fate::Refused,
        };
        for failure in [
            Failure::Clock,
            Failure::from(SlotError::Contended),
            Failure::from(HostFailure::Edit),
        ] {
            assert_eq!(fate(failure, Mode::Enforce), gateways, "{failure:?}");
            assert_eq!(fate(failure, Mode::Shadow), Fate::ShadowRefused);
            assert_eq!(failure.problem(), Problem::UNAVAILABLE);
        }
        // Whoever could have a request pass by sending more headers would always do so.
        for (failure, status) in [(HostFailure::HeadersCut.into(), 431), (ODD, 411)] {
            assert_eq!(fate(failure, Mode::Enforce), Fate::Refused, "{failure:?}");
            assert_eq!(fate(failure, Mode::Shadow), Fate::ShadowRefused);
            assert_eq!(failure.problem().status, status);
        }
    }
}

#[test]
fn a_failure_of_the_gateway_is_counted_and_refuses_what_on_error_refuses() {
    use FailureLines::{All, Refused, RefusedWithStatus};
    let cut = "plugin=p event=refused reason=headers_cut";
    for (mode, on_error, lines, failure, status, line) in [
        (
            Mode::Enforce,
            OnError::Deny,
            Refused,
            HostFailure::HeadersCut,
            Some(431),
            cut,
        ),
        (
            Mode::Enforce,
            OnError::Allow,
            Refused,
            HostFailure::HeadersCut,
            Some(431),
            cut,
        ),
        (
            Mode::Enforce,
            OnError::Deny,
            RefusedWithStatus,
            HostFailure::Edit,
            Some(503),
            "plugin=p event=refused reason=edit_failed status=503",
        ),
        (
            Mode::Enforce,
            OnError::Allow,
            Refused,
            HostFailure::Edit,
            None,
            "",
        ),
        (
            Mode::Shadow,
            OnError::Deny,
            RefusedWithStatus,
            HostFailure::Edit,
            None,
            "",
        ),
        (
            Mode::Enforce,
            OnError::Allow,
            All,
            HostFailure::Headers,
            None,
            "plugin=p event=allowed_on_error reason=headers_unreadable",
        ),
        (
            Mode::Shadow,
            OnError::Allow,
            All,
            HostFailure::Headers,
            None,
            "plugin=p event=shadow_refused reason=headers_unreadable",
        ),
    ] {
        let setting = Setting::new(mode, on_error, lines);
        let reply = setting.failures.on_host_failure(failure, &setting.ports());
        assert_eq!(reply.as_ref().map(|reply| reply.status), status, "{line}");
        let cause = format!("p{{{}}}", failure.as_str());
        assert!(reply.is_none_or(|reply| reply.cause == cause), "{line}");
        assert_eq!(setting.counted().len(), 1, "{line}");
        assert_eq!(setting.recorded.lines.borrow().join("\n"), line);
    }
    let off = Setting::new(Mode::Off, OnError::Deny, All);
    let reply = off
        .failures
        .on_host_failure(HostFailure::Edit, &off.ports());
    assert_eq!((reply, off.counted().len()), (None, 0));
    assert!(off.recorded.lines.borrow().is_empty());
}

#[test]
fn a_refusal_says_who_failed_at_what_and_the_log_knows_the_request() {
    let headers = Headers::from_pairs([("x-request-id", "id-1")]);
    let request = Request::new(&headers, &Nobody);
    let setting = Setting::new(Mode::Enforce, OnError::Deny, FailureLines::Refused);
    let reply = setting.failures.refuse(ODD, &request, &setting.ports());
    assert_eq!((reply.status, &*reply.cause), (411, "p{odd}"));
    let lines = setting.recorded.lines.borrow();
    assert_eq!(
        *lines,
        ["plugin=p event=refused reason=odd request_id=id-1"]
    );
    assert!(setting.counted().is_empty());
}
