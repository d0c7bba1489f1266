//! What is to come of requests.

use super::fields::{At, Wrong};
use crate::document::Place;
use crate::mask::Mask;
use crate::tell::{outcomes, who};
use crate::trial::record::{Header, Record};

/// What is to come of a step's requests. Of the last of them but for `statuses`, which is about all.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The answer's status.
    pub status: Option<At<u16>>,
    /// How many answers have which status.
    pub statuses: Vec<At<(u16, usize)>>,
    /// Who answers: `backend`, or such as `rate_limit{per_ip}`.
    pub from: Option<At<String>>,
    /// Headers of the answer: what they hold, `true` if it does not matter, or nothing where there are none.
    pub headers: Vec<At<(String, Option<String>)>>,
    /// What the answer's body has in it.
    pub body: Option<At<String>>,
    /// Headers that the backend gets, likewise.
    pub backend: Vec<At<(String, Option<String>)>>,
    /// The path and query that the backend gets.
    pub target: Option<At<String>>,
}

impl Expected {
    /// Whether nothing is expected.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let Self {
            status,
            statuses,
            from,
            headers,
            body,
            backend,
            target,
        } = self;
        let of_lists = statuses.is_empty() && headers.is_empty() && backend.is_empty();
        let of_texts = from.is_none() && body.is_none() && target.is_none();
        status.is_none() && of_lists && of_texts
    }

    /// What has come otherwise. `place`: of the step.
    pub(super) fn check(&self, records: &[Record], place: Place, mask: &Mask) -> Vec<Wrong> {
        let Some(last) = records.last() else {
            let message = "no request was sent".to_owned();
            return vec![Wrong { place, message }];
        };
        let answer = &last.answer;
        let from = who(answer);
        let mut wrong = Vec::new();
        let mut is = |place: Place, as_it_is_to_be: bool, message: String| {
            if !as_it_is_to_be {
                wrong.push(Wrong { place, message });
            }
        };
        if let Some(At { place, value }) = &self.status {
            let found = answer.status;
            let message = format!("status: expected {value}, found {found} from {from}");
            is(*place, *value == found, message);
        }
        if !self.statuses.is_empty() {
            self.check_statuses(records, &mut is);
        }
        if let Some(At { place, value }) = &self.from {
            let message = format!("from: expected {value}, found {from}");
            is(*place, value == from, message);
        }
        for line in &self.headers {
            if let Err(message) = check_header(line, &answer.headers, mask) {
                is(line.place, false, format!("headers.{message}"));
            }
        }
        if let Some(At { place, value }) = &self.body {
            let found = mask.text(&answer.body);
            let message = format!("body: expected {value:?} in it, found {found:?}");
            is(*place, answer.body.contains(value.as_str()), message);
        }
        match &last.backend {
            Some(backend) => {
                for line in &self.backend {
                    if let Err(message) = check_header(line, &backend.headers, mask) {
                        is(line.place, false, format!("backend.{message}"));
                    }
                }
                if let Some(At { place, value }) = &self.target {
                    let found = mask.text(&backend.target);
                    let message = format!("target: expected {value}, found {found}");
                    is(*place, *value == backend.target, message);
                }
            }
            None => {
                let of_headers = self.backend.first().map(|line| line.place);
                let of_target = self.target.as_ref().map(|target| target.place);
                if let Some(place) = of_headers.or(of_target) {
                    let message = format!("the backend gets nothing: {from} answers");
                    is(place, false, message);
                }
            }
        }
        wrong
    }

    fn check_statuses(&self, records: &[Record], is: &mut impl FnMut(Place, bool, String)) {
        let found = |status: u16| {
            let outcomes = outcomes(records).into_iter();
            let of_it = outcomes.filter(|outcome| outcome.status == status);
            of_it.fold(0_usize, |sum, outcome| sum.saturating_add(outcome.count))
        };
        for At {
            place,
            value: (status, expected),
        } in &self.statuses
        {
            let found = found(*status);
            let message = format!("statuses.{status}: expected {expected} of them, found {found}");
            is(*place, found == *expected, message);
        }
        let is_listed = |status: u16| {
            let mut listed = self.statuses.iter();
            listed.any(|known| known.value.0 == status)
        };
        let place = self
            .statuses
            .first()
            .map_or_else(Place::default, |first| first.place);
        for outcome in outcomes(records) {
            let (status, count) = (outcome.status, outcome.count);
            let message = format!("statuses: expected no {status}, found {count} of them");
            is(place, is_listed(status), message);
        }
    }
}

fn check_header(
    line: &At<(String, Option<String>)>,
    headers: &[Header],
    mask: &Mask,
) -> Result<(), String> {
    let (name, expected) = &line.value;
    let name = name.to_ascii_lowercase();
    let found = headers.iter().find(|header| header.name == name);
    let shown = |header: &Header| mask.header(&name, &header.value);
    match (expected.as_deref(), found) {
        (None, None) | (Some("true"), Some(_)) => Ok(()),
        (Some(value), Some(header)) if header.value == value => Ok(()),
        (None, Some(header)) => Err(format!("{name}: expected none, found {}", shown(header))),
        (Some("true"), None) => Err(format!("{name}: expected one, found none")),
        (Some(value), None) => Err(format!("{name}: expected {value}, found none")),
        (Some(value), Some(header)) => {
            Err(format!("{name}: expected {value}, found {}", shown(header)))
        }
    }
}
