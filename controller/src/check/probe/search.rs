//! Finds bytes in what comes in pieces.

use memchr::memmem::Finder;

/// A search for some bytes. They may lie across pieces.
pub(super) struct Search<'a> {
    finder: Finder<'a>,
    /// The end of what has come, shorter than what is searched for.
    tail: Vec<u8>,
}

impl<'a> Search<'a> {
    pub(super) fn new(wanted: &'a [u8]) -> Search<'a> {
        Search { finder: Finder::new(wanted), tail: Vec::new() }
    }

    /// Whether the bytes lie in this piece, or end in it.
    pub(super) fn found_in(&mut self, piece: &[u8]) -> bool {
        let reach = self.finder.needle().len().saturating_sub(1);
        if self.finder.find(piece).is_some() {
            return true;
        }
        let head = &piece[..piece.len().min(reach)];
        self.tail.extend_from_slice(head);
        if self.finder.find(&self.tail).is_some() {
            return true;
        }
        if piece.len() >= reach {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - reach..]);
        } else {
            let surplus = self.tail.len().saturating_sub(reach);
            self.tail.drain(..surplus);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_found_at_once() {
        assert!(Search::new(b"").found_in(b""));
    }

    proptest! {
        /// Cut anywhere, the answer is that of the whole, and it comes with the piece that completes it.
        #[test]
        fn pieces_are_as_the_whole(
            wanted in vec(b'a'..=b'b', 0..5),
            pieces in vec(vec(b'a'..=b'b', 0..6), 0..8),
        ) {
            let mut search = Search::new(&wanted);
            let mut whole = Vec::new();
            for piece in &pieces {
                whole.extend_from_slice(piece);
                let there = wanted.is_empty() || whole.windows(wanted.len()).any(|at| at == wanted);
                prop_assert_eq!(search.found_in(piece), there);
                if there {
                    break;
                }
            }
        }
    }
}
