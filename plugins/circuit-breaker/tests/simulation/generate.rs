//! Random configurations, each as JSON for the product and as plain values for the reference.

use portcullis_sim::Draw;

use crate::reference::Settings;
use crate::rules::Rules;
use crate::window::Ratio;

pub(crate) const MILLI: u64 = 1_000_000;
/// Of all windows that are drawn.
pub(crate) const LONGEST_WINDOW: u64 = 10_000 * MILLI;

/// What is done with decisions; the weaker is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Enforce,
    Shadow,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    None,
    Open,
    Closed,
}

/// A breaker of a random configuration.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) name: String,
    /// Requests below it; all, if there is none.
    pub(crate) prefix: Option<&'static str>,
    /// What holds: the weaker of the plugin's and its own.
    pub(crate) mode: Mode,
    own_mode: Mode,
    pub(crate) force: Force,
    pub(crate) rules: Rules,
    pub(crate) settings: Settings,
}

/// A random configuration.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) guards: Vec<Guard>,
    mode: Mode,
    pub(crate) denies: bool,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

impl Force {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

fn ratio(draw: &Draw) -> Ratio {
    Ratio {
        above: draw.of(&[0, 250_000, 333_333, 500_000, 500_000, 750_000, 999_999]),
        window: draw.of(&[1_000 * MILLI, 1_001 * MILLI, 2_500 * MILLI, LONGEST_WINDOW]),
        minimum: draw.of(&[1, 2, 3, 4, 6]),
    }
}

/// Small figures, so that all of them are reached.
pub(crate) fn settings(draw: &Draw) -> Settings {
    let conditions = draw.between(1, 7);
    let initial = draw.of(&[500, 1_000, 3_000, draw.between(1, 5_000)]) * MILLI;
    let multiplier = draw.of(&[
        1_000_000,
        1_500_000,
        2_000_000,
        draw.between(1_000_000, 4_000_000),
    ]);
    Settings {
        consecutive: (conditions & 1 > 0).then(|| draw.between(1, 4)),
        failing: (conditions & 2 > 0).then(|| ratio(draw)),
        slow: (conditions & 4 > 0).then(|| ratio(draw)),
        slower_than: draw.of(&[50, 100, 1_000]) * MILLI,
        initial,
        multiplier,
        max: initial * draw.between(1, 6),
        jitter: draw.of(&[0, 0, 0, 100_000, 1_000_000, draw.between(0, 1_000_000)]),
        probes: draw.of(&[1, 1, 2, 3, 16]),
        successes_to_close: draw.of(&[1, 1, 2, 4]),
        lease: draw.of(&[300, 1_000, draw.between(1, 5_000)]) * MILLI,
    }
}

fn rules(draw: &Draw) -> Rules {
    let connection = !draw.once_in(6);
    Rules {
        status: match draw.between(0, 3) {
            0 if connection => Vec::new(),
            1 => vec![429, 500],
            _ => vec![500, 502, 503, 504],
        },
        grpc_status: if draw.once_in(4) {
            Vec::new()
        } else {
            vec![8, 14]
        },
        connection,
        timeout: !draw.once_in(6),
    }
}

impl Guard {
    /// Enforced, for every request, by the defaults' rules.
    pub(crate) fn plain(settings: Settings) -> Self {
        Self {
            name: "one".to_owned(),
            prefix: None,
            mode: Mode::Enforce,
            own_mode: Mode::Enforce,
            force: Force::None,
            rules: Rules {
                status: vec![500, 502, 503, 504],
                grpc_status: vec![8, 14],
                connection: true,
                timeout: true,
            },
            settings,
        }
    }

    fn draw(draw: &Draw, index: u64, plugin: Mode) -> Self {
        let own_mode = match draw.between(0, 19) {
            0 => Mode::Off,
            1..=3 => Mode::Shadow,
            _ => Mode::Enforce,
        };
        Self {
            name: format!("breaker_{index}"),
            prefix: draw.of(&[None, None, Some("/a"), Some("/b")]),
            mode: own_mode.max(plugin),
            own_mode,
            force: match draw.between(0, 29) {
                0 => Force::Open,
                1 => Force::Closed,
                _ => Force::None,
            },
            rules: rules(draw),
            settings: settings(draw),
        }
    }

    /// By whole segments. A path with two readings (`//a`) is below none.
    pub(crate) fn guards(&self, path: &str) -> bool {
        let below = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.mode != Mode::Off && self.prefix.is_none_or(below)
    }

    fn json(&self) -> String {
        let Settings {
            consecutive,
            failing,
            slow,
            slower_than,
            ..
        } = &self.settings;
        let share = |ratio: &Ratio| {
            format!(
                r#""above":0.{:06},"window":"{}ms","minimum_requests":{}"#,
                ratio.above,
                ratio.window / MILLI,
                ratio.minimum
            )
        };
        let slower_than = slower_than / MILLI;
        let trip: Vec<String> = [
            consecutive.map(|most| format!(r#""consecutive_failures":{most}"#)),
            failing.map(|ratio| format!(r#""failure_ratio":{{{}}}"#, share(&ratio))),
            slow.map(|ratio| {
                let share = share(&ratio);
                format!(r#""slow_ratio":{{"slower_than":"{slower_than}ms",{share}}}"#)
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        let matches = self.prefix.map_or(String::new(), |prefix| {
            format!(r#""match":{{"paths":[{{"prefix":"{prefix}"}}]}},"#)
        });
        let Rules {
            status,
            grpc_status,
            connection,
            timeout,
        } = &self.rules;
        let s = &self.settings;
        let millionths = |n: u64| format!("{}.{:06}", n / 1_000_000, n % 1_000_000);
        format!(
            r#"{{"name":"{}","mode":"{}","force":"{}",{matches}"trip":{{{}}},"failures":{{"status":{status:?},"grpc_status":{grpc_status:?},"connection":{connection},"timeout":{timeout}}},"open_for":{{"initial":"{}ms","multiplier":{},"max":"{}ms","jitter":{}}},"half_open":{{"probes":{},"successes_to_close":{},"probe_lease":"{}ms"}}}}"#,
            self.name,
            self.own_mode.name(),
            self.force.name(),
            trip.join(","),
            s.initial / MILLI,
            millionths(s.multiplier),
            s.max / MILLI,
            millionths(s.jitter),
            s.probes,
            s.successes_to_close,
            s.lease / MILLI,
        )
    }
}

impl Plugin {
    pub(crate) fn draw(draw: &Draw) -> Self {
        let mode = match draw.between(0, 19) {
            0 => Mode::Shadow,
            _ => Mode::Enforce,
        };
        let guards = draw.of(&[1, 1, 2, 3]);
        Self {
            guards: (0..guards).map(|at| Guard::draw(draw, at, mode)).collect(),
            mode,
            denies: draw.once_in(2),
        }
    }

    pub(crate) fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// Of one breaker.
    pub(crate) fn of(guard: Guard, denies: bool) -> Self {
        Self {
            guards: vec![guard],
            mode: Mode::Enforce,
            denies,
        }
    }

    pub(crate) fn json(&self) -> String {
        let guards: Vec<String> = self.guards.iter().map(Guard::json).collect();
        format!(
            r#"{{"mode":"{}","on_error":"{}","status":{{"path":"/status"}},"breakers":[{}]}}"#,
            self.mode.name(),
            if self.denies { "deny" } else { "allow" },
            guards.join(",")
        )
    }
}
