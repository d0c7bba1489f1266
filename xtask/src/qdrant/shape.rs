//! What of a collection's parameters its points depend on.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What the points of one collection need another to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// By name; the one without a name has the empty one.
    dense: Vec<Dense>,
    /// Names alone: such a vector has as many dimensions as it takes.
    sparse: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dense {
    name: String,
    size: u64,
    distance: String,
    datatype: String,
    /// How several vectors of one point are compared, where it has several.
    multivector: Option<String>,
}

impl Shape {
    /// Of a collection, by what Qdrant tells of it.
    pub(super) fn of(info: &Value) -> Result<Self> {
        let params = &info["config"]["params"];
        Self::of_params(&params["vectors"], &params["sparse_vectors"])
    }

    /// Of a collection with these parameters.
    pub(super) fn of_params(vectors: &Value, sparse: &Value) -> Result<Self> {
        let dense: Option<Vec<_>> = match vectors {
            one if one["size"].is_u64() => Dense::of("", one).map(|one| vec![one]),
            Value::Object(named) => named
                .iter()
                .map(|(name, params)| Dense::of(name, params))
                .collect(),
            Value::Null => Some(Vec::new()),
            _ => None,
        };
        let mut dense = dense.with_context(|| format!("not parameters of vectors: {vectors}"))?;
        dense.sort();
        let sparse = sparse.as_object().into_iter().flatten();
        let mut sparse: Vec<String> = sparse.map(|(name, _)| name.clone()).collect();
        sparse.sort();
        Ok(Self { dense, sparse })
    }
}

impl Dense {
    fn of(name: &str, params: &Value) -> Option<Self> {
        let multivector = &params["multivector_config"];
        Some(Self {
            name: name.to_owned(),
            size: params["size"].as_u64()?,
            distance: params["distance"].as_str()?.to_owned(),
            // Not shown where it is what Qdrant takes by itself.
            datatype: params["datatype"].as_str().unwrap_or("float32").to_owned(),
            multivector: (!multivector.is_null()).then(|| multivector.to_string()),
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dense = self.dense.iter().map(Dense::to_string);
        let sparse = self.sparse.iter().map(|name| format!("{name:?}: sparse"));
        let all: Vec<String> = dense.chain(sparse).collect();
        f.write_str(&all.join("; "))
    }
}

impl fmt::Display for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(f, "{:?}: ", self.name)?;
        }
        write!(
            f,
            "{} dimensions, {}, {}",
            self.size, self.distance, self.datatype
        )?;
        if let Some(multivector) = &self.multivector {
            write!(f, ", several of them: {multivector}")?;
        }
        Ok(())
    }
}
