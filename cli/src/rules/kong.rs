//! What Kong is started with, in whichever of the files that stands.

use std::collections::BTreeMap;

use super::trust::{is_too_wide, trusted};
use super::{is_at_work, is_off, items};
use crate::configured::{Configured, Variable};
use crate::document::Node;
use crate::finding::{Code, Finding};
use crate::settings::{OLDEST, Setting, Settings, WITHOUT_WASM};

/// The zone that holds what the filters share.
const ZONE: &str = "nginx_wasm_shm_kv_portcullis";
/// The zone of all keys that have none of their own.
const ANY_ZONE: &str = "nginx_wasm_shm_kv";

/// What a breaker takes of a zone, or a slot of a limit, in bytes.
const PIECE: u64 = 512;

/// All that is known of how Kong is started, and of the filters in it.
pub(crate) struct Kong<'a> {
    files: Vec<&'a Settings>,
    /// Those of each file.
    filters: Vec<Vec<&'a Configured>>,
}

impl<'a> Kong<'a> {
    /// `files`: what each file says of it; `filters`: those of each file that are Kong's.
    pub(crate) const fn new(files: Vec<&'a Settings>, filters: Vec<Vec<&'a Configured>>) -> Self {
        Self { files, filters }
    }

    /// The variables that nginx shows its workers; `None` where not all of them are known.
    pub(crate) fn variables(&self) -> Option<Vec<Variable>> {
        let all = || self.files.iter().flat_map(|file| &file.all);
        let included = all().find(|setting| setting.name == "nginx_main_include");
        // What is included has to be among the files.
        let has_parts = self.files.iter().any(|file| file.is_conf && is_part(file));
        let is_known = match included {
            Some(_) => has_parts,
            None => has_parts || all().any(|setting| setting.name == "nginx_main_env"),
        };
        let of_nginx = |setting: &&Setting| matches!(&*setting.name, "env" | "nginx_main_env");
        let names = all()
            .filter(of_nginx)
            .flat_map(|setting| setting.value.split(';'));
        let names = names.map(|name| {
            let name = name.trim();
            let name = name.strip_prefix("env ").unwrap_or(name).trim();
            Variable::new(name.split('=').next().unwrap_or(name), None)
        });
        is_known.then(|| names.collect())
    }

    /// What is found in one of the files.
    pub(crate) fn look_at(&self, file: &Settings) -> Vec<Finding> {
        let mut findings = Vec::new();
        for image in &file.images {
            let is_ours = image.has_wasm || self.filters.iter().any(|own| !own.is_empty());
            let (major, minor) = image.version;
            let why = match image.version {
                version if version >= WITHOUT_WASM => {
                    "Kong removed Wasm in 3.11, and runs no filter from then on"
                }
                version if version < OLDEST => {
                    "the filters are for Kong 3.9 and Kong Enterprise 3.10"
                }
                _ => continue,
            };
            if is_ours {
                let message = format!("this is Kong {major}.{minor}: {why}");
                findings.push(Finding::new(Code::OtherKong, image.place, message));
            }
        }
        let mut all = self.filters.iter().flatten();
        let by_address = all.any(|filter| counts_by_address(filter));
        let trusted_ips = file.get("trusted_ips").filter(|_| by_address);
        let wide = trusted_ips.and_then(|setting| {
            let mut networks = setting.value.split(',').map(str::trim);
            Some((setting, networks.find(|network| is_too_wide(network))?))
        });
        findings.extend(wide.map(|(setting, network)| {
            Finding::new(
                Code::TrustsStrangers,
                setting.place,
                trusted("`trusted_ips`", network),
            )
        }));
        let zone = file.get(ZONE).or_else(|| file.get(ANY_ZONE));
        findings.extend(zone.and_then(|zone| self.too_small(zone)));
        findings
    }

    fn too_small(&self, zone: &Setting) -> Option<Finding> {
        // Files may be those of several gateways.
        let needed = self.filters.iter().map(|own| needed(own)).max()?;
        let size = bytes(&zone.value)?;
        (size < needed).then(|| {
            let mebibytes = needed.div_ceil(1024 * 1024);
            Finding::new(
                Code::SmallZone,
                zone.place,
                format!(
                    "the zone has {}, and what the filters share takes {mebibytes}m: Kong forgets what was not used for longest, and \
                     counts start afresh",
                    zone.value
                ),
            )
        })
    }

    /// A filter that shares data where there is no zone for it.
    pub(crate) fn without_zone(&self, configured: &Configured) -> Option<Finding> {
        let all = || self.files.iter().flat_map(|file| &file.all);
        // Somebody else may say the rest where this is no whole configuration.
        let has_wasm = |file: &&Settings| {
            let wasm = file.get("wasm").filter(|_| file.is_conf);
            wasm.is_some_and(|wasm| wasm.value == "on")
                || file.images.iter().any(|own| own.has_wasm)
        };
        let is_whole = self.files.iter().any(has_wasm);
        let has_zone = all().any(|setting| matches!(&*setting.name, ZONE | ANY_ZONE));
        (is_whole && !has_zone && needed(&[configured]) > 0).then(|| {
            let name = configured.filter.name;
            Finding::new(
                Code::NoZone,
                configured.place,
                format!("{name} shares data, and Kong has no zone for it: every request gets 500; expected `{ZONE} = 16m`"),
            )
        })
    }
}

/// Whether a file is a part of nginx's configuration, with directives in it.
fn is_part(file: &Settings) -> bool {
    file.get("env").is_some()
}

fn counts_by_address(configured: &Configured) -> bool {
    let limits = items(configured, "rate_limit", "limits").iter();
    let mut parts = limits.flat_map(|limit| limit.get("key").map_or(&[][..], Node::items));
    parts.any(|part| part.text() == Some("client_address"))
}

/// How much of a zone what filters share takes, in bytes, by the pieces of 2^n bytes that nginx hands out. What has one name is one.
fn needed(filters: &[&Configured]) -> u64 {
    let mut pieces: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for configured in filters {
        let limits = match is_at_work(configured, "rate_limit") {
            true => of_limits(configured),
            false => Vec::new(),
        };
        let breakers = items(configured, "circuit_breaker", "breakers").iter();
        let breakers =
            breakers.filter(|it| is_at_work(configured, "circuit_breaker") && !is_off(it));
        let breakers = breakers.filter_map(|breaker| Some((breaker.get("name")?.text()?, PIECE)));
        let limits = limits
            .into_iter()
            .map(|(name, bytes)| (("limit", name), bytes));
        let breakers = breakers.map(|(name, bytes)| (("breaker", name), bytes));
        for (name, bytes) in limits.chain(breakers) {
            let known = pieces.entry(name).or_default();
            *known = bytes.max(*known);
        }
    }
    pieces.values().copied().fold(0, u64::saturating_add)
}

/// What each limit takes, with its name.
fn of_limits(configured: &Configured) -> Vec<(&str, u64)> {
    /// A slot of sliding windows.
    const LARGE_PIECE: u64 = 1024;
    const CAPACITY: u64 = 65_536;
    const KEYS: u64 = 8;
    let limits = items(configured, "rate_limit", "limits");
    let number = |node: &Node| {
        node.get("capacity")
            .and_then(|said| said.to_json().as_u64())
    };
    let is_constant = |limit: &Node| {
        let parts = limit.get("key").map_or(&[][..], Node::items);
        matches!(parts, [part] if part.text() == Some("constant"))
    };
    let total = configured.part("rate_limit").and_then(number);
    let own = limits.iter().filter_map(number);
    let left = total
        .unwrap_or(CAPACITY)
        .saturating_sub(own.fold(0, u64::saturating_add));
    let sharing = limits
        .iter()
        .filter(|limit| number(limit).is_none() && !is_constant(limit));
    let sharing = u64::try_from(sharing.count()).unwrap_or(u64::MAX);
    let share = left.checked_div(sharing).unwrap_or_default();
    let needed = limits.iter().filter_map(|limit| {
        let keys = match is_constant(limit) {
            true => 1,
            false => number(limit).unwrap_or(share),
        };
        let algorithm = limit.get("algorithm").and_then(Node::text);
        let is_large =
            limit.get("in_flight").is_none() && matches!(algorithm, None | Some("sliding_window"));
        let piece = if is_large { LARGE_PIECE } else { PIECE };
        let name = limit.get("name")?.text()?;
        Some((name, keys.div_ceil(KEYS).saturating_mul(piece)))
    });
    needed.collect()
}

/// A size as nginx takes it: `16m`, `512k`, bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = match text.strip_suffix(['k', 'm', 'g']) {
        Some(number) => (number, text.chars().next_back()?),
        None => (&*text, 'b'),
    };
    let factor: u64 = match unit {
        'k' => 1024,
        'm' => 1024 * 1024,
        'g' => 1024 * 1024 * 1024,
        _ => 1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// What version of Kong a declarative file is for.
pub(crate) fn format_version(document: &Node, filters: &[Configured]) -> Option<Finding> {
    let said = document.get("_format_version")?;
    let version = said.text()?;
    let major = version.split('.').next()?;
    (!filters.is_empty() && major != "3").then(|| {
        let message =
            format!("this file is for Kong {major}, which runs no filters; expected \"3.0\"");
        Finding::new(Code::OtherKong, said.written, message)
    })
}
