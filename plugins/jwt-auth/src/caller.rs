//! Who makes a request.

use std::rc::Rc;

use portcullis_policy::Timestamp;
use serde_json::Value;

/// A caller, as a verified token describes it.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The provider's index in the configuration.
    pub(crate) provider: usize,
    /// The provider's name.
    pub(crate) provider_name: Rc<str>,
    /// The token's claims: a JSON object.
    pub(crate) claims: Value,
    /// From here on the token counts for nothing: its `exp`, and the leeway behind it.
    pub(crate) expires: Timestamp,
    /// What each identity header is to hold, by its index.
    pub(crate) identity: Box<[Option<Box<str>>]>,
    /// Whether a claim did not fit into its header, so that it is empty.
    pub(crate) has_unfit: bool,
}
