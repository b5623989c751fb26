//! What was measured, for programs and for people.
