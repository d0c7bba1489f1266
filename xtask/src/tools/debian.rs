//! Programs of Debian's packages, taken apart into `target/tools`: nothing is installed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Variables, on_path};
use crate::command::{capture, run};
use crate::workspace::Workspace;

/// Redis and Webdis, and what they are linked with.
const PACKAGES: [&str; 12] = [
    "redis-server",
    "redis-tools",
    "webdis",
    "libatomic1",
    "libb64-0d",
    "libevent-2.1-7",
    "libhiredis0.14",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "libmsgpackc2",
    "lua-cjson",
];

/// The variables by which the tests find Redis and Webdis. Those on `PATH` are found without.
///
/// # Errors
/// They can't be had.
pub fn redis(workspace: &Workspace) -> Result<Variables> {
    if on_path("redis-server").is_some() && on_path("webdis").is_some() {
        return Ok(Vec::new());
    }
    const HINT: &str = "on Debian `apt-get install redis-server webdis` brings Redis and Webdis";
    let home = workspace.root().join("target/tools/debian");
    let root = home.join("root");
    let server = root.join("usr/bin/redis-server");
    let webdis = root.join("usr/bin/webdis");
    if !server.is_file() || !webdis.is_file() {
        if on_path("apt-get").is_none() || on_path("dpkg-deb").is_none() {
            bail!("{HINT}");
        }
        println!("Fetching Redis and Webdis");
        fs::create_dir_all(&root)?;
        let mut fetch = Command::new("apt-get");
        fetch.arg("download").args(PACKAGES).current_dir(&home);
        capture(&mut fetch).context(HINT)?;
        for entry in fs::read_dir(&home)? {
            let package = entry?.path();
            if package.extension().is_some_and(|end| end == "deb") {
                run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
            }
        }
    }
    let libraries = libraries(&root)?;
    Ok(vec![
        ("PORTCULLIS_REDIS", server.into()),
        ("PORTCULLIS_WEBDIS", webdis.into()),
        ("PORTCULLIS_REDIS_LIBRARIES", libraries),
    ])
}

/// Where their libraries lie, as `LD_LIBRARY_PATH` has it.
fn libraries(root: &Path) -> Result<OsString> {
    let mut places = Vec::new();
    for place in ["usr/lib", "lib"] {
        let Ok(entries) = fs::read_dir(root.join(place)) else {
            continue;
        };
        for entry in entries {
            let place = entry?.path();
            if place.is_dir() {
                places.push(place);
            }
        }
    }
    Ok(env::join_paths(places)?)
}
