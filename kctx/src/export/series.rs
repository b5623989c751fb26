//! The series of one metric: one value per attribute set, each with its start time, none ever evicted.

use std::collections::BTreeMap;

use super::attributes::Attributes;

/// One value and since when it counts.
#[derive(Clone, Debug)]
pub struct Series<T> {
    /// Nanoseconds since the Unix epoch; constant for the life of the series.
    pub start_unix_ns: u64,
    /// The value since then.
    pub value: T,
}

/// All series of one metric, at most `limit`.
///
/// A series is never evicted: reborn, it would need a new start, and until then backends would see its
/// count fall. What comes when all are taken goes into the overflow series; earlier keys keep theirs.
#[derive(Clone, Debug)]
pub struct SeriesSet<T> {
    series: BTreeMap<Attributes, Series<T>>,
    limit: usize,
    wanted: bool,
}

/// Without room for any: [`SeriesSet::allow`] makes it.
impl<T> Default for SeriesSet<T> {
    fn default() -> Self {
        Self {
            series: BTreeMap::new(),
            limit: 0,
            wanted: false,
        }
    }
}

impl SeriesSet<u64> {
    /// Sets the value of `attributes`: a state.
    pub fn set(&mut self, attributes: Attributes, start_unix_ns: u64, value: u64) {
        self.change(attributes, start_unix_ns, || 0, |known| *known = value);
    }
}

impl<T> SeriesSet<T> {
    /// Takes at most `limit` series from now on; none at all where they are not `wanted`.
    pub fn allow(&mut self, limit: usize, wanted: bool) {
        self.limit = limit.max(2);
        self.wanted = wanted;
    }

    /// Changes the value of `attributes`, or that of the overflow series when the limit is reached. A new one counts
    /// from `start_unix_ns`.
    pub fn change(
        &mut self,
        attributes: Attributes,
        start_unix_ns: u64,
        new: impl FnOnce() -> T,
        change: impl FnOnce(&mut T),
    ) {
        if !self.wanted {
            return;
        }
        // One place is kept for the overflow series itself.
        let full = self.series.len() >= self.limit - 1 && !self.series.contains_key(&attributes);
        let attributes = if full {
            Attributes::overflow()
        } else {
            attributes
        };
        let series = self.series.entry(attributes).or_insert_with(|| Series {
            start_unix_ns,
            value: new(),
        });
        change(&mut series.value);
    }

    /// All series, in the order of their attributes.
    pub fn iter(&self) -> impl Iterator<Item = (&Attributes, &Series<T>)> {
        self.series.iter()
    }

    /// Drops those for which `keep` is false: for states, which a counter is not.
    pub fn retain(&mut self, mut keep: impl FnMut(&Attributes) -> bool) {
        self.series.retain(|attributes, _| keep(attributes));
    }

    /// Forgets everything, when the clock makes all start times void.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Attributes {
        Attributes::new().with("k", number)
    }

    #[test]
    fn over_the_limit_goes_to_the_overflow_series_and_nothing_is_lost() {
        let mut set = SeriesSet::default();
        set.allow(4, true);
        for round in 1..=3_u64 {
            for number in 0..10 {
                set.change(key(number), round, || 0, |n| *n += 1);
            }
        }
        assert_eq!(set.len(), 4);
        assert_eq!(set.iter().map(|(_, series)| series.value).sum::<u64>(), 30);
        let overflow = set.iter().find(|(key, _)| **key == Attributes::overflow());
        assert_eq!(overflow.unwrap().1.value, 21);
        assert!(set.iter().all(|(_, series)| series.start_unix_ns == 1));
    }

    #[test]
    fn what_is_not_wanted_is_not_kept() {
        let mut set = SeriesSet::default();
        set.allow(4, false);
        set.set(key(1), 1, 1);
        assert!(set.is_empty());
    }
}
