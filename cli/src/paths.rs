//! Paths that a route, or a `match`, is for.

/// Paths, in lower case: to the letter is not needed to tell that two have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// This one.
    One(String),
    /// All that begin so.
    Begin(String),
    /// This one, and all below it.
    Below(String),
    /// As many segments, each of them this one or any.
    Segments(Vec<Option<String>>),
}

impl Paths {
    /// A path and all below it; `/` is all paths.
    pub(crate) fn below(path: &str) -> Self {
        match path.trim_end_matches('/') {
            "" => Self::Begin(String::new()),
            path => Self::Below(path.to_ascii_lowercase()),
        }
    }

    /// `/a/{name}/b`
    pub(crate) fn template(path: &str) -> Self {
        let segment = |part: &str| (!part.contains('{')).then(|| part.to_owned());
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        Self::Segments(path.split('/').map(segment).collect())
    }

    /// What all paths begin with that match a regular expression.
    pub(crate) fn of_regex(regex: &str) -> Self {
        Self::Begin(literal_begin(regex).to_ascii_lowercase())
    }

    /// Whether some path is one of both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> bool {
        // What is written in another way may be the same path.
        if self.has_percent() || other.has_percent() {
            return true;
        }
        match (self, other) {
            (Self::One(one), Self::One(other)) => one == other,
            (Self::One(one), Self::Begin(begin)) | (Self::Begin(begin), Self::One(one)) => {
                one.starts_with(begin.as_str())
            }
            (Self::One(one), Self::Below(top)) | (Self::Below(top), Self::One(one)) => {
                is_below(one, top)
            }
            (Self::Begin(one), Self::Begin(other)) => {
                one.starts_with(other.as_str()) || other.starts_with(one.as_str())
            }
            (Self::Begin(begin), Self::Below(top)) | (Self::Below(top), Self::Begin(begin)) => {
                top.starts_with(begin.as_str()) || is_below(begin, top)
            }
            (Self::Below(one), Self::Below(other)) => is_below(one, other) || is_below(other, one),
            (Self::Segments(segments), other) | (other, Self::Segments(segments)) => {
                segments_meet(segments, other)
            }
        }
    }

    fn has_percent(&self) -> bool {
        match self {
            Self::One(path) | Self::Begin(path) | Self::Below(path) => path.contains('%'),
            Self::Segments(segments) => segments
                .iter()
                .flatten()
                .any(|segment| segment.contains('%')),
        }
    }
}

fn is_below(path: &str, top: &str) -> bool {
    let rest = path.strip_prefix(top);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn segments_meet(segments: &[Option<String>], other: &Paths) -> bool {
    let same = |segment: &Option<String>, part: &str| {
        segment.as_ref().is_none_or(|segment| segment == part)
    };
    let parts = |path: &str| -> Vec<String> {
        let path = path.strip_prefix('/').unwrap_or(path);
        path.split('/').map(str::to_owned).collect()
    };
    match other {
        Paths::One(path) => {
            let parts = parts(path.strip_suffix('/').unwrap_or(path));
            parts.len() == segments.len()
                && segments
                    .iter()
                    .zip(&parts)
                    .all(|(one, part)| same(one, part))
        }
        Paths::Below(top) => {
            let parts = parts(top);
            parts.len() <= segments.len()
                && segments
                    .iter()
                    .zip(&parts)
                    .all(|(one, part)| same(one, part))
        }
        Paths::Begin(begin) => {
            let mut parts = parts(begin);
            let last = parts.pop().unwrap_or_default();
            let whole = segments
                .iter()
                .zip(&parts)
                .all(|(one, part)| same(one, part));
            let next = segments.get(parts.len());
            let fits = match next {
                Some(Some(segment)) => segment.starts_with(&last),
                Some(None) => true,
                // What follows the last one may be a slash.
                None => last.is_empty() && parts.len() == segments.len(),
            };
            whole && fits
        }
        Paths::Segments(others) => {
            let mut pairs = segments.iter().zip(others);
            segments.len() == others.len()
                && pairs.all(|(one, other)| match (one, other) {
                    (Some(one), Some(other)) => one == other,
                    _ => true,
                })
        }
    }
}

/// The letters that a regular expression begins with.
fn literal_begin(regex: &str) -> String {
    let mut depth = 0_usize;
    let mut letters = regex.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            // One of several: what all of them begin with is not looked for.
            '|' if depth == 0 => return String::new(),
            _ => {}
        }
    }
    let mut begin = String::new();
    let mut letters = regex.strip_prefix('^').unwrap_or(regex).chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped) if !escaped.is_alphanumeric() => begin.push(escaped),
                _ => break,
            },
            '?' | '*' | '{' => {
                // The letter before it may be missing.
                let _optional = begin.pop();
                break;
            }
            '.' | '[' | '(' | ')' | '^' | '$' | '|' | '+' => break,
            letter => begin.push(letter),
        }
    }
    begin
}
