//! Where the series of a metric are in the state, and what their values are.

use crate::export::cumulative::Cumulative;
use crate::export::exponential::ExponentialHistogram;
use crate::export::series::SeriesSet;

type Histograms = SeriesSet<ExponentialHistogram>;
type Numbers = SeriesSet<u64>;

/// A field of the state: how to read it and how to change it.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Histograms of durations.
    Durations(
        fn(&Cumulative) -> &Histograms,
        fn(&mut Cumulative) -> &mut Histograms,
    ),
    /// Whole numbers.
    Count(
        fn(&Cumulative) -> &Numbers,
        fn(&mut Cumulative) -> &mut Numbers,
    ),
    /// Nanoseconds that are handed out in seconds.
    Seconds(
        fn(&Cumulative) -> &Numbers,
        fn(&mut Cumulative) -> &mut Numbers,
    ),
    /// Millionths that are handed out as a part of one.
    Millionths(
        fn(&Cumulative) -> &Numbers,
        fn(&mut Cumulative) -> &mut Numbers,
    ),
}

/// The series of a metric, by what their values are.
#[derive(Clone, Copy, Debug)]
pub enum SeriesOf<'a> {
    /// Histograms of durations.
    Durations(&'a Histograms),
    /// Whole numbers.
    Count(&'a Numbers),
    /// Nanoseconds that are handed out in seconds.
    Seconds(&'a Numbers),
    /// Millionths that are handed out as a part of one.
    Millionths(&'a Numbers),
}

/// The series of a metric, to be changed.
#[derive(Debug)]
pub enum SeriesMut<'a> {
    /// Histograms of durations.
    Durations(&'a mut Histograms),
    /// Numbers.
    Numbers(&'a mut Numbers),
}

impl Place {
    /// The series there.
    pub(super) fn of(self, state: &Cumulative) -> SeriesOf<'_> {
        match self {
            Self::Durations(read, _) => SeriesOf::Durations(read(state)),
            Self::Count(read, _) => SeriesOf::Count(read(state)),
            Self::Seconds(read, _) => SeriesOf::Seconds(read(state)),
            Self::Millionths(read, _) => SeriesOf::Millionths(read(state)),
        }
    }

    /// The series there, to be changed.
    pub(super) fn of_mut(self, state: &mut Cumulative) -> SeriesMut<'_> {
        match self {
            Self::Durations(_, change) => SeriesMut::Durations(change(state)),
            Self::Count(_, change) | Self::Seconds(_, change) | Self::Millionths(_, change) => {
                SeriesMut::Numbers(change(state))
            }
        }
    }
}

macro_rules! durations {
    ($field:ident) => {
        $crate::export::metric::Place::Durations(|state| &state.$field, |state| &mut state.$field)
    };
}

macro_rules! count {
    ($field:ident) => {
        $crate::export::metric::Place::Count(|state| &state.$field, |state| &mut state.$field)
    };
}

macro_rules! seconds {
    ($field:ident) => {
        $crate::export::metric::Place::Seconds(|state| &state.$field, |state| &mut state.$field)
    };
}

macro_rules! millionths {
    ($field:ident) => {
        $crate::export::metric::Place::Millionths(|state| &state.$field, |state| &mut state.$field)
    };
}
