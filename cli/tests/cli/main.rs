//! `portcullis`, as a person and a pipeline meet it.

// `cfg(test)` holds here anyway; it tells clippy that all of this is tests, helpers too.
#[cfg(test)]
mod command;
#[cfg(test)]
mod help;
#[cfg(test)]
mod import;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod published;
#[cfg(test)]
mod shipped;
#[cfg(test)]
mod test_cases;
#[cfg(test)]
mod together;
#[cfg(test)]
mod token;
#[cfg(test)]
mod try_request;
