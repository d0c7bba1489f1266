//! What came of it, in a few lines; the report has the rest.

use std::fmt;

use goose::metrics::{GooseMetrics, GooseRequestMetricAggregate};

/// A run's figures.
pub(crate) struct Summary<'a>(pub(crate) &'a GooseMetrics);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut requests: Vec<_> = self.0.requests.values().collect();
        requests.sort_by(|a, b| a.path.cmp(&b.path));
        let heads = ["", "requests", "median", "P95", "failed", "of them 429"];
        line(f, heads.map(str::to_owned))?;
        for request in requests {
            let time = |share| milliseconds(request.raw_data.percentile_us(share));
            line(
                f,
                [
                    request.path.clone(),
                    (request.success_count + request.fail_count).to_string(),
                    time(0.5),
                    time(0.95),
                    request.fail_count.to_string(),
                    limited(request).to_string(),
                ],
            )?;
        }
        for threshold in &self.0.thresholds {
            let verdict = if threshold.passed { "holds" } else { "FAILS" };
            writeln!(f, "{} {verdict}: {}", threshold.rule, threshold.observed)?;
        }
        Ok(())
    }
}

/// A limit's refusals are failures to a user, but none of the gateway.
fn limited(request: &GooseRequestMetricAggregate) -> usize {
    let counts = &request.status_code_counts;
    counts.get(&429).copied().unwrap_or_default()
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1_000, microseconds % 1_000 / 100)
}

fn line(f: &mut fmt::Formatter<'_>, cells: [String; 6]) -> fmt::Result {
    let [name, requests, median, p95, failed, limited] = cells;
    writeln!(
        f,
        "{name:<20} {requests:>9} {median:>10} {p95:>10} {failed:>7} {limited:>12}"
    )
}
