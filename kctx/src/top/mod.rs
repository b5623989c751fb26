//! `kctx top`: the windows of `kctx run` on a terminal, to look around in.
//!
//! [`Model`] is what is looked at: pure, events in, state out. `view` draws it, as pure: a model to a buffer. All
//! effects are at the rim: `screen` owns the terminal, `input` reads its keys, `session` runs the pipeline.

mod detail;
mod happened;
mod history;
mod input;
pub mod keys;
mod model;
mod palette;
mod rows;
mod screen;
mod session;
mod signals;
mod stderr;
mod table;
mod value;
mod view;

pub use history::{Frame, HISTORY_WINDOWS, History};
pub use model::{Event, Model, Outcome};
pub use palette::Palette;
pub use screen::{NoTerminal, Screen, check_terminal};
#[cfg(kctx_live)]
pub use session::run_live;
pub use session::run_recorded;
pub use view::draw;
