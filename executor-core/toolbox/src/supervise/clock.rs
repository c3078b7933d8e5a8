//! What time is it, for code that blocks and has no runtime whose clock a test could pause?

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "the toolbox is a program of its own, without a runtime")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the toolbox is a program of its own, without a runtime")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}
