//! A request as curl's words say it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Asked, header, line};

/// Options of curl's with a value that change nothing of what is sent, or nothing that is looked at here.
const WITH_VALUE: [&str; 14] = [
    "-o",
    "--output",
    "-w",
    "--write-out",
    "-m",
    "--max-time",
    "--connect-timeout",
    "--retry",
    "--cacert",
    "--resolve",
    "-D",
    "--dump-header",
    "-x",
    "--proxy",
];

/// The same without a value.
const ALONE: [&str; 22] = [
    "-s",
    "--silent",
    "-S",
    "--show-error",
    "-i",
    "--include",
    "-v",
    "--verbose",
    "-k",
    "--insecure",
    "-L",
    "--location",
    "-f",
    "--fail",
    "-N",
    "--no-buffer",
    "-O",
    "--http1.1",
    "--http2",
    "-#",
    "--fail-with-body",
    "-g",
];

/// Reads curl's words, with `curl` first or without. `read`: a file that they name.
///
/// # Errors
/// A word that is not known, or makes no sense.
pub fn parse(
    words: &[String],
    read: impl Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<Asked, String> {
    let mut words = split(words).into_iter().peekable();
    words.next_if(|word| word == "curl");
    let mut taken = Taken::default();
    while let Some(word) = words.next() {
        if !word.starts_with('-') || word == "-" {
            if taken.url.replace(word).is_some() {
                return Err("curl's words name two URLs; expected one".to_owned());
            }
            continue;
        }
        if ALONE.contains(&word.as_str()) {
            continue;
        }
        let flag = taken.flag(&word);
        if flag {
            continue;
        }
        let mut value = || {
            words
                .next()
                .ok_or_else(|| format!("curl's {word} lacks its value"))
        };
        if WITH_VALUE.contains(&word.as_str()) {
            let _ignored = value()?;
            continue;
        }
        taken.option(&word, value, &read)?;
    }
    taken.finish()
}

/// `--header=x` and `-XPOST` are two words each, `-sS` too.
fn split(words: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                all.extend([name.to_owned(), value.to_owned()]);
                continue;
            }
            _ => {}
        }
        let is_short = word.len() > 2 && word.starts_with('-') && !word.starts_with("--");
        if !is_short {
            all.push(word.clone());
            continue;
        }
        for (at, letter) in word.char_indices().skip(1) {
            all.push(format!("-{letter}"));
            if "XHduAebowmDx".contains(letter) {
                let rest = word.get(at.saturating_add(letter.len_utf8())..);
                all.extend(rest.filter(|rest| !rest.is_empty()).map(str::to_owned));
                break;
            }
        }
    }
    all
}

#[derive(Default)]
struct Taken {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    data: Option<Vec<u8>>,
    content_type: Option<&'static str>,
    in_query: bool,
    is_head: bool,
    is_compressed: bool,
}

impl Taken {
    fn flag(&mut self, word: &str) -> bool {
        match word {
            "-G" | "--get" => self.in_query = true,
            "-I" | "--head" => self.is_head = true,
            "--compressed" => self.is_compressed = true,
            _ => return false,
        }
        true
    }

    fn option(
        &mut self,
        word: &str,
        mut value: impl FnMut() -> Result<String, String>,
        read: &impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        const FORM: &str = "application/x-www-form-urlencoded";
        match word {
            "-X" | "--request" => self.method = Some(value()?),
            "-H" | "--header" => self.headers.push(header(&value()?)?),
            "-A" | "--user-agent" => self.headers.push(("user-agent".to_owned(), value()?)),
            "-e" | "--referer" => self.headers.push(("referer".to_owned(), value()?)),
            "-b" | "--cookie" => self.headers.push(("cookie".to_owned(), value()?)),
            "--oauth2-bearer" => {
                let bearer = format!("Bearer {}", value()?);
                self.headers.push(("authorization".to_owned(), bearer));
            }
            "-u" | "--user" => {
                let basic = format!("Basic {}", STANDARD.encode(value()?));
                self.headers.push(("authorization".to_owned(), basic));
            }
            "--url" => self.url = Some(value()?),
            "-d" | "--data" | "--data-ascii" | "--data-binary" | "--data-raw" | "--json" => {
                let text = value()?;
                let data = match text.strip_prefix('@') {
                    Some(file) if word != "--data-raw" => read(file)?,
                    _ => text.into_bytes(),
                };
                let is_json = word == "--json";
                self.content_type = Some(if is_json { "application/json" } else { FORM });
                self.add_data(data, if is_json { b"" } else { b"&" });
            }
            "--data-urlencode" => {
                let text = value()?;
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (format!("{name}="), value),
                    None => (String::new(), text.as_str()),
                };
                let data = name.trim_start_matches('=').to_owned() + &encoded(value);
                self.add_data(data.into_bytes(), b"&");
                self.content_type = Some(FORM);
            }
            _ => return Err(format!("{word} of curl's is not known here")),
        }
        Ok(())
    }

    fn add_data(&mut self, data: Vec<u8>, joint: &[u8]) {
        self.data = Some(match self.data.take() {
            Some(before) => [&before[..], joint, &data].concat(),
            None => data,
        });
    }

    fn finish(self) -> Result<Asked, String> {
        let url = self.url.ok_or("curl's words name no URL")?;
        // As curl does: a URL without its scheme is one of HTTP.
        let url = match url.contains("://") || url.starts_with('/') {
            true => url,
            false => format!("http://{url}"),
        };
        let mut asked = line::of_url(&url)?;
        let method = match (&self.data, self.is_head) {
            (_, true) => "HEAD",
            (Some(_), false) if !self.in_query => "POST",
            (Some(_) | None, false) => "GET",
        };
        asked.method = self.method.unwrap_or_else(|| method.to_owned());
        for (name, value) in &self.headers {
            asked.add(name, value);
        }
        asked.add_default("user-agent", "curl");
        asked.add_default("accept", "*/*");
        if self.is_compressed {
            asked.add_default("accept-encoding", "gzip");
        }
        match self.data {
            Some(data) if self.in_query => {
                let joint = if asked.target.contains('?') { '&' } else { '?' };
                asked.target.push(joint);
                asked.target.push_str(&String::from_utf8_lossy(&data));
            }
            Some(data) => {
                asked.add_default("content-type", self.content_type.unwrap_or_default());
                asked.body = data;
            }
            None => {}
        }
        Ok(asked)
    }
}

/// A text as a form has it (RFC 3986 section 2.1).
fn encoded(text: &str) -> String {
    let bytes = text.bytes();
    bytes
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Asked, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words, |file| Ok(file.to_uppercase().into_bytes()))
    }

    fn get<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
        let found = asked.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn what_curl_would_send_is_what_is_tried() {
        let sent = asked(&[
            "curl",
            "-sS",
            "-XPUT",
            "-HA: 1",
            "--header=B: 2",
            "-d",
            "x=1",
            "--data-raw",
            "@y",
            "h:8000/a",
        ])
        .unwrap();
        assert_eq!((&*sent.method, &*sent.target), ("PUT", "/a"));
        assert_eq!(sent.authority, "h:8000");
        assert_eq!((get(&sent, "a"), get(&sent, "b")), (Some("1"), Some("2")));
        assert_eq!(sent.body, b"x=1&@y");
        let form = "application/x-www-form-urlencoded";
        assert_eq!(get(&sent, "content-type"), Some(form));
    }

    #[test]
    fn data_makes_a_post_and_may_stand_in_a_file_or_the_query() {
        let sent = asked(&["--json", "@body", "http://h/a", "-u", "a:b"]).unwrap();
        assert_eq!((&*sent.method, &sent.body[..]), ("POST", &b"BODY"[..]));
        assert_eq!(get(&sent, "content-type"), Some("application/json"));
        assert_eq!(get(&sent, "authorization"), Some("Basic YTpi"));
        let sent = asked(&["-G", "--data-urlencode", "q=a b&c", "http://h/a"]).unwrap();
        assert_eq!(sent.target, "/a?q=a%20b%26c");
        let sent = asked(&["-G", "-d", "q=1", "http://h/a?b=2", "-H", "Host: x"]).unwrap();
        assert_eq!(
            (&*sent.method, &*sent.target, &*sent.authority),
            ("GET", "/a?b=2&q=1", "x")
        );
    }

    #[test]
    fn a_word_that_is_not_known_is_named() {
        for (words, named) in [
            (&["--upload-file", "x", "http://h/"][..], "--upload-file"),
            (&["-H"], "-H"),
            (&["-s"], "no URL"),
            (&["http://a/", "http://b/"], "two URLs"),
        ] {
            let error = asked(words).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
