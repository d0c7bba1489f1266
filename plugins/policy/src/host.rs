//! The host that a request is for, and what is none.
//!
//! Two parsers that read one `Host` differently are how a rule for a host is walked around: to one `x@admin.example` is
//! a name of its own, to the other it is `admin.example`. So what is no host is one for nobody.

use std::net::Ipv6Addr;

/// Why what a request names as its host is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmbiguousHost {
    /// There are two.
    Duplicated,
    /// It is not `name`, `name:port`, `[address]` or `[address]:port` (RFC 9110 section 7.2).
    Malformed,
}

impl AmbiguousHost {
    /// A fixed word for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicated => "host_twice",
            Self::Malformed => "malformed_host",
        }
    }
}

/// The host of a `Host` line, without its port and without the dot that a name may end with.
///
/// Names hold letters, digits, `-`, `_` and `.`: what else RFC 3986 section 3.2.2 lets a registered name have, percent
/// signs among it, no name on the Internet has, and parsers differ in it.
///
/// # Errors
/// [`AmbiguousHost::Malformed`] where it is none.
pub fn parse(line: &[u8]) -> Result<&str, AmbiguousHost> {
    const MALFORMED: AmbiguousHost = AmbiguousHost::Malformed;
    let line = std::str::from_utf8(line).map_err(|_| MALFORMED)?;
    let (host, port) = match line.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(MALFORMED)?;
            address.parse::<Ipv6Addr>().map_err(|_| MALFORMED)?;
            let end = address.len().saturating_add(2);
            (line.get(..end).ok_or(MALFORMED)?, port)
        }
        None => {
            let colon = line.bytes().position(|byte| byte == b':');
            let (name, port) = line.split_at(colon.unwrap_or(line.len()));
            (check_name(name)?, port)
        }
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(host),
        Some(port) if port.len() <= 5 && port.bytes().all(|digit| digit.is_ascii_digit()) => {
            Ok(host)
        }
        Some(_) | None => Err(MALFORMED),
    }
}

fn check_name(name: &str) -> Result<&str, AmbiguousHost> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &[u8]| !label.is_empty() && label.iter().all(fits);
    if name.as_bytes().split(|byte| *byte == b'.').all(is_label) {
        Ok(name)
    } else {
        Err(AmbiguousHost::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_loses_its_port() {
        for (line, host) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("A.Example.:80", "A.Example"),
            ("rag_api", "rag_api"),
            ("127.0.0.1:8000", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("a.example:", "a.example"),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(host), "{line}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_none() {
        for line in [
            "",
            ":80",
            ".",
            "a..example",
            ".a.example",
            "a.example..",
            "x@admin.test",
            "x:y@admin.test",
            "admin.test/",
            "admin.test?",
            "admin.test#",
            "admin.test\\x",
            "admin.test,other.test",
            "admin.test other.test",
            "admin%2etest",
            "admin.test:80:80",
            "admin.test:8o",
            "admin.test:123456",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[::1%25eth0]",
            "[admin.test]",
            "::1",
            "\u{e4}.test",
        ] {
            assert_eq!(
                parse(line.as_bytes()),
                Err(AmbiguousHost::Malformed),
                "{line}"
            );
        }
        assert!(parse(b"a\xff").is_err() && parse(b"a\0").is_err());
    }
}
