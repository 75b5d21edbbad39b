//! A work queue as client-go's: each key is at most once in it, is never worked on twice at a time, and comes back if
//! it was added while being worked on. Failures come back later and later; delayed keys come when due.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use kontiki_base::limits;

/// First and longest pause after failures.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_CAP: Duration = Duration::from_secs(60);

/// The queue. Times are the caller's monotonic clock.
#[derive(Debug)]
pub struct Queue<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    processing: HashSet<K>,
    delayed: BTreeSet<(Duration, K)>,
    due: HashMap<K, Duration>,
    failures: HashMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            processing: HashSet::new(),
            delayed: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Adds a key. False when the queue is full: the caller must look at everything again later.
    #[must_use]
    pub fn add(&mut self, key: K) -> bool {
        if self.queued.contains(&key) {
            return true;
        }
        if self.queued.len() >= limits::WORK_QUEUE_KEYS {
            return false;
        }
        self.queued.insert(key.clone());
        if !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
        true
    }

    /// Adds a key at a time, or earlier if it is due earlier already.
    pub fn add_at(&mut self, key: K, at: Duration) {
        match self.due.get(&key) {
            Some(due) if *due <= at => return,
            Some(due) => drop(self.delayed.remove(&(*due, key.clone()))),
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.delayed.insert((at, key));
    }

    /// Moves what is due into the queue.
    pub fn tick(&mut self, now: Duration) {
        while let Some((at, key)) = self.delayed.first().cloned()
            && at <= now
        {
            if !self.add(key.clone()) {
                return;
            }
            self.delayed.remove(&(at, key.clone()));
            self.due.remove(&key);
        }
    }

    /// When `tick` next has something to do.
    pub fn next_due(&self) -> Option<Duration> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Takes the next key to work on; `done` must follow.
    pub fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.processing.insert(key.clone());
        Some(key)
    }

    /// The work on a key is over. If it was added meanwhile it is ready again.
    pub fn done(&mut self, key: &K) {
        self.processing.remove(key);
        if self.queued.contains(key) {
            self.ready.push_back(key.clone());
        }
    }

    /// Forgets past failures.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// Adds a key again after a pause that doubles with each failure.
    pub fn failed(&mut self, key: K, now: Duration) {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = RETRY_FIRST * 2u32.saturating_pow((*failures).min(16));
        *failures += 1;
        self.add_at(key, now + pause.min(RETRY_CAP));
    }

    /// Whether there is something to take.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_key_is_queued_once_and_never_worked_on_twice_at_a_time() {
        let mut queue = Queue::default();
        assert!(queue.add("a") && queue.add("a"));
        assert_eq!(queue.take(), Some("a"));
        assert_eq!(queue.take(), None);
        assert!(queue.add("a"), "added while being worked on");
        assert_eq!(queue.take(), None, "not twice at a time");
        queue.done(&"a");
        assert_eq!(queue.take(), Some("a"));
        queue.done(&"a");
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn the_earliest_of_several_delays_counts() {
        let mut queue = Queue::default();
        queue.add_at("a", 50 * MS);
        queue.add_at("a", 10 * MS);
        queue.add_at("a", 90 * MS);
        assert_eq!(queue.next_due(), Some(10 * MS));
        queue.tick(9 * MS);
        assert!(!queue.has_ready());
        queue.tick(10 * MS);
        assert_eq!(queue.take(), Some("a"));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn failures_pause_longer_until_a_success() {
        let mut queue = Queue::default();
        let pause = |queue: &mut Queue<&'static str>| {
            queue.failed("a", Duration::ZERO);
            let due = queue.next_due().unwrap();
            queue.tick(due);
            assert_eq!(queue.take(), Some("a"));
            queue.done(&"a");
            due
        };
        assert_eq!(pause(&mut queue), 5 * MS);
        assert_eq!(pause(&mut queue), 10 * MS);
        for _ in 0..20 {
            pause(&mut queue);
        }
        assert_eq!(pause(&mut queue), RETRY_CAP);
        queue.succeeded(&"a");
        assert_eq!(pause(&mut queue), 5 * MS);
    }

    #[test]
    fn a_full_queue_says_so() {
        let mut queue = Queue::default();
        for key in 0..limits::WORK_QUEUE_KEYS {
            assert!(queue.add(key));
        }
        assert!(!queue.add(usize::MAX));
        assert!(queue.add(0), "what is in it already is fine");
    }
}
