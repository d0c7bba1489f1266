//! Limitador's HTTP API: `/check_and_report`, where `delta` is a withdrawal.
//!
//! It gives all of it or nothing, and counts only what it gives. What is owed is reported by itself (`/report`), so that it is counted
//! in any case.

use portcullis_policy::{CallReply, Span};
use serde_json::json;

use super::{Asked, Item, Unread, told_whole};
use crate::quota::{Spending, Told};
use crate::sizing::Sizing;
use crate::terms::Terms;

pub(super) fn ask(domain: &str, item: &Item<'_>, sizing: &Sizing) -> Asked {
    let debt = item.spending.debt;
    let wanted = match debt {
        0 => sizing.ask_whole(item.terms.quota, item.need, &item.spending),
        _ => 0,
    };
    let mut body = json!({
        "namespace": domain,
        "values": { "limit": item.terms.limit, "key": item.key.hex() },
        "delta": wanted.max(debt),
    });
    let path = match debt {
        0 => "/check_and_report",
        _ => "/report",
    };
    if let (0, Some(fields)) = (debt, body.as_object_mut()) {
        let style = "DRAFT_VERSION_03".into();
        fields.insert("response_headers".to_owned(), style);
    }
    Asked {
        path: path.to_owned(),
        headers: vec![("content-type", "application/json")],
        body: body.to_string().into_bytes(),
        wanted: vec![wanted],
    }
}

pub(super) fn read(
    (terms, spending, wanted): &(Terms, Spending, u32),
    status: u16,
    reply: &dyn CallReply,
) -> Result<Told, Unread> {
    let number = |name: &str| {
        let value = reply.header(name)?;
        let text = std::str::from_utf8(&value).ok()?;
        // It may say several, of which the first is about what is nearest.
        text.split(',').next()?.trim().parse::<u64>().ok()
    };
    let left = number("x-ratelimit-remaining").and_then(|left| u32::try_from(left).ok());
    let reset = number("x-ratelimit-reset").map(Span::from_secs);
    match (status, spending.debt) {
        (200, 0) if left.is_none() => Err(Unread::Failed("no_such_limit")),
        (200, 0) => Ok(told_whole(terms, spending, *wanted, true, left, reset)),
        // Fewer may be there.
        (429, 0) if *wanted > 1 => Ok(Told {
            left: left.filter(|left| left < wanted).unwrap_or(*wanted / 2),
            reset: reset.unwrap_or(terms.window),
            spent: spending.spent,
            ..Told::default()
        }),
        (429, 0) => Ok(told_whole(terms, spending, *wanted, false, left, reset)),
        (200, debt) => Ok(Told {
            settled: debt,
            left: spending.left.unwrap_or(terms.quota),
            reset: terms.window,
            spent: spending.spent,
            ..Told::default()
        }),
        _ => Err(Unread::Failed("status")),
    }
}
