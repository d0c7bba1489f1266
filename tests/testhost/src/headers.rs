//! A header map as each gateway keeps it, and its form in the module's memory.

use crate::Dialect;

/// Kong hands a filter no more pairs than this, pseudo-headers first; the rest is cut off with a warning in the log.
const KONG_MAX_PAIRS: usize = 100;

/// Of more headers than this, pseudo-headers aside, Kong's list of all pairs [does not fit](Headers::overruns).
const KONG_MOST_HELD: u32 = 97;

/// Names for which Envoy has one slot each: a second value is joined to the first with a comma.
const ENVOY_SINGLE: &[&str] = &[
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "content-type",
    "origin",
    "referer",
    "te",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

/// A header map. Envoy's names are lower case; Kong's are as the client wrote them and compared without case.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    dialect: Dialect,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    value: Vec<u8>,
    /// Removed on Kong: the filter sees it no more, yet it is still there for whoever reads nginx's own list.
    hidden: bool,
}

impl Headers {
    pub(crate) fn new(dialect: Dialect) -> Headers {
        Headers {
            dialect,
            entries: Vec::new(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.visible(name)
            .map(|entry| entry.value.as_slice())
            .next()
    }

    /// Envoy replaces every value of the name; Kong the first, and leaves the others.
    pub(crate) fn replace(&mut self, name: &str, value: &[u8]) {
        let name = self.canonical(name);
        let first = self.entries.iter_mut().find(|entry| entry.is(&name));
        match first {
            Some(first) => first.value = value.to_vec(),
            None => self.push(name.clone(), value),
        }
        if self.dialect == Dialect::Envoy {
            let mut seen = false;
            self.entries
                .retain(|entry| !entry.is(&name) || !std::mem::replace(&mut seen, true));
        }
    }

    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        let name = self.canonical(name);
        let joins = self.dialect == Dialect::Envoy && ENVOY_SINGLE.contains(&name.as_str());
        match self
            .entries
            .iter_mut()
            .find(|entry| joins && entry.is(&name))
        {
            Some(first) => {
                first.value.push(b',');
                first.value.extend_from_slice(value);
            }
            None => self.push(name, value),
        }
    }

    /// Envoy removes; Kong only hides.
    pub(crate) fn remove(&mut self, name: &str) {
        let name = self.canonical(name);
        match self.dialect {
            Dialect::Envoy => self.entries.retain(|entry| !entry.is(&name)),
            Dialect::Kong => {
                for entry in self.entries.iter_mut().filter(|entry| entry.is(&name)) {
                    entry.hidden = true;
                }
            }
        }
    }

    /// Kong clears what is no pseudo-header, by hiding it; Envoy clears everything.
    pub(crate) fn clear(&mut self) {
        match self.dialect {
            Dialect::Envoy => self.entries.clear(),
            Dialect::Kong => {
                for entry in self.entries.iter_mut().filter(|entry| !entry.is_pseudo()) {
                    entry.hidden = true;
                }
            }
        }
    }

    /// The number that the callback is told: Kong leaves pseudo-headers out of it.
    pub(crate) fn count(&self) -> u32 {
        let kong = self.dialect == Dialect::Kong;
        let entries = self
            .entries
            .iter()
            .filter(|entry| !(entry.hidden || kong && entry.is_pseudo()));
        u32::try_from(entries.count()).unwrap_or(u32::MAX)
    }

    /// Whether Kong writes all pairs past the end of the memory that it has asked for: its size leaves out three of the
    /// pseudo-headers, what it copies does not.
    pub(crate) fn overruns(&self) -> bool {
        self.dialect == Dialect::Kong && self.count() > KONG_MOST_HELD
    }

    /// What the filter is given when it asks for all pairs, and whether that was cut short.
    pub(crate) fn pairs(&self) -> (Vec<(&str, &[u8])>, bool) {
        let mut pairs: Vec<(&str, &[u8])> = self
            .entries
            .iter()
            .filter(|entry| !entry.hidden)
            .map(|entry| (entry.name.as_str(), entry.value.as_slice()))
            .collect();
        let cut = self.dialect == Dialect::Kong && pairs.len() > KONG_MAX_PAIRS;
        if cut {
            pairs.truncate(KONG_MAX_PAIRS);
        }
        (pairs, cut)
    }

    /// What the upstream receives: on Kong removed headers too.
    pub(crate) fn sent_upstream(&self) -> Vec<(String, Vec<u8>)> {
        self.entries.iter().map(Entry::pair).collect()
    }

    /// What the client receives. Removing a response header works on both.
    pub(crate) fn sent_downstream(&self) -> Vec<(String, Vec<u8>)> {
        let sent = self
            .entries
            .iter()
            .filter(|entry| !entry.hidden && !entry.is_pseudo());
        sent.map(Entry::pair).collect()
    }

    fn visible(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let name = self.canonical(name);
        self.entries.iter().filter(move |entry| entry.is(&name))
    }

    fn push(&mut self, name: String, value: &[u8]) {
        self.entries.push(Entry {
            name,
            value: value.to_vec(),
            hidden: false,
        });
    }

    /// Envoy keeps names in lower case and knows `host` as `:authority`.
    fn canonical(&self, name: &str) -> String {
        match self.dialect {
            Dialect::Kong => name.to_owned(),
            Dialect::Envoy if name.eq_ignore_ascii_case("host") => ":authority".to_owned(),
            Dialect::Envoy => name.to_ascii_lowercase(),
        }
    }
}

impl Entry {
    fn is(&self, name: &str) -> bool {
        !self.hidden && self.name.eq_ignore_ascii_case(name)
    }

    fn is_pseudo(&self) -> bool {
        self.name.starts_with(':')
    }

    fn pair(&self) -> (String, Vec<u8>) {
        (self.name.clone(), self.value.clone())
    }
}

/// What a pair takes up in the ABI's form of a map.
pub(crate) const fn encoded_length(name: &str, value: &[u8]) -> usize {
    name.len() + value.len() + 10
}

/// The ABI's form of a map: count, then the lengths of each name and value, then both with a zero byte after each.
pub(crate) fn encode(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = length(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend_from_slice(&length(name.len()));
        bytes.extend_from_slice(&length(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    bytes
}

/// Reads the ABI's form of a map; `None` if lengths and bytes disagree. No bytes at all are an empty map.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut at = 0;
    let count = number(bytes, &mut at)?;
    let mut lengths = Vec::new();
    for _ in 0..count {
        lengths.push((number(bytes, &mut at)?, number(bytes, &mut at)?));
    }
    let mut pairs = Vec::new();
    for (name, value) in lengths {
        let name = text(bytes, &mut at, name)?;
        let value = text(bytes, &mut at, value)?;
        pairs.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    Some(pairs)
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn number(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let end = at.checked_add(4)?;
    let number = bytes
        .get(*at..end)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)?;
    *at = end;
    usize::try_from(number).ok()
}

fn text<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(length)?;
    let text = bytes.get(*at..end)?;
    (bytes.get(end) == Some(&0)).then_some(())?;
    *at = end.checked_add(1)?;
    Some(text)
}

#[cfg(test)]
mod tests;
