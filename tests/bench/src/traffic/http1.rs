//! A connection that speaks HTTP/1.1 and stays open.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// In how many chunks it came; none where its length was announced.
    pub(super) chunks: u32,
}

pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer has been read.
    read: usize,
}

impl Connection {
    pub(super) async fn open(gateway: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(gateway).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16_384),
            read: 0,
        })
    }

    /// Sends a request and reads its answer; `on_chunk` is called for each chunk.
    pub(super) async fn exchange(&mut self, request: &[u8], on_chunk: impl Fn()) -> Result<Answer> {
        self.stream.write_all(request).await?;
        let (status, length) = self.head().await?;
        let mut answer = Answer {
            status,
            body: Vec::new(),
            chunks: 0,
        };
        let Some(length) = length else {
            while let length @ 1.. = self.chunk_length().await? {
                answer.body.extend_from_slice(self.bytes(length).await?);
                self.line().await?;
                answer.chunks += 1;
                on_chunk();
            }
            self.line().await?;
            return Ok(answer);
        };
        answer.body.extend_from_slice(self.bytes(length).await?);
        Ok(answer)
    }

    /// The status and the body's length; none of a body in chunks.
    async fn head(&mut self) -> Result<(u16, Option<usize>)> {
        let line = self.line().await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("not HTTP: {line:?}"))?;
        let mut length = Some(0);
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok((status, length));
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = None;
            }
        }
    }

    async fn chunk_length(&mut self) -> Result<usize> {
        Ok(usize::from_str_radix(self.line().await?, 16)?)
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<&str> {
        let mut from = self.read;
        let end = loop {
            let unread = self.buffer.get(from..).unwrap_or_default();
            if let Some(at) = unread.windows(2).position(|pair| pair == b"\r\n") {
                break from + at;
            }
            // The first byte of the line's end may be there already.
            from += unread.len().saturating_sub(1);
            from -= self.more().await?;
        };
        let line = self.buffer.get(self.read..end).unwrap_or_default();
        self.read = end + 2;
        Ok(std::str::from_utf8(line)?)
    }

    async fn bytes(&mut self, length: usize) -> Result<&[u8]> {
        while self.buffer.len() < self.read + length {
            self.more().await?;
        }
        let bytes = self.buffer.get(self.read..self.read + length);
        self.read += length;
        Ok(bytes.unwrap_or_default())
    }

    /// Reads on; returns how many bytes at the buffer's beginning went away.
    async fn more(&mut self) -> Result<usize> {
        let gone = self.read;
        self.buffer.drain(..gone);
        self.read = 0;
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the gateway closed the connection");
        }
        Ok(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_are_told_apart_whatever_their_bodies() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // In pieces that end in the middle of a line.
            for piece in [
                &b"HTTP/1.1 200 OK\r"[..],
                b"\ntransfer-encoding: chunked\r\n\r\n3\r\nabc",
                b"\r\n2\r\nde\r\n0\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
                b"HTTP/1.1 200 OK\r\n\r\n",
            ] {
                stream.write_all(piece).await?;
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            // What the client sends is read to its end, lest it be told that nobody listens.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
        });
        let mut connection = Connection::open(address).await?;
        let heard = Cell::new(0);
        let on_chunk = || heard.set(heard.get() + 1);
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        let answer = connection.exchange(request, on_chunk).await?;
        assert_eq!(
            (answer.status, &answer.body[..], answer.chunks),
            (200, &b"abcde"[..], 2)
        );
        assert_eq!(heard.get(), 2);
        let answer = connection.exchange(request, || ()).await?;
        assert_eq!(
            (answer.status, &answer.body[..], answer.chunks),
            (401, &b"no"[..], 0)
        );
        let answer = connection.exchange(request, || ()).await?;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]));
        drop(connection);
        server.await??;
        Ok(())
    }
}
