//! Values that are made when they are first asked for.

use std::sync::{Mutex, OnceLock, PoisonError};

/// A value that takes seconds and much memory to make, and may fail to be made. Whoever asks while it is being made waits for it; a failure is told to the one who
/// met it and is not kept, so that the next one tries again.
#[derive(Debug)]
pub(crate) struct Lazy<T> {
    value: OnceLock<T>,
    making: Mutex<()>,
}

impl<T> Lazy<T> {
    /// Not made yet.
    pub(crate) const fn new() -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(()) }
    }

    /// Made already.
    pub(crate) fn ready(value: T) -> Self {
        Self { value: OnceLock::from(value), making: Mutex::new(()) }
    }

    /// The value, if it was made.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, made now if it was not before. A maker that panicked has made nothing, so its lock is taken over.
    pub(crate) fn get_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(ready) = self.value.get() {
            return Ok(ready);
        }
        // Held until the value is in its place, so that nobody makes a second one.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = self.value.get() {
            return Ok(ready);
        }
        let made = make()?;
        Ok(self.value.get_or_init(|| made))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;

    #[test]
    fn many_ask_at_once_and_one_makes() {
        let (lazy, made, begin) = (Lazy::new(), AtomicUsize::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    begin.wait();
                    let value = lazy.get_or_make(|| {
                        made.fetch_add(1, Ordering::Relaxed);
                        // The others come to the lock meanwhile, as far as the scheduler has them run.
                        (0..100).for_each(|_| thread::yield_now());
                        Ok::<_, ()>(7)
                    });
                    assert_eq!(value, Ok(&7));
                });
            }
        });
        assert_eq!((made.into_inner(), lazy.get()), (1, Some(&7)));
    }

    #[test]
    fn a_failure_is_told_and_not_kept() {
        let lazy = Lazy::new();
        assert_eq!(lazy.get_or_make(|| Err::<u8, _>("the disk")), Err("the disk"));
        assert_eq!(lazy.get(), None);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _: Result<&u8, ()> = lazy.get_or_make(|| panic!("a bug"));
        }));
        assert!(panicked.is_err());
        assert_eq!(lazy.get_or_make(|| Ok::<_, &str>(3)), Ok(&3));
        assert_eq!(lazy.get_or_make(|| Err("not asked again")), Ok(&3));
        assert_eq!(Lazy::ready(4).get_or_make(|| Err("not asked at all")), Ok(&4));
    }
}
