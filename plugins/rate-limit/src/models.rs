//! Names for the models that requests want.

use portcullis_policy::config::{Name, NonEmpty, UniqueMap};
use portcullis_usage::Document;

use crate::config::Model;

/// Names, each with those models that it stands for.
#[derive(Debug)]
pub(crate) struct Models(Vec<(String, Vec<Model>)>);

impl Models {
    /// Of what nobody has named.
    pub(crate) const OTHER: &str = "other";

    pub(crate) fn new(config: &UniqueMap<Name, NonEmpty<Model>>) -> Self {
        let named = config.as_slice().iter();
        Self(
            named
                .map(|(name, models)| (name.as_str().to_owned(), models.as_slice().to_vec()))
                .collect(),
        )
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All names, and last that of all others; none where there are none.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let other = (!self.is_empty()).then_some(Self::OTHER);
        self.0.iter().map(|(name, _)| name.as_str()).chain(other)
    }

    /// The name, by its index, of the model that a request wants; `None` where it has none. What says most of it counts: a
    /// configuration's names may come in any order.
    pub(crate) fn of(&self, document: &Document) -> Option<usize> {
        let wanted = document.kept.as_deref()?;
        let named = self.0.iter().enumerate();
        let fitting = named.flat_map(|(index, (_, models))| {
            let fitting = models.iter().filter(|model| model.is(wanted));
            fitting.map(move |model| (model.precision(), index))
        });
        fitting.max().map(|(_, index)| index)
    }
}
