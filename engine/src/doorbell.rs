//! A [`Doorbell`] wakes a parked worker from another thread, at most once per arming.
//!
//! A busy worker costs the ringer one atomic load. The worker arms the bell and then looks once
//! more for work before it goes to sleep; a ring between the two finds the bell armed, so no
//! wake-up is lost.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

/// Wakes one operator of one worker. Clones ring the same bell.
#[derive(Clone, Default)]
pub struct Doorbell(Arc<Inner>);

type Wake = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Inner {
    armed: AtomicBool,
    wake: OnceLock<Wake>,
}

impl Doorbell {
    /// Says what ringing does; called once, by the worker that will be woken.
    pub fn connect(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second call could only come from building one dataflow twice, which nothing does.
        let _ = self.0.wake.set(Box::new(wake));
    }

    /// Arms the bell: the next ring wakes.
    pub fn arm(&self) {
        self.0.armed.store(true, SeqCst);
    }

    /// Wakes the worker if its bell is armed.
    pub fn ring(&self) {
        if self.0.armed.load(SeqCst)
            && self.0.armed.swap(false, SeqCst)
            && let Some(wake) = self.0.wake.get()
        {
            wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_bell_wakes_once_per_arming() {
        static RUNG: AtomicUsize = AtomicUsize::new(0);
        let bell = Doorbell::default();
        bell.connect(|| _ = RUNG.fetch_add(1, SeqCst));
        bell.ring();
        assert_eq!(RUNG.load(SeqCst), 0, "not armed");
        bell.arm();
        bell.ring();
        bell.ring();
        assert_eq!(RUNG.load(SeqCst), 1);
    }
}
