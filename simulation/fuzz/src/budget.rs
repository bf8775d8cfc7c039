//! What an input may cost: bytes held at once, allocations, and work, none of them by the clock on the wall.
//!
//! Allocations are counted by the process' allocator, on this thread alone. Work is the thread's own processor time, told in units of
//! an honest input's, so that a slow or busy machine judges as a fast one does; what seems dear is measured again before it counts.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use nix::time::{ClockId, clock_gettime};

use crate::Failure;

/// Allowances of one reader.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes held at once: so many for each byte of input …
    pub peak_per_byte: u64,
    /// … and so many in any case.
    pub peak_bytes: u64,
    /// Allocations for each byte of input, and in any case.
    pub allocations_per_byte: u64,
    pub allocations: u64,
    /// Processor time in nanoseconds: what [`Budget::calibrated`] found, times its factor; 0 before.
    pub work_ns: u64,
}

/// What one call cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub peak_bytes: u64,
    pub allocations: u64,
    pub work_ns: u64,
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the message of a panic within [`caught`] and does not print it: the trace of one holds more than most inputs.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                PANIC.with_borrow_mut(|message| *message = info.to_string());
            } else {
                loud(info);
            }
        }));
    });
}

/// What `run` gives, or the failure that it panicked.
pub fn caught<T>(claim: &'static str, run: impl FnOnce() -> T) -> Result<T, Failure> {
    let outer = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(outer);
    result.map_err(|_| Failure::new(claim, PANIC.with_borrow_mut(std::mem::take)))
}

/// Runs, counts, and catches a panic.
pub fn measured<T>(claim: &'static str, run: impl FnOnce() -> T) -> Result<(T, Cost), Failure> {
    let mut result = None;
    let before = thread_ns();
    let counted = allocation_counter::measure(|| result = Some(caught(claim, run)));
    let work_ns = thread_ns().saturating_sub(before);
    let cost = Cost {
        peak_bytes: counted.bytes_max,
        allocations: counted.count_total,
        work_ns,
    };
    result
        .unwrap_or_else(|| Err(Failure::new(claim, "nothing came back".into())))
        .map(|value| (value, cost))
}

fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    now.unsigned_abs()
}

impl Budget {
    /// With a work allowance of `factor` times what `honest` costs.
    #[must_use]
    pub fn calibrated<T>(self, factor: u64, honest: impl Fn() -> T) -> Self {
        let best = (0..7)
            .filter_map(|_| Some(measured("an honest input", &honest).ok()?.1.work_ns))
            .min();
        Self {
            work_ns: best.unwrap_or(0) * factor,
            ..self
        }
    }

    /// Runs within the budget, or says what was exceeded.
    pub fn spend<T>(
        &self,
        claim: &'static str,
        input_bytes: usize,
        run: impl Fn() -> T,
    ) -> Result<(T, Cost), Failure> {
        let (value, mut cost) = measured(claim, &run)?;
        let length = input_bytes as u64;
        let over = |what: &str, used: u64, allowed: u64| {
            Failure::new(
                claim,
                format!("{what}: {used} of {allowed} allowed for {length} bytes of input"),
            )
        };
        let peak = self.peak_bytes + self.peak_per_byte * length;
        if cost.peak_bytes > peak {
            return Err(over("bytes held at once", cost.peak_bytes, peak));
        }
        let allocations = self.allocations + self.allocations_per_byte * length;
        if cost.allocations > allocations {
            return Err(over("allocations", cost.allocations, allocations));
        }
        for _ in 0..5 {
            if self.work_ns == 0 || cost.work_ns <= self.work_ns {
                return Ok((value, cost));
            }
            // A cold cache or an interrupt, most likely.
            cost.work_ns = cost.work_ns.min(measured(claim, &run)?.1.work_ns);
        }
        Err(over("nanoseconds of work", cost.work_ns, self.work_ns))
    }
}
