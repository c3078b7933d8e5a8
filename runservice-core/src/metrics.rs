//! What has a run service done since it was built? Counted, for operators.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$docs:meta])* $name:ident,)*) => {
        /// What a run service has done since it was built. Each process counts what it did itself.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Metrics {
            $($(#[$docs])* pub $name: u64,)*
        }

        /// The same, while it is being counted.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Metrics {
                Metrics { $($name: self.$name.get(),)* }
            }
        }

        impl Metrics {
            /// Every number with its name, such as an exporter wants them.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

metrics! {
    /// Runs that were created.
    runs_created,
    /// Tasks that were given to an executor.
    tasks_assigned,
    /// Tasks that were given up because nothing of their executor can be executing.
    tasks_lost,
    /// What the audit had to repair. Anything but 0 is a fault of this program.
    audit_repairs,
    /// Bytes of logs that executors sent, with those that were sent again.
    log_bytes_received,
    /// Objects that were deleted because nothing refers to them any more.
    objects_expired,
}
