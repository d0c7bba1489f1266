//! Requests over connections that stay open.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long an answer may take. A machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

const CONNECTIONS: usize = 8;

/// A connection to the gateway.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(gateway: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(gateway)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(request)?)
    }

    /// GET; the body of the answer, if its status is 200.
    pub(crate) fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n");
        self.send(request.as_bytes())?;
        let (status, body) = self.answer()?;
        Ok((status == 200).then_some(body))
    }

    fn expect(&mut self, expected: u16) -> Result<()> {
        let (status, body) = self.answer()?;
        if status != expected {
            bail!(
                "{status} instead of {expected}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        let line = self.line()?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("not HTTP: {line:?}"))?;
        let mut length = Some(0);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = None;
            }
        }
        let body = match length {
            Some(length) => self.bytes(length)?,
            None => self.chunks()?,
        };
        Ok((status, body))
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16)?;
            body.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the gateway closed the connection");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// Several connections, so that the gateway does not fall asleep after each request. On one alone
/// it would: Envoy closes a connection whose client does not wait for answers.
pub(crate) struct Clients(Vec<Client>);

impl Clients {
    pub(crate) fn connect(gateway: SocketAddr) -> Result<Self> {
        let clients = (0..CONNECTIONS).map(|_| Client::connect(gateway));
        Ok(Self(clients.collect::<Result<_>>()?))
    }

    /// Sends a request so many times; each must be answered with this status.
    pub(crate) fn send(&mut self, request: &[u8], times: u32, status: u16) -> Result<()> {
        let mut left = times as usize;
        while left > 0 {
            let turn = left.min(self.0.len());
            for client in self.0.iter_mut().take(turn) {
                client.send(request)?;
            }
            for client in self.0.iter_mut().take(turn) {
                client.expect(status)?;
            }
            left -= turn;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn answers_are_told_apart_whatever_their_bodies() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            stream.write_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")?;
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            // What the client sends is read to its end, lest it be told that nobody listens.
            std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ())
        });
        let mut client = Client::connect(address)?;
        assert_eq!(client.get("/")?.as_deref(), Some(&b"abcde"[..]));
        let error = client.expect(200).unwrap_err();
        assert_eq!(error.to_string(), "401 instead of 200: no");
        assert_eq!(client.get("/")?.as_deref(), Some(&b""[..]));
        drop(client);
        server.join().expect("no panic")?;
        Ok(())
    }
}
