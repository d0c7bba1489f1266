//! What the module logs, by thread.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn put(line: &[u8]) {
    // A thread that ends has no lines any more.
    let _ = LINES.try_with(|lines| {
        lines
            .borrow_mut()
            .push(String::from_utf8_lossy(line).into_owned());
    });
}

pub(crate) fn take() -> Vec<String> {
    LINES.with_borrow_mut(std::mem::take)
}
