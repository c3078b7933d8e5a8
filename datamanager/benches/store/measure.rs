//! How is a cost measured and told?
#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one only counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    sync::atomic::{AtomicBool, AtomicIsize, Ordering},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;

const MIB: f64 = (1 << 20) as f64;

/// Wall time, and the processor time of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// The moment from which a cost is measured.
#[derive(Clone, Copy)]
pub(crate) struct Start(Instant, Duration);

impl Start {
    pub(crate) fn now() -> Self {
        Self(now(), cpu())
    }

    pub(crate) fn cost(self) -> Cost {
        Cost { wall: self.0.elapsed(), cpu: cpu() - self.1 }
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// How busy the machine is.
pub(crate) fn load() -> Outcome<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.trim().to_owned())
}

pub(crate) fn row(name: &str, figure: String, remark: &str) {
    println!("{name:46} {figure:>16}   {remark}");
}

pub(crate) fn compared(figure: f64, unit: &str, is_met: impl Fn(f64) -> bool, target: &str) -> String {
    let verdict = if is_met(figure) { "met" } else { "MISSED" };
    format!("{figure:.2} {unit} ({target}: {verdict})")
}

pub(crate) fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

pub(crate) fn mib(bytes: isize) -> f64 {
    bytes as f64 / MIB
}

/// Megabytes in a second, of a million bytes each.
pub(crate) fn megabytes(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

pub(crate) fn percentile<T: PartialOrd + Copy>(series: &mut [T], percent: usize) -> T {
    series.sort_by(|one, other| one.partial_cmp(other).expect("figures are numbers"));
    series[(series.len() * percent / 100).min(series.len() - 1)]
}

pub(crate) fn median<T: PartialOrd + Copy>(series: &mut [T]) -> T {
    percentile(series, 50)
}

/// Counts, once it is told to: the parts that measure time do not pay for it.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// Counts from now on; what was there before counts when it is freed.
pub(crate) fn count_memory() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// The bytes that are allocated, since the count began.
pub(crate) fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

/// Forgets the peak.
pub(crate) fn reset_peak() {
    PEAK.store(live(), Ordering::Relaxed);
}

/// How many bytes were allocated at most since the peak was reset.
pub(crate) fn peak() -> isize {
    PEAK.load(Ordering::Relaxed)
}

fn count(bytes: isize) {
    if COUNTS.load(Ordering::Relaxed) {
        let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if bytes > 0 {
            PEAK.fetch_max(live, Ordering::Relaxed);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are those of the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}
