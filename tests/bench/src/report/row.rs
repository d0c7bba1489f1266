//! The rows of a part: what each subject costs, what it adds, and how that compares.

use crate::parts::Subject;
use crate::run::Measured;
use crate::stats::{Estimate, Series, cost, estimate};

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) subject: &'a Subject,
    /// What it costs, in microseconds.
    pub(super) whole: Estimate,
    /// What it adds to its base, if it has one.
    pub(super) added: Option<Estimate>,
    /// How many times what each of the others adds.
    pub(super) times: Vec<(&'a str, Estimate)>,
}

/// The rows that are shown.
pub(super) fn rows(measured: &Measured) -> Vec<Row<'_>> {
    let shown = measured
        .part
        .subjects
        .iter()
        .filter(|subject| subject.shown.is_some());
    shown.filter_map(|subject| row(measured, subject)).collect()
}

fn row<'a>(measured: &'a Measured, subject: &'a Subject) -> Option<Row<'a>> {
    let (own, base) = (find(measured, &subject.name)?, base(measured, subject));
    let added = base.map(|base| estimate(&[own, base], |costs| costs[0] - costs[1]));
    let times = subject.against.iter().filter_map(|other| {
        let theirs = measured
            .part
            .subjects
            .iter()
            .find(|known| known.name == *other)?;
        let series = [
            own,
            base?,
            find(measured, other)?,
            self::base(measured, theirs)?,
        ];
        let times = estimate(&series, |costs| {
            (costs[0] - costs[1]) / (costs[2] - costs[3])
        });
        // What the other adds must be more than nothing in any run.
        let adds = estimate(&series[2..], |costs| costs[0] - costs[1]);
        (adds.low > 0.0).then_some((&**other, times))
    });
    Some(Row {
        subject,
        whole: estimate(&[own], |costs| costs[0]),
        added,
        times: times.collect(),
    })
}

fn base<'a>(measured: &'a Measured, subject: &Subject) -> Option<Series<'a>> {
    find(measured, subject.base.as_ref()?)
}

fn find<'a>(measured: &'a Measured, name: &str) -> Option<Series<'a>> {
    let mut all = measured.part.subjects.iter().zip(&measured.samples);
    let (_, samples) = all.find(|(subject, _)| subject.name == name)?;
    cost(samples).is_finite().then_some(Series { samples })
}
