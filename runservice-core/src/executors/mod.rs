//! Which executors are there, and what are they told?

mod sessions;
mod spec;
mod view;

pub(crate) use sessions::{Sessions, Standing};
pub(crate) use spec::task_spec;
pub(crate) use view::view;
