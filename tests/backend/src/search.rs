//! Search by BM25 over the passages of the corpus, in an index that lives in memory.

use std::collections::BTreeSet;

use tantivy::collector::TopDocs;
use tantivy::query::{Query, QueryParser};
use tantivy::schema::{
    Field, INDEXED, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions, Value,
};
use tantivy::snippet::SnippetGenerator;
use tantivy::{Index, IndexReader, ReloadPolicy, TantivyDocument, TantivyError, doc};

use crate::corpus::{self, Document};
use crate::sentences::{best_sentences, telling_words};

/// What the index may use while it is built; tantivy does not accept less than 15 MB.
const WRITER_BYTES: usize = 15_000_000;

/// A word in the title says more about a document than one in its text.
const TITLE_BOOST: f32 = 2.0;

/// The longest snippet, in characters.
const SNIPPET_CHARS: usize = 240;

/// An answer is put together from this many passages, at most.
const ANSWER_PASSAGES: usize = 3;

/// The corpus and its index.
pub(crate) struct Library {
    documents: Vec<Document>,
    passages: Vec<Passage>,
    reader: IndexReader,
    parser: QueryParser,
    body: Field,
    number: Field,
}

#[derive(Clone, Copy)]
struct Passage {
    document: usize,
    text: &'static str,
}

/// A document that was found, by its best passage.
pub(crate) struct Hit<'a> {
    pub(crate) document: &'a Document,
    pub(crate) passage: &'static str,
    pub(crate) score: f32,
    /// Plain text around the words of the query.
    pub(crate) snippet: String,
}

/// A text made of sentences from the corpus, and where they come from.
pub(crate) struct Answer<'a> {
    pub(crate) text: String,
    pub(crate) sources: Vec<Hit<'a>>,
}

impl Library {
    /// Builds the index.
    pub(crate) fn open() -> Result<Self, TantivyError> {
        let documents = corpus::documents();
        let passages: Vec<Passage> = documents
            .iter()
            .enumerate()
            .flat_map(|(document, found)| {
                found
                    .passages
                    .iter()
                    .map(move |text| Passage { document, text })
            })
            .collect();

        let mut schema = Schema::builder();
        let title = schema.add_text_field("title", indexed_text());
        let body = schema.add_text_field("body", indexed_text());
        let number = schema.add_u64_field("number", INDEXED | STORED);
        let index = Index::create_in_ram(schema.build());
        let mut writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        for (n, passage) in (0_u64..).zip(&passages) {
            let heading = documents
                .get(passage.document)
                .map_or("", |document| document.title);
            writer.add_document(doc!(title => heading, body => passage.text, number => n))?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;

        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let mut parser = QueryParser::for_index(&index, vec![title, body]);
        parser.set_field_boost(title, TITLE_BOOST);
        Ok(Self {
            documents,
            passages,
            reader,
            parser,
            body,
            number,
        })
    }

    /// The documents that match best, each once, best first. Any text is a query; one without words finds nothing.
    pub(crate) fn search(&self, query: &str, limit: usize) -> Result<Vec<Hit<'_>>, TantivyError> {
        let query = self.parse(query);
        let searcher = self.reader.searcher();
        let ranked = searcher.search(
            &query,
            &TopDocs::with_limit(self.passages.len().max(1)).order_by_score(),
        )?;
        let mut snippets = SnippetGenerator::create(&searcher, &query, self.body)?;
        snippets.set_max_num_chars(SNIPPET_CHARS);

        let mut hits = Vec::new();
        let mut seen = BTreeSet::new();
        for (score, address) in ranked {
            if hits.len() >= limit {
                break;
            }
            let stored: TantivyDocument = searcher.doc(address)?;
            let Some((passage, document)) = self.passage(&stored) else {
                continue;
            };
            if seen.insert(document.id) {
                let snippet = snippets.snippet(passage).fragment().trim().to_owned();
                let snippet = if snippet.is_empty() {
                    beginning(passage)
                } else {
                    snippet
                };
                hits.push(Hit {
                    document,
                    passage,
                    score,
                    snippet,
                });
            }
        }
        Ok(hits)
    }

    /// An answer from the best passages.
    pub(crate) fn answer(&self, question: &str) -> Result<Answer<'_>, TantivyError> {
        let sources = self.search(question, ANSWER_PASSAGES)?;
        let asked: BTreeSet<String> = telling_words(question).collect();
        let sentences: Vec<&str> = sources
            .iter()
            .map(|hit| best_sentences(hit.passage, &asked))
            .collect();
        let text = if sentences.is_empty() {
            "Nothing in the collections answers this question.".to_owned()
        } else {
            sentences.join(" ")
        };
        Ok(Answer { text, sources })
    }

    /// What a model without knowledge of its own says to a prompt: of each paragraph the sentences that answer the last
    /// one, or an answer from the corpus where there is but one.
    pub(crate) fn complete(&self, prompt: &str) -> Result<String, TantivyError> {
        let paragraphs: Vec<&str> = prompt
            .split("\n\n")
            .map(str::trim)
            .filter(|paragraph| !paragraph.is_empty())
            .collect();
        let Some((question, passages)) = paragraphs.split_last() else {
            return Ok(String::new());
        };
        if passages.is_empty() {
            return Ok(self.answer(question)?.text);
        }
        let asked: BTreeSet<String> = telling_words(question).collect();
        let sentences: Vec<&str> = passages
            .iter()
            .map(|passage| best_sentences(passage, &asked))
            .collect();
        Ok(sentences.join(" "))
    }

    /// All passages, each with its document.
    pub(crate) fn passages(&self) -> impl Iterator<Item = (&Document, &'static str)> {
        let passages = self.passages.iter();
        passages.filter_map(|passage| Some((self.documents.get(passage.document)?, passage.text)))
    }

    /// All documents, those of a collection in a row.
    pub(crate) fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The parser understands words, "phrases", +must and -mustnot, AND, OR and NOT. The rest of its language (fields,
    /// ranges, groups, which nest, and regular expressions) is not for strangers and taken out before.
    fn parse(&self, query: &str) -> Box<dyn Query> {
        let kept = |c: char| c.is_alphanumeric() || matches!(c, '"' | '+' | '-' | '\'');
        let plain: String = query
            .chars()
            .map(|c| if kept(c) { c } else { ' ' })
            .collect();
        self.parser.parse_query_lenient(&plain).0
    }

    fn passage(&self, stored: &TantivyDocument) -> Option<(&'static str, &Document)> {
        let number = stored.get_first(self.number)?.as_u64()?;
        let passage = self.passages.get(usize::try_from(number).ok()?)?;
        Some((passage.text, self.documents.get(passage.document)?))
    }
}

/// Indexed with positions, for phrases, but not stored: the text is in the corpus.
fn indexed_text() -> TextOptions {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("default")
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    TextOptions::default().set_indexing_options(indexing)
}

/// A snippet of a passage of which nothing is to be shown in particular.
pub(crate) fn beginning(passage: &str) -> String {
    passage.chars().take(SNIPPET_CHARS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn ids(query: &str, limit: usize) -> Vec<&'static str> {
        Library::open()
            .unwrap()
            .search(query, limit)
            .unwrap()
            .iter()
            .map(|hit| hit.document.id)
            .collect()
    }

    #[test]
    fn the_right_document_comes_first() {
        let expected = [
            ("circuit breaker half-open probe", "circuit-breaker"),
            ("How does a token bucket tolerate a burst?", "token-bucket"),
            ("kid unknown refresh key set", "key-rotation"),
            ("HNSW neighbours", "vector-search"),
            ("\"reciprocal rank fusion\"", "hybrid-retrieval"),
            ("preflight OPTIONS credentials wildcard", "cors"),
            ("Raft first peer address", "replication"),
            (
                "server-sent events behind a buffering proxy",
                "event-streams",
            ),
        ];
        for (query, id) in expected {
            assert_eq!(ids(query, 1), [id], "{query}");
        }
    }

    #[test]
    fn operators_work() {
        assert!(!ids("breaker -circuit", 50).contains(&"circuit-breaker"));
        assert_eq!(ids("\"theoretical arrival time\"", 50), ["token-bucket"]);
        assert_eq!(ids("\"time arrival theoretical\"", 50), [""; 0]);
    }

    #[test]
    fn a_document_is_found_once_and_the_limit_holds() {
        let all = ids("the", 50);
        let unique: BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        assert!(all.len() > 4);
        assert_eq!(ids("the", 4).len(), 4);
        assert_eq!(ids("zyzzyva", 4).len(), 0);
    }

    #[test]
    fn a_match_in_the_title_alone_has_a_snippet_too() {
        let library = Library::open().unwrap();
        let hits = library.search("webassembly", 1).unwrap();
        assert!(!hits.first().unwrap().snippet.is_empty());
    }

    #[test]
    fn no_text_is_an_error() {
        let library = Library::open().unwrap();
        let deep = [
            "(", "[", "{", "\"", "+", "-", "NOT ", "-(", "a:", "\\", "'", "*", "/a", "AND ", "+(+",
        ]
        .map(|piece| piece.repeat(1_000));
        let odd = [
            "",
            " ",
            "*",
            "title:*",
            "nofield:x",
            "[a TO z]",
            "body:{a TO",
            "\"open",
            "a^",
            "a~2",
            "AND OR NOT",
            "/.*/",
            "IN [a b]",
            "\u{0}",
            "\u{202e}",
            "é",
            "日本語",
            "🦀",
            "ß",
            "İ",
            "a\u{301}",
            "-breaker",
            "+",
            "''",
            "\"\"~3",
            "'a\"b'c\"",
            "<= 3",
            "1..2",
        ];
        for query in deep.iter().map(String::as_str).chain(odd) {
            assert!(library.search(query, 5).is_ok(), "{query:?}");
            assert!(library.answer(query).is_ok(), "{query:?}");
        }
    }

    #[test]
    fn the_sentence_that_answers_is_chosen() {
        let library = Library::open().unwrap();
        let answer = library
            .answer("What does a probe decide in a half-open breaker?")
            .unwrap();
        assert!(answer.text.contains("half-open"), "{}", answer.text);
        assert_eq!(answer.sources.len(), ANSWER_PASSAGES);
    }
}
