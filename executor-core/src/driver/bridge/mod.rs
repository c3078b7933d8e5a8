//! How does an executor reach into a pod in which it can do nothing but start programs?
//!
//! It starts one, the `bridge` of the toolbox, and keeps the streams to it. What else it wants of the pod goes over these
//! streams: a further step costs no call of whatever engine the pod is of. A driver says how a bridge is started
//! ([`Dial`]); everything else is here ([`BridgedPod`]), for drivers of your own too.

mod attachment;
mod connection;
mod pod;
mod pool;
#[cfg(test)]
mod tests;
mod toolbox;

pub use connection::Streams;
pub use pod::BridgedPod;
pub use pool::Dial;
