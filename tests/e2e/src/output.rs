//! What a process prints, line by line.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;
use serde_json::Value;

use crate::wait::until_some;

/// The lines that a process has printed. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<Vec<String>>>);

impl Output {
    /// Reads a stream to its end, in a thread of its own.
    pub(crate) fn follow(&self, stream: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let output = self.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                output
                    .lock()
                    .push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
        })
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// The lines in which all of `words` occur.
    #[must_use]
    pub fn with(&self, words: &[&str]) -> Vec<String> {
        let fits = |line: &&String| words.iter().all(|word| line.contains(word));
        self.lock().iter().filter(fits).cloned().collect()
    }

    /// The last `n` lines.
    #[must_use]
    pub fn tail(&self, n: usize) -> String {
        let lines = self.lock();
        lines
            .get(lines.len().saturating_sub(n)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// The entries of a JSON access log.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let lines = self.lock();
        let entries = lines.iter().filter(|line| line.starts_with('{'));
        entries
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for a line in which all of `words` occur.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn wait_for(&self, words: &[&str]) -> Result<String> {
        let what = format!("a log line with {words:?}");
        until_some(&what, async || Ok(self.with(words).into_iter().next())).await
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
