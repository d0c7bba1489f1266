//! Examples of `docs/migration.md`: Envoy's own filter and ours in one gateway, which says of each request who judges it.

use anyhow::{Context as _, Result};
use portcullis_e2e::page::configurations;
use portcullis_e2e::{Builder, Gateway, Placement};
use serde_json::{Value, json};

/// Who judges a request: requests with this header go to a route on which only Envoy's filter is on.
pub(crate) const NATIVE: (&str, &str) = ("x-judged-by", "envoy");

/// The YAML blocks of a section of the page: theirs, and ours.
pub(crate) fn example(section: &str) -> Result<[Value; 2]> {
    configurations("migration.md", &format!("### {section}"))
}

/// A gateway with our filter of this name and theirs, each on a route where the other is off.
pub(crate) fn both(filter: &str, [theirs, ours]: [Value; 2], workers: u32) -> Builder {
    Gateway::with(filter).workers(workers).edit(|bootstrap| {
        *bootstrap.filter(filter)? = ours;
        let native = theirs["name"].as_str().context("a name")?.to_owned();
        bootstrap.put(Placement::After, filter, theirs)?;
        let routes = bootstrap.routes()?;
        let mut route = routes.first().context("a route")?.clone();
        let off = json!({
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            "disabled": true,
        });
        for route in routes.iter_mut() {
            route["typed_per_filter_config"] = json!({ native.as_str(): off });
        }
        let (name, value) = NATIVE;
        route["match"] = json!({
            "prefix": "/",
            "headers": [{ "name": name, "string_match": { "exact": value } }],
        });
        route["typed_per_filter_config"] = json!({ filter: off });
        routes.insert(0, route);
        Ok(())
    })
}
