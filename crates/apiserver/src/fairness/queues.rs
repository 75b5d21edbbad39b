//! Fair queues of one priority level: each flow has a few of them, dealt by its hash, and the emptiest takes the request.
//!
//! Start-time fair queueing: a queue's next request starts, in virtual time, when the ones before it have had their
//! seats for as long as requests usually do; the queue that is furthest behind goes next. What a request really took is
//! settled when it ends. A flow that floods fills its own hand of queues and waits behind itself. Pure: no clock, no
//! wake-ups.

use std::collections::VecDeque;

/// What a request is thought to take before it is known, in microseconds (upstream's `estimatedServiceDuration`).
const USUAL_US: u64 = 3000;

/// How a level queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub n_queues: usize,
    pub hand_size: usize,
    pub max_length: usize,
}

/// Queues of waiting things.
#[derive(Debug)]
pub struct Queues<T> {
    queues: Vec<Queue<T>>,
    shape: Shape,
    /// When, in virtual time, the last dispatched request started.
    now: u64,
    n_waiting: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    /// When its next request starts, in virtual time.
    next_start: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    ticket: u64,
    width: u32,
    item: T,
}

/// What left a queue.
#[derive(Debug)]
pub struct Dispatched<T> {
    pub item: T,
    pub width: u32,
    pub queue_idx: usize,
}

impl<T> Queues<T> {
    pub fn new(shape: Shape) -> Self {
        let mut this = Self {
            queues: Vec::new(),
            shape,
            now: 0,
            n_waiting: 0,
        };
        this.reshape(shape);
        this
    }

    /// Takes another shape; what waits stays where it is.
    pub fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
        let n_queues = shape.n_queues.max(self.queues.len());
        self.queues.resize_with(n_queues, || Queue {
            waiting: VecDeque::new(),
            next_start: 0,
        });
        let needed = |queue: &Queue<T>| !queue.waiting.is_empty();
        while self.queues.len() > shape.n_queues && !self.queues.last().is_some_and(needed) {
            self.queues.pop();
        }
    }

    pub fn n_waiting(&self) -> usize {
        self.n_waiting
    }

    /// Queues a request of a flow; the item comes back when the flow's queues are full.
    pub fn push(&mut self, flow_hash: u64, ticket: u64, width: u32, item: T) -> Result<(), T> {
        let hand = deal(flow_hash, self.shape.n_queues, self.shape.hand_size);
        let shortest = hand.min_by_key(|idx| self.queues[*idx].waiting.len());
        let Some(idx) = shortest else {
            return Err(item);
        };
        let queue = &mut self.queues[idx];
        if queue.waiting.len() >= self.shape.max_length {
            return Err(item);
        }
        if queue.waiting.is_empty() {
            // Nobody saves up time by being idle.
            queue.next_start = queue.next_start.max(self.now);
        }
        queue.waiting.push_back(Waiting {
            ticket,
            width,
            item,
        });
        self.n_waiting += 1;
        Ok(())
    }

    /// The width of the request that goes next.
    pub fn next_width(&self) -> Option<u32> {
        let queue = &self.queues[self.next_queue()?];
        queue.waiting.front().map(|waiting| waiting.width)
    }

    /// Takes the request that goes next.
    pub fn pop(&mut self) -> Option<Dispatched<T>> {
        let queue_idx = self.next_queue()?;
        let queue = &mut self.queues[queue_idx];
        let Waiting { width, item, .. } = queue.waiting.pop_front()?;
        self.now = self.now.max(queue.next_start);
        queue.next_start += u64::from(width) * USUAL_US;
        self.n_waiting -= 1;
        Some(Dispatched {
            item,
            width,
            queue_idx,
        })
    }

    /// Settles what a request of a queue really took.
    pub fn settle(&mut self, queue_idx: usize, width: u32, took_us: u64) {
        if let Some(queue) = self.queues.get_mut(queue_idx) {
            let width = u64::from(width);
            queue.next_start = queue
                .next_start
                .saturating_add(width.saturating_mul(took_us))
                .saturating_sub(width * USUAL_US);
        }
    }

    /// Takes out a request that waits no longer.
    pub fn remove(&mut self, ticket: u64) -> bool {
        for queue in &mut self.queues {
            let at = queue.waiting.iter().position(|it| it.ticket == ticket);
            if let Some(at) = at {
                queue.waiting.remove(at);
                self.n_waiting -= 1;
                return true;
            }
        }
        false
    }

    fn next_queue(&self) -> Option<usize> {
        if self.n_waiting == 0 {
            return None;
        }
        let waiting = self.queues.iter().enumerate();
        let waiting = waiting.filter(|(_, queue)| !queue.waiting.is_empty());
        waiting
            .min_by_key(|(_, queue)| queue.next_start)
            .map(|(idx, _)| idx)
    }
}

/// Different queues for a flow, as cards from a shuffled deck (upstream `shufflesharding`).
fn deal(hash: u64, n_queues: usize, hand_size: usize) -> impl Iterator<Item = usize> {
    let hand_size = hand_size.min(n_queues);
    let mut hand: Vec<usize> = Vec::with_capacity(hand_size);
    let mut hash = hash;
    for dealt in 0..hand_size {
        let left = (n_queues - dealt) as u64;
        // Below n_queues, hence a usize.
        let mut card = (hash % left) as usize;
        hash /= left;
        let mut sorted = hand.clone();
        sorted.sort_unstable();
        // The card's place among those that are still in the deck.
        for taken in sorted {
            if card >= taken {
                card += 1;
            }
        }
        hand.push(card);
    }
    hand.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        n_queues: 16,
        hand_size: 4,
        max_length: 3,
    };

    #[test]
    fn a_hand_has_different_queues() {
        for hash in 0..2000_u64 {
            let hash = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut hand: Vec<usize> = deal(hash, 16, 6).collect();
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 6, "{hash}");
            assert!(hand.iter().all(|idx| *idx < 16));
        }
        assert_eq!(deal(7, 1, 1).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_flood_fills_its_own_hand_only() {
        let mut queues = Queues::new(SHAPE);
        let n_queued = (0..100)
            .filter(|n| queues.push(1, *n, 1, "flood").is_ok())
            .count();
        assert_eq!(n_queued, SHAPE.hand_size * SHAPE.max_length);
        let other = 0x1234_5678_9ABC;
        assert_eq!(queues.push(other, 100, 1, "other"), Ok(()));
        // It goes next but for one of each queue of the flood, which came before.
        let order: Vec<&str> = std::iter::from_fn(|| queues.pop())
            .map(|it| it.item)
            .collect();
        let at = order.iter().position(|item| *item == "other").unwrap();
        assert!(at <= SHAPE.hand_size, "{order:?}");
        assert_eq!(queues.n_waiting(), 0);
    }

    #[test]
    fn what_takes_long_goes_less_often() {
        let one_queue_each = Shape {
            n_queues: 2,
            hand_size: 1,
            max_length: 100,
        };
        let mut queues = Queues::new(one_queue_each);
        for n in 0..40 {
            queues.push(0, n, 1, "slow").unwrap();
            queues.push(1, 100 + n, 1, "fast").unwrap();
        }
        let mut slow = 0;
        for _ in 0..22 {
            let next = queues.pop().unwrap();
            let took_us = if next.item == "slow" {
                10 * USUAL_US
            } else {
                USUAL_US
            };
            slow += usize::from(next.item == "slow");
            queues.settle(next.queue_idx, next.width, took_us);
        }
        assert!((2..=3).contains(&slow), "{slow}");
    }

    #[test]
    fn who_waits_no_longer_is_taken_out() {
        let mut queues = Queues::new(SHAPE);
        queues.push(1, 5, 2, "a").unwrap();
        assert_eq!(queues.next_width(), Some(2));
        assert!(queues.remove(5) && !queues.remove(5));
        assert!(queues.pop().is_none());
    }

    #[test]
    fn a_new_shape_keeps_what_waits() {
        let mut queues = Queues::new(SHAPE);
        for n in 0..9 {
            queues.push(n * 977, n, 1, n).unwrap();
        }
        queues.reshape(Shape {
            n_queues: 1,
            hand_size: 1,
            max_length: 1,
        });
        let mut left: Vec<u64> = std::iter::from_fn(|| queues.pop())
            .map(|it| it.item)
            .collect();
        left.sort_unstable();
        assert_eq!(left, (0..9).collect::<Vec<_>>());
    }
}
