//! A request and its response, on their way through the filters of a chain.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use portcullis_driver::{Exchange, Failed};
use portcullis_policy::{
    HeaderEdit, Headers, HostFailure, LocalReply, Origin, PeerAddress, RequestEdits, Response,
    ResponseEdits, Splice,
};

/// Header lines: names in lower case, and values.
pub(super) type Lines = Vec<(String, Vec<u8>)>;

/// A request and its response.
pub(super) struct Passing {
    /// With `:method`, `:path` and the like.
    pub(super) headers: RefCell<Lines>,
    pub(super) body: RefCell<Vec<u8>>,
    pub(super) peer: IpAddr,
    pub(super) route: Option<String>,
    /// The names of headers that the filter at hand has changed, in the request or the response.
    pub(super) changed: RefCell<Vec<String>>,
    /// What a filter answers.
    pub(super) reply: RefCell<Option<LocalReply>>,
    pub(super) response: RefCell<Head>,
    pub(super) response_body: RefCell<Vec<u8>>,
}

/// A response's head.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Lines,
    pub(super) origin: Origin,
    read: Headers,
}

impl Head {
    pub(super) fn new(status: u16, headers: Lines, origin: Origin) -> Self {
        Self {
            read: Headers::from_pairs(headers.iter().map(|(name, value)| (name, value))),
            status,
            headers,
            origin,
        }
    }
}

impl Response for Head {
    fn status(&self) -> Option<u16> {
        Some(self.status)
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn grpc_status(&self) -> Option<u8> {
        portcullis_driver::number(self.read.get("grpc-status")?)
    }

    fn headers(&self) -> Option<&Headers> {
        Some(&self.read)
    }
}

/// A stream of a filter's, within an event.
#[derive(Clone)]
pub(super) struct Entered(pub(super) Rc<Passing>);

impl PeerAddress for Entered {
    fn peer(&self) -> Option<IpAddr> {
        Some(self.0.peer)
    }

    fn route(&self) -> Option<String> {
        self.0.route.clone()
    }
}

impl Exchange for Entered {
    type Head = Head;

    fn request_headers(&self, _: usize) -> Result<Headers, HostFailure> {
        let headers = self.0.headers.borrow();
        Ok(Headers::from_pairs(
            headers.iter().map(|(name, value)| (name, value)),
        ))
    }

    fn request_body(
        &self,
        from: usize,
        size: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failed> {
        let body = self.0.body.borrow();
        take(body.get(from..size).ok_or(Failed)?);
        Ok(())
    }

    fn change_request_body(&self, _: usize, splices: &[Splice]) -> Result<(), Failed> {
        splice(&mut self.0.body.borrow_mut(), splices)
    }

    fn response_body(&self, size: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), Failed> {
        take(self.0.response_body.borrow().get(..size).ok_or(Failed)?);
        Ok(())
    }

    fn change_response_body(&self, size: usize, passing: &[u8]) -> Result<(), Failed> {
        let mut body = self.0.response_body.borrow_mut();
        let rest = body.get(size..).ok_or(Failed)?.to_vec();
        *body = [passing, &rest].concat();
        Ok(())
    }

    fn change_request(&self, _: Option<&Headers>, edits: &RequestEdits<'_>) -> Result<(), Failed> {
        let mut headers = self.0.headers.borrow_mut();
        self.change(&mut headers, edits.headers());
        if let Some(target) = edits.target() {
            set(&mut headers, ":path", target);
            self.0.changed.borrow_mut().push(":path".to_owned());
        }
        Ok(())
    }

    fn response(&self, _: bool) -> Head {
        self.0.response.borrow().clone()
    }

    fn change_response(&self, _: &Head, edits: &ResponseEdits<'_>) -> Result<(), Failed> {
        let mut response = self.0.response.borrow_mut();
        let mut headers = response.headers.clone();
        self.change(&mut headers, edits.headers());
        *response = Head::new(response.status, headers, response.origin);
        Ok(())
    }

    fn ending(&self, _: bool) -> Origin {
        self.0.response.borrow().origin
    }

    fn trailing_grpc_status(&self) -> Option<u8> {
        None
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), Failed> {
        *self.0.reply.borrow_mut() = Some(reply.clone());
        Ok(())
    }
}

impl Entered {
    fn change(&self, headers: &mut Lines, edits: &[HeaderEdit<'_>]) {
        for edit in edits {
            let was_there = headers.iter().any(|(name, _)| is(name, edit.name()));
            match edit {
                HeaderEdit::Set { name, value } => set(headers, name, value),
                HeaderEdit::Clear { name } => headers.retain(|(known, _)| !is(known, name)),
            }
            if was_there || matches!(edit, HeaderEdit::Set { .. }) {
                let mut changed = self.0.changed.borrow_mut();
                changed.push(edit.name().to_ascii_lowercase());
            }
        }
    }
}

fn is(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

/// Whatever was there under the name is gone.
fn set(headers: &mut Lines, name: &str, value: &[u8]) {
    let at = headers.iter().position(|(known, _)| is(known, name));
    headers.retain(|(known, _)| !is(known, name));
    let at = at.unwrap_or(headers.len()).min(headers.len());
    headers.insert(at, (name.to_ascii_lowercase(), value.to_vec()));
}

fn splice(body: &mut Vec<u8>, splices: &[Splice]) -> Result<(), Failed> {
    let (mut begin, replaced) = Splice::apply(splices, body).ok_or(Failed)?;
    begin.extend_from_slice(body.get(replaced..).ok_or(Failed)?);
    *body = begin;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_set_stands_once_and_where_it_stood() {
        let line = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let mut headers = vec![line("a", "1"), line("b", "2"), line("A", "3")];
        set(&mut headers, "a", b"4");
        set(&mut headers, "C", b"5");
        assert_eq!(headers, [line("a", "4"), line("b", "2"), line("c", "5")]);
    }

    #[test]
    fn a_body_is_changed_where_the_splices_say() {
        let mut body = b"0123456789".to_vec();
        let splice_of = |start, end, with: &str| Splice {
            start,
            end,
            with: with.as_bytes().to_vec(),
        };
        splice(&mut body, &[splice_of(1, 3, "ab"), splice_of(5, 5, "-")]).unwrap();
        assert_eq!(body, b"0ab34-56789");
    }
}
