//! A bundle as a source.
