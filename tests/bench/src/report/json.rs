//! All figures, for other programs.

use serde_json::{Value, json};

use super::Report;
use super::row::rows;
use crate::run::Measured;
use crate::stats::Estimate;

impl Report {
    /// All figures and all samples.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let native = self.native.iter().map(|figure| {
            let value = json!({
                "price": rounded(figure.price),
                "spread": rounded(figure.spread),
                "whole": rounded(figure.whole),
                "rounds": figure.rounds,
            });
            (figure.name.clone(), value)
        });
        let parts = self
            .parts
            .iter()
            .map(|measured| (measured.part.name.to_owned(), part(measured)));
        json!({
            "unit": "microseconds of CPU time for each request",
            "date": self.run.date,
            "envoy": self.run.envoy,
            "processor": self.run.processor,
            "cores": self.run.cores,
            "starts": self.run.plan.starts,
            "rounds": self.run.plan.rounds,
            "slice_ms": u64::try_from(self.run.plan.slice.as_millis()).unwrap_or(u64::MAX),
            "seconds": self.run.took.as_secs(),
            "parts": parts.collect::<serde_json::Map<_, _>>(),
            "native": native.collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn part(measured: &Measured) -> Value {
    let rows = rows(measured).into_iter().map(|row| {
        let times = row
            .times
            .iter()
            .map(|(other, times)| ((*other).to_owned(), value(*times)));
        let figures = json!({
            "whole": value(row.whole),
            "added": row.added.map(value),
            "added_to": row.subject.base,
            "times": times.collect::<serde_json::Map<_, _>>(),
        });
        (row.subject.name.clone(), figures)
    });
    let samples = measured
        .part
        .subjects
        .iter()
        .zip(&measured.samples)
        .map(|(subject, samples)| {
            let starts: Vec<Vec<f64>> = (samples.iter())
                .map(|rounds| rounds.iter().copied().map(rounded).collect())
                .collect();
            (subject.name.clone(), json!(starts))
        });
    json!({
        "figures": rows.collect::<serde_json::Map<_, _>>(),
        "samples": samples.collect::<serde_json::Map<_, _>>(),
    })
}

fn value(estimate: Estimate) -> Value {
    json!({
        "value": rounded(estimate.value),
        "low": rounded(estimate.low),
        "high": rounded(estimate.high),
    })
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
