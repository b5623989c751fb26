//! Perfetto's trace: a track for each CPU and context, an event for each record.
//!
//! - Slices of one track never overlap: what does (works that sleep, handlers that call handlers) goes to a further track
//!   of the same name (`tracks`).
//! - What raised a softirq is a flow from the slice in which it was raised, where that slice is known (`raisers`).
//! - Texts are interned, and forgotten when there are many of them (`intern`).
//! - Timestamps are `CLOCK_MONOTONIC`; clock snapshots tie them to the wall clock at each window's edges.

mod events;
mod intern;
pub mod proto;
mod raisers;
mod tracks;

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use prost::Message as _;

use self::{
    events::{Annotated, Slice, instant_of, slice_of},
    intern::Texts,
    proto::{
        Clock, ClockSnapshot, Data, SEQUENCE, TracePacket, TracePacketDefaults, TrackEvent, clock,
        event_type, sequence_flags,
    },
    raisers::{Held, Raisers},
    tracks::{Context, Tracks},
};
use super::{LeftOut, Line, Writer};

/// Writes a trace.
pub struct Perfetto<'a> {
    out: Box<dyn Write + 'a>,
    buffer: Vec<u8>,
    texts: Texts,
    tracks: Tracks,
    raisers: BTreeMap<u32, Raisers>,
    next_flow: u64,
    left_out: LeftOut,
}

impl<'a> Perfetto<'a> {
    /// Onto `out`, which should be buffered.
    #[must_use]
    pub fn new(out: Box<dyn Write + 'a>) -> Self {
        Self {
            out,
            buffer: Vec::new(),
            texts: Texts::default(),
            tracks: Tracks::default(),
            raisers: BTreeMap::new(),
            next_flow: 1,
            left_out: LeftOut::default(),
        }
    }

    /// A slice that may have raised something, and may have been raised.
    fn held(&mut self, mut slice: Slice) -> io::Result<()> {
        let raisers = self.raisers.entry(slice.cpu).or_default();
        if let Some(raised) = &slice.raised
            && raisers.flow_from(raised, self.next_flow)
        {
            slice.ends_flow = Some(self.next_flow);
            self.next_flow += 1;
        }
        match raisers.hold(slice) {
            Some(held) => self.slice(held),
            None => Ok(()),
        }
    }

    /// All that is held: before the clock may have been set, and in the end.
    fn release(&mut self) -> io::Result<()> {
        for raisers in std::mem::take(&mut self.raisers).into_values() {
            for held in raisers.into_held() {
                self.slice(held)?;
            }
        }
        Ok(())
    }

    fn slice(&mut self, held: Held) -> io::Result<()> {
        let Held { slice, flows } = held;
        let (track, described) =
            self.tracks
                .place(slice.cpu, slice.context, slice.start_ns, slice.end_ns);
        for descriptor in described {
            self.put(None, Data::TrackDescriptor(descriptor))?;
        }
        let Some(track) = track else {
            self.left_out.slices += 1;
            return Ok(());
        };
        let counter = match slice.wait {
            Some((vector, wait_ns)) => {
                let (uuid, described) = self.tracks.wait_counter(slice.cpu, vector);
                for descriptor in described {
                    self.put(None, Data::TrackDescriptor(descriptor))?;
                }
                Some((uuid, wait_ns))
            }
            None => None,
        };
        let begin = TrackEvent {
            kind: Some(event_type::BEGIN),
            track_uuid: Some(track),
            extra_counter_track_uuids: counter.iter().map(|(uuid, _)| *uuid).collect(),
            extra_counter_values: counter
                .iter()
                .map(|(_, ns)| i64::try_from(*ns).unwrap_or(i64::MAX))
                .collect(),
            flow_ids: flows,
            terminating_flow_ids: slice.ends_flow.into_iter().collect(),
            ..TrackEvent::default()
        };
        self.event(slice.start_ns, begin, slice.context.category(), &slice.said)?;
        let end = TrackEvent {
            kind: Some(event_type::END),
            track_uuid: Some(track),
            ..TrackEvent::default()
        };
        self.put(Some(slice.end_ns), Data::TrackEvent(end))
    }

    fn event(
        &mut self,
        at_ns: u64,
        mut event: TrackEvent,
        category: &str,
        said: &Annotated,
    ) -> io::Result<()> {
        if self.texts.are_too_many() {
            self.forget_texts()?;
        }
        event.category_iids = vec![self.texts.category(category)];
        event.name_iid = Some(self.texts.event(&said.name));
        event.debug_annotations = said.annotations(&mut self.texts);
        self.put(Some(at_ns), Data::TrackEvent(event))
    }

    /// What was interned is no longer: a packet says so, and the defaults anew.
    fn forget_texts(&mut self) -> io::Result<()> {
        self.texts = Texts::default();
        self.packet(&TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(sequence_flags::CLEARED),
            trace_packet_defaults: Some(TracePacketDefaults {
                timestamp_clock_id: Some(clock::MONOTONIC),
            }),
            ..TracePacket::default()
        })
    }

    fn clocks(&mut self, monotonic_ns: u64, unix_ns: u64) -> io::Result<()> {
        let of = |clock_id, timestamp| Clock {
            clock_id: Some(clock_id),
            timestamp: Some(timestamp),
        };
        let snapshot = ClockSnapshot {
            clocks: vec![
                of(clock::MONOTONIC, monotonic_ns),
                of(clock::REALTIME, unix_ns),
            ],
            primary_trace_clock: Some(clock::MONOTONIC.cast_signed()),
        };
        self.put(None, Data::ClockSnapshot(snapshot))
    }

    fn put(&mut self, at_ns: Option<u64>, data: Data) -> io::Result<()> {
        let packet = TracePacket {
            timestamp: at_ns,
            trusted_packet_sequence_id: Some(SEQUENCE),
            interned_data: self.texts.take_new(),
            sequence_flags: Some(sequence_flags::NEEDED),
            trace_packet_defaults: None,
            data: Some(data),
        };
        self.packet(&packet)
    }

    /// `Trace.packet`, the only field of the file's message.
    fn packet(&mut self, packet: &TracePacket) -> io::Result<()> {
        self.buffer.clear();
        prost::encoding::message::encode(1, packet, &mut self.buffer);
        debug_assert!(packet.encoded_len() < self.buffer.len());
        self.out.write_all(&self.buffer)
    }
}

impl Writer for Perfetto<'_> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        match line {
            Line::Start {
                monotonic_ns,
                unix_ns,
                ..
            } => {
                self.forget_texts()?;
                return self.clocks(*monotonic_ns, *unix_ns);
            }
            Line::WindowEnd {
                monotonic_ns,
                unix_ns,
                ..
            } => {
                self.release()?;
                return self.clocks(*monotonic_ns, *unix_ns);
            }
            _ => {}
        }
        if let Some(slice) = slice_of(line) {
            return match slice.context {
                Context::Interrupts | Context::Softirqs | Context::Ksoftirqd => self.held(slice),
                _ => {
                    let flows = Vec::new();
                    self.slice(Held { slice, flows })
                }
            };
        }
        if let Some(instant) = instant_of(line) {
            let (track, described) = self.tracks.of_instants(instant.cpu, instant.context);
            for descriptor in described {
                self.put(None, Data::TrackDescriptor(descriptor))?;
            }
            let event = TrackEvent {
                kind: Some(event_type::INSTANT),
                track_uuid: Some(track),
                ..TrackEvent::default()
            };
            let category = instant.context.category();
            return self.event(instant.time_ns, event, category, &instant.said);
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<LeftOut> {
        self.release()?;
        self.out.flush()?;
        Ok(self.left_out)
    }
}
