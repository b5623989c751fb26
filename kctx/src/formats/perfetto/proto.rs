//! The few of Perfetto's messages that a trace here needs, with the field numbers of its published schema
//! (google/perfetto, protos/perfetto/trace). A trace is a sequence of [`TracePacket`]s, each as field 1.

/// `TracePacket.trusted_packet_sequence_id`: there is one writer.
pub const SEQUENCE: u32 = 1;

/// Clocks (protos/perfetto/common/builtin_clock.proto).
pub mod clock {
    /// `BUILTIN_CLOCK_REALTIME`
    pub const REALTIME: u32 = 1;
    /// `BUILTIN_CLOCK_MONOTONIC`
    pub const MONOTONIC: u32 = 3;
}

/// `TracePacket.SequenceFlags`
pub mod sequence_flags {
    /// `SEQ_INCREMENTAL_STATE_CLEARED`
    pub const CLEARED: u32 = 1;
    /// `SEQ_NEEDS_INCREMENTAL_STATE`
    pub const NEEDED: u32 = 2;
}

/// `TrackEvent.Type`
pub mod event_type {
    /// `TYPE_SLICE_BEGIN`
    pub const BEGIN: i32 = 1;
    /// `TYPE_SLICE_END`
    pub const END: i32 = 2;
    /// `TYPE_INSTANT`
    pub const INSTANT: i32 = 3;
}

/// `TrackDescriptor.ChildTracksOrdering.EXPLICIT`
pub const ORDERED_BY_RANK: i32 = 3;
/// `TrackDescriptor.SiblingMergeBehavior.SIBLING_MERGE_BEHAVIOR_NONE`
pub const NEVER_MERGED: i32 = 2;
/// `CounterDescriptor.Unit.UNIT_TIME_NS`
pub const UNIT_TIME_NS: i32 = 1;

/// trace_packet.proto
#[derive(Clone, PartialEq, prost::Message)]
pub struct TracePacket {
    /// When.
    #[prost(uint64, optional, tag = "8")]
    pub timestamp: Option<u64>,
    /// [`SEQUENCE`]
    #[prost(uint32, optional, tag = "10")]
    pub trusted_packet_sequence_id: Option<u32>,
    /// What later packets name by an id.
    #[prost(message, optional, tag = "12")]
    pub interned_data: Option<InternedData>,
    /// [`sequence_flags`]
    #[prost(uint32, optional, tag = "13")]
    pub sequence_flags: Option<u32>,
    /// For the packets that follow.
    #[prost(message, optional, tag = "59")]
    pub trace_packet_defaults: Option<TracePacketDefaults>,
    /// What it is.
    #[prost(oneof = "Data", tags = "6, 11, 60")]
    pub data: Option<Data>,
}

/// `TracePacket.data`
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Data {
    /// Two clocks read together.
    #[prost(message, tag = "6")]
    ClockSnapshot(ClockSnapshot),
    /// Something on a track.
    #[prost(message, tag = "11")]
    TrackEvent(TrackEvent),
    /// A track.
    #[prost(message, tag = "60")]
    TrackDescriptor(TrackDescriptor),
}

/// trace_packet_defaults.proto
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TracePacketDefaults {
    /// The clock of timestamps: [`clock`].
    #[prost(uint32, optional, tag = "58")]
    pub timestamp_clock_id: Option<u32>,
}

/// clock_snapshot.proto
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClockSnapshot {
    /// The clocks.
    #[prost(message, repeated, tag = "1")]
    pub clocks: Vec<Clock>,
    /// The clock of the trace.
    #[prost(int32, optional, tag = "2")]
    pub primary_trace_clock: Option<i32>,
}

/// `ClockSnapshot.Clock`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Clock {
    /// [`clock`]
    #[prost(uint32, optional, tag = "1")]
    pub clock_id: Option<u32>,
    /// Nanoseconds.
    #[prost(uint64, optional, tag = "2")]
    pub timestamp: Option<u64>,
}

/// track_event/track_descriptor.proto
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrackDescriptor {
    /// Its id.
    #[prost(uint64, optional, tag = "1")]
    pub uuid: Option<u64>,
    /// Its name; one of a oneof in the schema.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    /// The track that it is shown under.
    #[prost(uint64, optional, tag = "5")]
    pub parent_uuid: Option<u64>,
    /// It is a counter.
    #[prost(message, optional, tag = "8")]
    pub counter: Option<CounterDescriptor>,
    /// How its children are ordered: [`ORDERED_BY_RANK`].
    #[prost(int32, optional, tag = "11")]
    pub child_ordering: Option<i32>,
    /// Where it stands among its siblings.
    #[prost(int32, optional, tag = "12")]
    pub sibling_order_rank: Option<i32>,
    /// [`NEVER_MERGED`]
    #[prost(int32, optional, tag = "15")]
    pub sibling_merge_behavior: Option<i32>,
}

/// track_event/counter_descriptor.proto
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CounterDescriptor {
    /// [`UNIT_TIME_NS`]
    #[prost(int32, optional, tag = "3")]
    pub unit: Option<i32>,
    /// Counters of this key have one scale.
    #[prost(string, optional, tag = "7")]
    pub y_axis_share_key: Option<String>,
}

/// track_event/track_event.proto
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrackEvent {
    /// Interned categories.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub category_iids: Vec<u64>,
    /// What is known of it.
    #[prost(message, repeated, tag = "4")]
    pub debug_annotations: Vec<DebugAnnotation>,
    /// [`event_type`]
    #[prost(int32, optional, tag = "9")]
    pub kind: Option<i32>,
    /// Its interned name; one of a oneof in the schema.
    #[prost(uint64, optional, tag = "10")]
    pub name_iid: Option<u64>,
    /// Its track.
    #[prost(uint64, optional, tag = "11")]
    pub track_uuid: Option<u64>,
    /// Values of [`TrackEvent::extra_counter_track_uuids`].
    #[prost(int64, repeated, packed = "false", tag = "12")]
    pub extra_counter_values: Vec<i64>,
    /// Counters that change with it.
    #[prost(uint64, repeated, packed = "false", tag = "31")]
    pub extra_counter_track_uuids: Vec<u64>,
    /// Flows that begin here.
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    pub flow_ids: Vec<u64>,
    /// Flows that end here.
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    pub terminating_flow_ids: Vec<u64>,
}

/// track_event/debug_annotation.proto
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DebugAnnotation {
    /// Its interned name.
    #[prost(uint64, optional, tag = "1")]
    pub name_iid: Option<u64>,
    /// Its value.
    #[prost(oneof = "Value", tags = "2, 3, 4, 6, 17")]
    pub value: Option<Value>,
}

/// `DebugAnnotation.value`
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Value {
    /// Yes or no.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A number.
    #[prost(uint64, tag = "3")]
    Uint(u64),
    /// A number that may be below 0.
    #[prost(int64, tag = "4")]
    Int(i64),
    /// A text that does not come again.
    #[prost(string, tag = "6")]
    Text(String),
    /// An interned text.
    #[prost(uint64, tag = "17")]
    Interned(u64),
}

/// interned_data/interned_data.proto
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InternedData {
    /// Categories.
    #[prost(message, repeated, tag = "1")]
    pub event_categories: Vec<Interned>,
    /// Names of events.
    #[prost(message, repeated, tag = "2")]
    pub event_names: Vec<Interned>,
    /// Names of annotations.
    #[prost(message, repeated, tag = "3")]
    pub debug_annotation_names: Vec<Interned>,
    /// Values of annotations.
    #[prost(message, repeated, tag = "29")]
    pub debug_annotation_string_values: Vec<Interned>,
}

/// `EventCategory`, `EventName`, `DebugAnnotationName`; and `InternedString`, whose text is bytes, which look the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Interned {
    /// Its id; never 0.
    #[prost(uint64, optional, tag = "1")]
    pub iid: Option<u64>,
    /// The text.
    #[prost(string, optional, tag = "2")]
    pub text: Option<String>,
}
