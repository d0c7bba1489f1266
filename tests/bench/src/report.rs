//! What is shown and what is kept.

use std::fmt;

use portcullis_issuer::ALGORITHMS;
use serde_json::{Map, Value, json};

use crate::credentials::CREDENTIALS;
use crate::envoy::{ENVOYS, envoys_name};
use crate::measure::Figure;
use crate::native::{JWT_COMPACT, jwt_compact_name};

/// All that was measured in one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether it was a short one.
    pub quick: bool,
    /// On this machine.
    pub native: Vec<Figure>,
    /// In a real Envoy, if there was one.
    pub envoy: Option<InEnvoy>,
}

/// What was measured in a real Envoy.
#[derive(Clone, Debug)]
pub struct InEnvoy {
    /// Its version.
    pub version: String,
    /// The filter's size.
    pub filter_bytes: u64,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Report {
    /// All figures, for other programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let in_envoy = self.envoy.as_ref().map(|envoy| {
            json!({
                "version": envoy.version,
                "filter_bytes": envoy.filter_bytes,
                "rounds": rounds(&envoy.figures),
                "figures": figures(&envoy.figures),
                "times_jwt_authn": ratios(&ENVOYS, |algorithm| {
                    Some(self.in_envoy(algorithm)?.price / self.in_envoy(&envoys_name(algorithm))?.price)
                }),
            })
        });
        json!({
            "unit": "microseconds of CPU time",
            "quick": self.quick,
            "native": {
                "rounds": rounds(&self.native),
                "figures": figures(&self.native),
                "times_jwt_compact": ratios(&JWT_COMPACT, |algorithm| {
                    Some(self.native(algorithm)?.price / self.native(&jwt_compact_name(algorithm))?.price)
                }),
            },
            "envoy": in_envoy,
        })
    }

    fn native(&self, name: &str) -> Option<&Figure> {
        self.native.iter().find(|figure| figure.name == name)
    }

    fn in_envoy(&self, name: &str) -> Option<&Figure> {
        let figures = &self.envoy.as_ref()?.figures;
        figures.iter().find(|figure| figure.name == name)
    }

    /// A line with both figures of ours, and how they compare.
    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str, shown: &str) -> fmt::Result {
        let (native, in_envoy) = (self.native(name), self.in_envoy(name));
        let times = native
            .zip(in_envoy)
            .map(|(native, envoy)| envoy.price / native.price);
        writeln!(
            f,
            "{shown:<24}{}{}{}",
            cell(native),
            cell(in_envoy),
            factor(times)
        )
    }

    /// A line with somebody else's figure, and how ours compares with it.
    fn other(
        f: &mut fmt::Formatter<'_>,
        theirs: Option<&Figure>,
        ours: Option<&Figure>,
    ) -> fmt::Result {
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            return Ok(());
        };
        let times = Some(ours.price / theirs.price);
        writeln!(
            f,
            "{:<24}{}{}{}",
            theirs.name,
            cell(Some(theirs)),
            cell(Some(ours)),
            factor(times)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "µs of CPU time a request, median ± median deviation of the rounds\n"
        )?;
        writeln!(
            f,
            "{:<24}{:>18}{:>18}",
            "verified, not cached", "native", "V8 in Envoy"
        )?;
        for algorithm in ALGORITHMS {
            self.line(f, algorithm, algorithm)?;
        }
        writeln!(f)?;
        self.line(f, "cached", "cached (RS256)")?;
        self.line(f, "expired", "expired, refused (RS256)")?;
        writeln!(f, "\na credential written")?;
        for (name, _) in CREDENTIALS {
            self.line(f, name, name)?;
        }
        writeln!(f, "\n{:<24}{:>18}{:>18}", "native", "theirs", "ours")?;
        for algorithm in JWT_COMPACT {
            let theirs = self.native(&jwt_compact_name(algorithm));
            Self::other(f, theirs, self.native(algorithm))?;
        }
        let Some(envoy) = &self.envoy else {
            return writeln!(f, "\nnative: {} rounds", rounds(&self.native));
        };
        writeln!(f, "\n{:<24}{:>18}{:>18}", "in Envoy", "theirs", "ours")?;
        for algorithm in ENVOYS {
            Self::other(
                f,
                self.in_envoy(&envoys_name(algorithm)),
                self.in_envoy(algorithm),
            )?;
        }
        writeln!(
            f,
            "\nnative: {} rounds; Envoy {}: {} rounds; jwt_auth.wasm: {} KB",
            rounds(&self.native),
            envoy.version,
            rounds(&envoy.figures),
            envoy.filter_bytes.div_ceil(1024)
        )
    }
}

fn cell(figure: Option<&Figure>) -> String {
    let Some(Figure { price, spread, .. }) = figure else {
        return format!("{:>18}", "");
    };
    format!("{price:>10.2} ±{spread:>6.2}")
}

fn factor(times: Option<f64>) -> String {
    times.map_or_else(String::new, |times| format!("{times:>9.2}×"))
}

fn rounds(figures: &[Figure]) -> usize {
    figures
        .iter()
        .map(|figure| figure.rounds)
        .min()
        .unwrap_or(0)
}

fn figures(figures: &[Figure]) -> Value {
    let figures = figures.iter().map(|figure| {
        let value = json!({
            "price": rounded(figure.price),
            "spread": rounded(figure.spread),
            "whole_request": rounded(figure.whole),
        });
        (figure.name.clone(), value)
    });
    Value::Object(figures.collect())
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn ratios(algorithms: &[&str], ratio: impl Fn(&str) -> Option<f64>) -> Map<String, Value> {
    let ratios = algorithms.iter();
    let ratios = ratios
        .filter_map(|algorithm| Some(((*algorithm).to_owned(), json!(rounded(ratio(algorithm)?)))));
    ratios.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(name: &str, price: f64) -> Figure {
        Figure {
            name: name.to_owned(),
            price,
            spread: 0.5,
            whole: price + 1.0,
            rounds: 7,
        }
    }

    fn report() -> Report {
        Report {
            quick: true,
            native: vec![figure("RS256", 40.0), figure("RS256 by jwt-compact", 160.0)],
            envoy: Some(InEnvoy {
                version: "1.40.0".to_owned(),
                filter_bytes: 2048,
                figures: vec![figure("RS256", 180.0), figure("RS256 by jwt_authn", 20.0)],
            }),
        }
    }

    #[test]
    fn the_table_compares() {
        let shown = report().to_string();
        for line in [
            "RS256                        40.00 ±  0.50    180.00 ±  0.50     4.50×",
            "RS256 by jwt-compact        160.00 ±  0.50     40.00 ±  0.50     0.25×",
            "RS256 by jwt_authn           20.00 ±  0.50    180.00 ±  0.50     9.00×",
            "native: 7 rounds; Envoy 1.40.0: 7 rounds; jwt_auth.wasm: 2 KB",
        ] {
            assert!(shown.contains(line), "{line}\n{shown}");
        }
    }

    #[test]
    fn the_file_holds_the_same() {
        let json = report().to_json();
        assert_eq!(json["native"]["figures"]["RS256"]["price"], 40.0);
        assert_eq!(json["native"]["times_jwt_compact"]["RS256"], 0.25);
        assert_eq!(json["envoy"]["times_jwt_authn"]["RS256"], 9.0);
        assert_eq!(json["envoy"]["rounds"], 7);
        let alone = Report {
            envoy: None,
            ..report()
        };
        assert_eq!(alone.to_json()["envoy"], Value::Null);
        assert!(alone.to_string().ends_with("native: 7 rounds\n"));
    }
}
