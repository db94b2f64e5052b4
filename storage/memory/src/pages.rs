//! The bytes of a file, by pages, so that a file of many gigabytes of zeros costs nothing.
//!
//! INVARIANT: what lies beyond the size is zero.

use std::collections::BTreeMap;

const PAGE: u64 = 4096;

/// Sparse bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    size: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Pages {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes of memory it takes.
    pub(crate) fn held(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    /// Reads until the buffer is full or the file ends.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let count = self.size.saturating_sub(offset).min(buffer.len() as u64);
        let count = usize::try_from(count).unwrap_or(buffer.len());
        let mut at = offset;
        let mut rest = buffer.get_mut(..count).unwrap_or_default();
        while !rest.is_empty() {
            let (first, length) = span(at, rest.len());
            let (part, later) = std::mem::take(&mut rest).split_at_mut(length);
            let page = self.pages.get(&(at / PAGE));
            match page.and_then(|page| page.get(first..first + length)) {
                Some(held) => part.copy_from_slice(held),
                None => part.fill(0),
            }
            at += length as u64;
            rest = later;
        }
        count
    }

    /// Writes all of the data, which ends below the largest offset; a gap before it is zero.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (first, length) = span(at, rest.len());
            let (part, later) = rest.split_at(length);
            let page = self
                .pages
                .entry(at / PAGE)
                .or_insert_with(|| vec![0; PAGE as usize]);
            if let Some(place) = page.get_mut(first..first + length) {
                place.copy_from_slice(part);
            }
            at += length as u64;
            rest = later;
        }
        if !data.is_empty() {
            self.size = self.size.max(at);
        }
    }

    /// Cuts, or extends with zeros.
    pub(crate) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.pages.retain(|page, _| page * PAGE < size);
            if let Some(page) = self.pages.get_mut(&(size / PAGE)) {
                let kept = usize::try_from(size % PAGE).unwrap_or_default();
                page.get_mut(kept..).unwrap_or_default().fill(0);
            }
        }
        self.size = size;
    }
}

/// Where in its page an offset lies, and how many of the bytes the page holds.
fn span(at: u64, bytes: usize) -> (usize, usize) {
    let first = usize::try_from(at % PAGE).unwrap_or_default();
    (first, bytes.min(PAGE as usize - first))
}
