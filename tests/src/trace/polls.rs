//! NAPI polls.

use std::ops::Range;

use super::Event;

/// NAPI polls, by the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polls {
    /// How many.
    pub polls: u64,
    /// Packets in all.
    pub packets: u64,
    /// Polls that used their budget up.
    pub exhausted: u64,
}

/// What the events of `napi/napi_poll` say.
#[must_use]
pub fn polls(events: &[Event], window: &Range<u64>) -> Polls {
    let mut all = Polls::default();
    for event in events {
        let number = |key| event.field(key).and_then(|word| word.parse::<u64>().ok());
        let (Some(work), Some(budget)) = (number(" work "), number(" budget ")) else {
            continue;
        };
        if window.contains(&event.time_ns) {
            all.polls += 1;
            all.packets += work;
            all.exhausted += u64::from(budget > 0 && work >= budget);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{super::tests::event, *};

    #[test]
    fn a_poll_with_as_many_packets_as_it_may_have_has_used_its_budget_up() -> Result<()> {
        let lines = [
            "x-1 [000] ..s1. 1.000001: napi_poll: napi poll on napi struct 00ab for device lo work 64 budget 64",
            "x-1 [000] ..s1. 1.000002: napi_poll: napi poll on napi struct 00ab for device lo work 3 budget 64",
            "x-1 [000] ..s1. 1.000003: napi_poll: napi poll on napi struct 00ab for device lo work 0 budget 0",
        ];
        let events: Vec<Event> = lines.into_iter().map(event).collect::<Result<_>>()?;
        let expected = Polls {
            polls: 3,
            packets: 67,
            exhausted: 1,
        };
        assert_eq!(polls(&events, &(0..u64::MAX)), expected);
        Ok(())
    }
}
