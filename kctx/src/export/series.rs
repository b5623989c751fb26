//! The series of one metric: one value per attribute set, each with its start time.
//!
//! A series may end: its device or CPU is gone, or the state that it tells of no longer holds. It then has no more points,
//! but its value and its start are kept, so that it goes on where it was if it comes back: to a backend that knows no start
//! times, a count that began anew could look like one that stood still.

use std::collections::BTreeMap;

use super::attributes::Attributes;

/// An ended series is forgotten no sooner than so long after its end, and only where its place is needed: until then
/// every export had the time to say that it ended.
const KEPT_NS: u64 = 600_000_000_000;

/// One value and since when it counts.
#[derive(Clone, Debug)]
pub struct Series<T> {
    /// Nanoseconds since the Unix epoch; constant for the life of the series.
    pub start_unix_ns: u64,
    /// The value since then.
    pub value: T,
    /// The window in which it last changed began then.
    changed_unix_ns: u64,
    /// When it ended, if it did.
    ended_unix_ns: Option<u64>,
}

/// All series of one metric, at most `limit`.
///
/// What comes when all are taken goes into the overflow series; earlier keys keep theirs.
#[derive(Clone, Debug)]
pub struct SeriesSet<T> {
    series: BTreeMap<Attributes, Series<T>>,
    /// How many of them have ended.
    ended: usize,
    limit: usize,
    wanted: bool,
}

/// Without room for any: [`SeriesSet::allow`] makes it.
impl<T> Default for SeriesSet<T> {
    fn default() -> Self {
        Self {
            series: BTreeMap::new(),
            ended: 0,
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

    /// These are the states now, in a window that began at `start_unix_ns`; those of other attributes end.
    pub fn replace(
        &mut self,
        states: Vec<(Attributes, u64)>,
        start_unix_ns: u64,
        now_unix_ns: u64,
    ) {
        self.end_where(now_unix_ns, |attributes, _| {
            states.iter().all(|(known, _)| known != attributes)
        });
        for (attributes, value) in states {
            self.set(attributes, start_unix_ns, value);
        }
    }
}

impl<T> SeriesSet<T> {
    /// Takes at most `limit` series from now on; none at all where they are not `wanted`.
    pub fn allow(&mut self, limit: usize, wanted: bool) {
        self.limit = limit.max(2);
        self.wanted = wanted;
    }

    /// Changes the value of `attributes`, or that of the overflow series when the limit is reached, in a window that
    /// began at `start_unix_ns`. A new one counts from there; one that had ended goes on.
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
        let attributes = if full && !self.forget_one(start_unix_ns) {
            Attributes::overflow()
        } else {
            attributes
        };
        let series = self.series.entry(attributes).or_insert_with(|| Series {
            start_unix_ns,
            value: new(),
            changed_unix_ns: start_unix_ns,
            ended_unix_ns: None,
        });
        if series.ended_unix_ns.take().is_some() {
            self.ended -= 1;
        }
        series.changed_unix_ns = series.changed_unix_ns.max(start_unix_ns);
        change(&mut series.value);
    }

    /// Makes room, if there is a series that ended long before `now_unix_ns`: the one that did so first.
    fn forget_one(&mut self, now_unix_ns: u64) -> bool {
        if self.ended == 0 {
            return false;
        }
        let ended = self.series.iter().filter_map(|(attributes, series)| {
            let at = series.ended_unix_ns?;
            (at.saturating_add(KEPT_NS) <= now_unix_ns).then_some((at, attributes))
        });
        let Some(first) = ended.min().map(|(_, attributes)| attributes.clone()) else {
            return false;
        };
        self.series.remove(&first);
        self.ended -= 1;
        true
    }

    /// Ends those that `is_over` says of, by their attributes and when they last changed.
    pub fn end_where(&mut self, now_unix_ns: u64, is_over: impl Fn(&Attributes, u64) -> bool) {
        for (attributes, series) in &mut self.series {
            if series.ended_unix_ns.is_none() && is_over(attributes, series.changed_unix_ns) {
                series.ended_unix_ns = Some(now_unix_ns);
                self.ended += 1;
            }
        }
    }

    /// Those that ended after `sent_unix_ns`, and were there then.
    pub fn ended_after(
        &self,
        sent_unix_ns: u64,
    ) -> impl Iterator<Item = (&Attributes, &Series<T>)> {
        self.series.iter().filter(move |(_, series)| {
            let ended = series.ended_unix_ns.is_some_and(|at| at > sent_unix_ns);
            ended && series.start_unix_ns < sent_unix_ns
        })
    }

    /// All series that did not end, in the order of their attributes.
    pub fn iter(&self) -> impl Iterator<Item = (&Attributes, &Series<T>)> {
        (self.series.iter()).filter(|(_, series)| series.ended_unix_ns.is_none())
    }

    /// Forgets everything, when the clock makes all start times void.
    pub fn clear(&mut self) {
        self.series.clear();
        self.ended = 0;
    }

    /// How many series there are that did not end.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len() - self.ended
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

    #[test]
    fn what_ended_has_no_point_and_goes_on_where_it_was() {
        let mut set = SeriesSet::default();
        set.allow(10, true);
        set.set(key(1), 1, 5);
        set.set(key(2), 3, 7);
        // By when it changed.
        set.end_where(4, |_, changed| changed < 2);
        assert_eq!((set.len(), set.iter().count()), (1, 1));
        let ended = |set: &SeriesSet<u64>, sent| {
            let ended = set.ended_after(sent).map(|(key, _)| key.clone());
            ended.collect::<Vec<_>>()
        };
        assert_eq!(ended(&set, 2), [key(1)]);
        assert_eq!(ended(&set, 4), [], "it was said");
        assert_eq!(ended(&set, 1), [], "it was never sent");
        set.change(key(1), 9, || 0, |n| *n += 1);
        let (_, back) = set.iter().next().unwrap();
        assert_eq!((set.len(), back.value, back.start_unix_ns), (2, 6, 1));
        set.replace(vec![(key(2), 8)], 10, 11);
        assert_eq!((set.len(), ended(&set, 9)), (1, vec![key(1)]));
    }

    #[test]
    fn what_ended_long_ago_makes_room() {
        let mut set = SeriesSet::default();
        set.allow(4, true);
        (1..=3).for_each(|number| set.set(key(number), 1, 1));
        set.end_where(2, |attributes, _| *attributes != key(1));
        set.set(key(4), 3, 1);
        assert_eq!(
            set.iter().last().unwrap().0,
            &Attributes::overflow(),
            "not yet"
        );
        let mut later = SeriesSet::default();
        later.allow(4, true);
        (1..=3).for_each(|number| later.set(key(number), 1, 1));
        later.end_where(2, |attributes, _| *attributes == key(3));
        later.end_where(3, |attributes, _| *attributes == key(2));
        for number in 4..=6 {
            later.set(key(number), 3 + KEPT_NS, 1);
        }
        let kept: Vec<_> = later
            .iter()
            .map(|(attributes, _)| attributes.clone())
            .collect();
        assert_eq!(kept, [key(1), key(4), key(5), Attributes::overflow()]);
    }
}
