//! The options that say which filters are meant.

use crate::filter::{FILTERS, Filter, Host};
use crate::loaded::{Choice, Given, Loaded, read_named};
use crate::source::Source;

/// Which filters.
#[derive(Debug, clap::Args)]
pub struct ChainArgs {
    /// The file holds the configuration of this filter, and nothing around it.
    #[arg(long, value_name = "NAME", value_parser = FILTERS.map(|filter| filter.name))]
    pub filter: Option<String>,

    /// What loads the filter of --filter.
    #[arg(long, value_enum, default_value_t, requires = "filter")]
    pub host: Host,

    /// Which chain of filters, where a file has several: its number.
    #[arg(long, value_name = "N")]
    pub chain: Option<usize>,
}

/// What secrets are that are named by `env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Assumed to be there.
    Assumed,
    /// This process's variables.
    Real,
}

impl Secrets {
    /// What `--env` says.
    #[must_use]
    pub const fn by_option(env: bool) -> Self {
        match env {
            true => Self::Real,
            false => Self::Assumed,
        }
    }
}

impl ChainArgs {
    /// The chain of a file that is meant.
    ///
    /// # Errors
    /// The file can't be read, or has no such chain, or a filter refuses its configuration.
    pub fn load(&self, file: &str, secrets: Secrets) -> Result<Loaded, String> {
        let source = read_named(file).map_err(|error| format!("{file}: {error}"))?;
        self.load_source(source, secrets)
    }

    /// The chain of a file that was read.
    ///
    /// # Errors
    /// It has no such chain, or a filter refuses its configuration.
    pub fn load_source(&self, source: Source, secrets: Secrets) -> Result<Loaded, String> {
        let filter = self.filter.as_deref().and_then(Filter::named);
        let choice = Choice {
            filter: filter.map(|filter| (filter, self.host)),
            chain: self.chain,
        };
        let given = Given {
            are_real: secrets == Secrets::Real,
            named: Vec::new(),
        };
        Loaded::new(source, choice, given)
    }
}
