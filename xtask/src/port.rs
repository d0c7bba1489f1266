//! Ports that are taken, and by whom.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

/// For a connection within this machine.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Makes sure that a port of this machine is free. Envoy would not notice: its listeners share a
/// port with those of another Envoy of the same user. `remedy` says how to take another.
///
/// # Errors
/// It is not; the error names who has it, as far as the system tells.
pub fn check(port: u16, remedy: &str) -> Result<()> {
    // Where a port of one address may be taken beside that of all of them, as on macOS, only an answer tells.
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answers = TcpStream::connect_timeout(&here, AT_ONCE).is_ok();
    match TcpListener::bind(here) {
        Ok(_) if !answers => Ok(()),
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            bail!("port {port} can't be used: {error}")
        }
        Ok(_) | Err(_) => {
            let owner = owner(port).unwrap_or_else(|| "another process".to_owned());
            bail!("port {port} is taken by {owner}; {remedy}")
        }
    }
}

/// A port that is free now.
///
/// # Errors
/// There is none.
pub fn free() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The process that listens at a port.
fn owner(port: u16) -> Option<String> {
    owner_by_proc(port).or_else(|| owner_by_lsof(port))
}

/// Linux: the socket's inode, and who has it open.
fn owner_by_proc(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    let inodes: Vec<&str> = tables
        .iter()
        .flat_map(|table| listening(table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Those of other users can't be looked into.
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let links = files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok());
        if links
            .filter_map(|link| inode(&link))
            .any(|open| inodes.contains(&open.as_str()))
        {
            return Some(format!("{} (process {pid})", name(&process.path())));
        }
    }
    Some("a process of another user".to_owned())
}

/// The inodes of the sockets that listen at `port`, in a table of `/proc/net`.
fn listening(table: &str, port: u16) -> Vec<&str> {
    const LISTEN: &str = "0A";
    let inode = |line: &'_ str| -> Option<usize> {
        let mut fields = line.split_whitespace().skip(1);
        let (_, local) = fields.next()?.rsplit_once(':')?;
        let fits = u16::from_str_radix(local, 16) == Ok(port) && fields.nth(1)? == LISTEN;
        fits.then_some(9)
    };
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| line.split_whitespace().nth(inode(line)?))
        .collect()
}

/// `socket:[12345]`
fn inode(link: &Path) -> Option<String> {
    Some(
        link.to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .to_owned(),
    )
}

/// The command line's beginning, or the process's name.
fn name(process: &Path) -> String {
    /// Enough to know it again.
    const SHOWN: usize = 60;
    let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
    let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    let words = match words.trim() {
        "" => String::from_utf8_lossy(&read("comm")).trim().to_owned(),
        words => words.to_owned(),
    };
    let plain: String = words
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect();
    format!("`{plain}`")
}

/// Elsewhere, such as on macOS.
fn owner_by_lsof(port: u16) -> Option<String> {
    let mut lsof = Command::new("lsof");
    lsof.args(["-nP", "-Fpc", "-sTCP:LISTEN", &format!("-iTCP:{port}")]);
    let said = String::from_utf8(lsof.output().ok()?.stdout).ok()?;
    let field = |mark: char| said.lines().find_map(|line| line.strip_prefix(mark));
    Some(format!("`{}` (process {})", field('c')?, field('p')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_free() {
        let port = free().unwrap();
        check(port, "").unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_taken_port_is_named_with_its_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let error = check(port, "").unwrap_err().to_string();
            let pid = format!("(process {})", std::process::id());
            assert!(
                error.contains(&port.to_string()) && error.contains(&pid),
                "{error}"
            );
        }
    }

    #[test]
    fn only_listening_sockets_hold_a_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
                     1: 0100007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n\
                     2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n";
        assert_eq!(listening(table, 8000), ["111"]);
        assert_eq!(listening(table, 80), ["333"]);
        assert!(listening(table, 81).is_empty());
    }
}
