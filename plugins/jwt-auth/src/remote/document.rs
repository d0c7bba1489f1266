//! A document in shared data: in pieces of a fixed size, since values that change theirs have
//! crashed workers on Kong.

use std::hash::Hasher as _;

use portcullis_policy::{SharedStore, SlotError, SlotKey, Step, layout_of_one, read, update};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::record::DocumentId;

/// Bytes of a piece.
const PIECE: usize = 4096;
/// Most pieces: 256 KiB.
pub(crate) const MOST_PIECES: usize = 64;

#[derive(Clone)]
struct Piece([u8; PIECE]);
layout_of_one!(Piece, "jwt_auth/jwks/piece/1");

/// The slots of a document's pieces.
pub(crate) struct Pieces(Vec<SlotKey>);

/// Why a document was not written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotShared {
    /// It has more pieces than there are slots.
    TooLong,
    /// A piece is missing, or is one of another document that is being written.
    Incomplete,
    /// The gateway failed.
    Slot(SlotError),
}

impl Pieces {
    /// Slots below `name`.
    pub(crate) fn below(name: &str) -> Self {
        let slots = (0..MOST_PIECES).map(|n| SlotKey::new::<Piece>(format!("{name}/{n}")));
        Self(slots.collect())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(SlotKey::name)
    }

    /// Writes a document. Whoever reads meanwhile sees that it is not whole.
    pub(crate) fn write(
        &self,
        document: &[u8],
        store: &dyn SharedStore,
    ) -> Result<DocumentId, NotShared> {
        let id = DocumentId::of(document).ok_or(NotShared::TooLong)?;
        if document.len().div_ceil(PIECE) > self.0.len() {
            return Err(NotShared::TooLong);
        }
        for (slot, part) in self.0.iter().zip(document.chunks(PIECE)) {
            let mut piece = Piece([0; PIECE]);
            for (to, from) in piece.0.iter_mut().zip(part) {
                *to = *from;
            }
            update(store, slot, |_: Option<&Piece>| {
                Step::Write(piece.clone(), ())
            })
            .map_err(NotShared::Slot)?;
        }
        Ok(id)
    }

    /// Reads the document that `id` names.
    pub(crate) fn read(
        &self,
        id: &DocumentId,
        store: &dyn SharedStore,
    ) -> Result<Vec<u8>, NotShared> {
        let length = usize::try_from(id.length).unwrap_or(usize::MAX);
        let count = length.div_ceil(PIECE);
        if count > self.0.len() {
            return Err(NotShared::TooLong);
        }
        let mut document = Vec::with_capacity(count.saturating_mul(PIECE));
        for slot in self.0.iter().take(count) {
            let piece = read::<Piece>(store, slot)
                .map_err(NotShared::Slot)?
                .ok_or(NotShared::Incomplete)?;
            document.extend_from_slice(&piece.0);
        }
        document.truncate(length);
        if DocumentId::of(&document) == Some(*id) {
            Ok(document)
        } else {
            Err(NotShared::Incomplete)
        }
    }
}

impl DocumentId {
    /// `None` for more than 4 GiB.
    pub(crate) fn of(document: &[u8]) -> Option<Self> {
        let mut hasher = SipHasher24::new();
        hasher.write(document);
        Some(Self {
            hash: hasher.finish128().as_bytes(),
            length: u32::try_from(document.len()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::SharedData;
    use portcullis_sim::{Dialect, Zone, ZoneStore};

    use super::*;

    #[test]
    fn the_longest_document_that_has_a_place_is_read_as_it_was_written() {
        for dialect in Dialect::BOTH {
            let store = SharedData(ZoneStore::new(&Zone::new(dialect), None));
            let pieces = Pieces::below("d");
            for length in [0, 1, PIECE, PIECE + 1, MOST_PIECES * PIECE] {
                let document: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                let id = pieces.write(&document, &store).unwrap();
                assert_eq!(
                    pieces.read(&id, &store),
                    Ok(document),
                    "{dialect:?} {length}"
                );
            }
            let longer = vec![1; MOST_PIECES * PIECE + 1];
            assert_eq!(pieces.write(&longer, &store), Err(NotShared::TooLong));
            let id = DocumentId::of(&longer).unwrap();
            assert_eq!(pieces.read(&id, &store), Err(NotShared::TooLong));
        }
    }
}
