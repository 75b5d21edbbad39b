//! A watch channel that wakes its receivers in the order in which they began to wait.
//!
//! tokio's spreads them over eight lists at random, from a source that no seed reaches: with it, two runs of one seed
//! part ways. Otherwise as openraft wants it; one thread, so one lock for everything.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openraft_rt::watch::{RecvError, SendError, WatchReceiver, WatchSender};
use openraft_rt::{OptionalSend, OptionalSync, Watch};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// The channel's type for `AsyncRuntime`.
pub struct FairWatch;

struct Slot<T> {
    value: T,
    version: u64,
}

struct Channel<T> {
    slot: RwLock<Slot<T>>,
    changed: Notify,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The sending half.
pub struct Sender<T>(Arc<Channel<T>>);

/// The receiving half, with the version that it has seen.
pub struct Receiver<T> {
    channel: Arc<Channel<T>>,
    seen: u64,
}

/// A look at the value.
pub struct Ref<'a, T>(RwLockReadGuard<'a, Slot<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Channel<T> {
    fn subscribe(self: &Arc<Self>) -> Receiver<T> {
        self.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            channel: self.clone(),
            seen: self.slot.read().version,
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.channel.receivers.fetch_add(1, Ordering::Relaxed);
        Self {
            channel: self.channel.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch for FairWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let slot = Slot {
            value: init,
            version: 0,
        };
        let channel = Arc::new(Channel {
            slot: RwLock::new(slot),
            changed: Notify::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
        });
        let receiver = channel.subscribe();
        (Sender(channel), receiver)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<FairWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Relaxed) == 0 {
            return Err(SendError(value));
        }
        self.send_if_modified(|current| {
            *current = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let mut slot = self.0.slot.write();
        let modified = modify(&mut slot.value);
        slot.version += u64::from(modified);
        drop(slot);
        if modified {
            self.0.changed.notify_waiters();
        }
        modified
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.0.slot.read())
    }

    fn subscribe(&self) -> Receiver<T> {
        self.0.subscribe()
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<FairWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            let changed = self.channel.changed.notified();
            let version = self.channel.slot.read().version;
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.channel.senders.load(Ordering::Relaxed) == 0 {
                return Err(RecvError(()));
            }
            changed.await;
        }
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        Ref(self.channel.slot.read())
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let slot = self.channel.slot.read();
        self.seen = slot.version;
        Ref(slot)
    }
}
