//! Which bytes of a staged new version were written.
//!
//! INVARIANT: ranges are sorted, not empty, and neither touch nor overlap.

/// Written ranges of a file, `[start, end)` in bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ranges {
    list: Vec<(u64, u64)>,
}

impl Ranges {
    /// Adds a range; an empty one changes nothing.
    pub(crate) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Those that touch the new one are merged into it.
        let from = self.list.partition_point(|range| range.1 < start);
        let to = self.list.partition_point(|range| range.0 <= end);
        let touched = self.list.get(from..to).unwrap_or_default();
        let start = touched.first().map_or(start, |range| range.0.min(start));
        let end = touched.last().map_or(end, |range| range.1.max(end));
        self.list.splice(from..to, [(start, end)]);
    }

    /// Forgets everything from `size` on.
    pub(crate) fn cut(&mut self, size: u64) {
        self.list.retain(|range| range.0 < size);
        if let Some(last) = self.list.last_mut() {
            last.1 = last.1.min(size);
        }
    }

    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Splits `[start, end)` into parts and whether each was written, in order; none where it is
    /// empty.
    pub(crate) fn parts(&self, start: u64, end: u64) -> Vec<(u64, u64, bool)> {
        let mut parts = Vec::new();
        if start >= end {
            return parts;
        }
        let mut at = start;
        let from = self.list.partition_point(|range| range.1 <= start);
        for &(first, last) in self.list.get(from..).unwrap_or_default() {
            if first >= end {
                break;
            }
            if at < first {
                parts.push((at, first, false));
                at = first;
            }
            let stop = last.min(end);
            parts.push((at, stop, true));
            at = stop;
        }
        if at < end {
            parts.push((at, end, false));
        }
        parts
    }
}
