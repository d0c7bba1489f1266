//! Changes to a request's or a response's headers.

use std::borrow::Cow;

use crate::Headers;

/// One change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit<'a> {
    /// The header has exactly this value; whatever was there is gone.
    Set {
        /// Its name, in lower case.
        name: Cow<'a, str>,
        /// Its value.
        value: Cow<'a, [u8]>,
    },
    /// Nothing passes under this name. Where a gateway can't remove a header, it passes empty.
    Clear {
        /// The name as it was sent.
        name: Cow<'a, str>,
    },
}

impl<'a> HeaderEdit<'a> {
    /// The header that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Clear { name } => name,
        }
    }

    fn into_owned(self) -> HeaderEdit<'static> {
        match self {
            Self::Set { name, value } => HeaderEdit::Set {
                name: name.into_owned().into(),
                value: value.into_owned().into(),
            },
            Self::Clear { name } => HeaderEdit::Clear {
                name: name.into_owned().into(),
            },
        }
    }

    fn set(name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Set {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// A change of a body: other bytes in place of some, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The first byte that goes.
    pub start: u64,
    /// The first one behind these that stays: `start` where none goes.
    pub end: u64,
    /// What comes there.
    pub with: Vec<u8>,
}

impl Splice {
    /// The begin of a body as it becomes, and how many of its bytes that stands for; those behind them stay. `body`: as many of
    /// its bytes as the splices are about, or more. `None` where they are not in order, or about more than that.
    #[must_use]
    pub fn apply(splices: &[Self], body: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut begin = Vec::new();
        let mut done = 0;
        for splice in splices {
            let start = usize::try_from(splice.start).ok()?;
            let end = usize::try_from(splice.end).ok()?;
            begin.extend_from_slice(body.get(done..start)?);
            begin.extend_from_slice(&splice.with);
            body.get(start..end)?;
            done = end;
        }
        Some((begin, done))
    }
}

/// Changes to a request, in the order in which they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestEdits<'a> {
    headers: Vec<HeaderEdit<'a>>,
    /// What few requests have.
    more: Option<Box<More<'a>>>,
}

/// Changes of a request that are none of its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More<'a> {
    target: Option<Vec<u8>>,
    metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    most_body: Option<u64>,
    body: Vec<Splice>,
}

impl<'a> RequestEdits<'a> {
    /// No change.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            headers: Vec::new(),
            more: None,
        }
    }

    fn more(&mut self) -> &mut More<'a> {
        self.more.get_or_insert_default()
    }

    /// Lets the gateway's log and other filters read this, where the gateway takes it. Nothing passes on with the request.
    pub fn tell(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.more().metadata.push((name.into(), value.into()));
    }

    /// What the gateway's log and other filters may read.
    #[must_use]
    pub fn metadata(&self) -> &[(Cow<'a, str>, Cow<'a, str>)] {
        self.more.as_ref().map_or(&[], |more| &more.metadata)
    }

    /// Lets no more than so many bytes of its body pass: who sends more is answered with 413.
    pub fn limit_body(&mut self, most: u64) {
        let known = &mut self.more().most_body;
        *known = Some(known.map_or(most, |known| known.min(most)));
    }

    /// How many bytes of its body may pass, where that is limited.
    #[must_use]
    pub fn most_body(&self) -> Option<u64> {
        self.more.as_ref()?.most_body
    }

    /// Changes its body, which was [read](crate::Verdict::Read): in order, and none within another.
    pub fn splice_body(&mut self, splices: Vec<Splice>) {
        self.more().body = splices;
    }

    /// The changes of its body, in order.
    #[must_use]
    pub fn body(&self) -> &[Splice] {
        self.more.as_ref().map_or(&[], |more| &more.body)
    }

    /// The same changes, of which nothing is anybody else's.
    #[must_use]
    pub fn into_owned(self) -> RequestEdits<'static> {
        let more = self.more.map(|more| {
            let metadata = more.metadata.into_iter();
            Box::new(More {
                target: more.target,
                metadata: metadata
                    .map(|(name, value)| (name.into_owned().into(), value.into_owned().into()))
                    .collect(),
                most_body: more.most_body,
                body: more.body,
            })
        });
        let headers = self.headers.into_iter();
        RequestEdits {
            headers: headers.map(HeaderEdit::into_owned).collect(),
            more,
        }
    }

    /// Sets a header.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.headers.push(HeaderEdit::set(name, value));
    }

    /// Lets nothing pass under a name.
    pub fn clear(&mut self, name: impl Into<Cow<'a, str>>) {
        self.headers.push(HeaderEdit::Clear { name: name.into() });
    }

    /// Asks the upstream for another path and query. A gateway that can't do that fails to carry the changes out.
    pub fn set_target(&mut self, target: Vec<u8>) {
        self.more().target = Some(target);
    }

    /// Appends the changes of another.
    pub fn extend(&mut self, other: Self) {
        if self.headers.is_empty() {
            self.headers = other.headers;
        } else {
            self.headers.extend(other.headers);
        }
        let Some(other) = other.more else {
            return;
        };
        let Some(more) = &mut self.more else {
            self.more = Some(other);
            return;
        };
        more.target = other.target.or(more.target.take());
        more.metadata.extend(other.metadata);
        more.body.extend(other.body);
        if let Some(most) = other.most_body {
            self.limit_body(most);
        }
    }

    /// The changes of headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[HeaderEdit<'a>] {
        &self.headers
    }

    /// The path and query that the upstream is asked for, where it is another one.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.more.as_ref()?.target.as_deref()
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.target().is_none()
    }
}

/// Changes to a response, in the order in which they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseEdits<'a>(Vec<HeaderEdit<'a>>);

impl<'a> ResponseEdits<'a> {
    /// No change.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// No change yet, and room for so many.
    #[must_use]
    pub fn with_capacity(changes: usize) -> Self {
        Self(Vec::with_capacity(changes))
    }

    /// Sets a header.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, [u8]>>) {
        self.0.push(HeaderEdit::set(name, value));
    }

    /// Lets nothing pass under a name.
    pub fn clear(&mut self, name: impl Into<Cow<'a, str>>) {
        self.0.push(HeaderEdit::Clear { name: name.into() });
    }

    /// Appends the changes of another.
    pub fn extend(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
        } else {
            self.0.extend(other.0);
        }
    }

    /// The changes of headers, in order.
    #[must_use]
    pub fn headers(&self) -> &[HeaderEdit<'a>] {
        &self.0
    }
}

/// Clears every header that a backend could fold into `ours` but that setting `ours` would not
/// overwrite. Returns how many lines the client sent under any spelling.
pub fn clear_spellings<'a>(
    headers: &'a Headers,
    ours: &str,
    edits: &mut RequestEdits<'a>,
) -> usize {
    let mut sent = 0_usize;
    for (name, _) in headers.spelled_like(ours) {
        sent = sent.saturating_add(1);
        if !name.eq_ignore_ascii_case(ours.as_bytes())
            && let Ok(name) = std::str::from_utf8(name)
        {
            edits.clear(name);
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spelling_that_a_backend_folds_is_cleared_and_the_exact_one_is_left_to_be_overwritten() {
        let headers = Headers::from_pairs([
            ("X-Service-Token", "forged"),
            ("x_service-token", "forged"),
            ("x-service-tokens", "other"),
            ("X.Service~Token", "forged"),
        ]);
        let mut edits = RequestEdits::none();
        assert_eq!(clear_spellings(&headers, "x-service-token", &mut edits), 3);
        let clear = |name| HeaderEdit::Clear {
            name: Cow::Borrowed(name),
        };
        assert_eq!(
            edits.headers(),
            [clear("x_service-token"), clear("X.Service~Token")]
        );
    }
}
