//! Priority levels and their seats: what is a level's own, what it lends, what it may borrow, and who goes next.
//!
//! ```text
//! seats of a level:  ├── lower: always its own ──┼── lendable: in the pool while it needs less ──┤ nominal
//!                    others' lendable seats may be borrowed beyond nominal, up to upper
//! ```
//! A seat that is free goes to who waits within its lower limit, then to who is below its nominal one, then to
//! borrowers. Upstream moves limits every ten seconds; here the pool is there at once. Pure: no clock, no wake-ups.

use std::sync::Arc;

use super::queues::{Queues, Shape};

/// What the configuration says of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub name: Arc<str>,
    pub shares: u32,
    pub lendable_percent: u32,
    pub borrowing_limit_percent: Option<u32>,
    pub limit: Limit,
}

/// How a level limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Not at all.
    Exempt,
    /// What finds no seat is refused.
    Reject,
    /// What finds no seat waits in queues.
    Queue(Shape),
}

/// A level at work.
#[derive(Debug)]
pub struct Level<T> {
    pub config: Config,
    pub lower: u32,
    pub nominal: u32,
    pub upper: u32,
    pub executing: u32,
    pub queues: Queues<T>,
    /// It is configured no longer; what holds or waits for its seats ends as it began.
    is_gone: bool,
}

/// All levels.
#[derive(Debug)]
pub struct Levels<T> {
    levels: Vec<Level<T>>,
    total: u32,
    /// Lendable seats of all levels, and how many of them are taken.
    pool: u32,
    pool_taken: u32,
}

/// A request that got its seat after waiting.
#[derive(Debug)]
pub struct Seated<T> {
    pub item: T,
    pub level_idx: usize,
    pub width: u32,
    pub queue_idx: usize,
}

const NO_QUEUES: Shape = Shape {
    n_queues: 0,
    hand_size: 0,
    max_length: 0,
};

impl<T> Level<T> {
    /// Seats beyond those that are always its own.
    fn borrowed(&self, executing: u32) -> u32 {
        executing.saturating_sub(self.lower)
    }

    fn is_idle(&self) -> bool {
        self.executing == 0 && self.queues.n_waiting() == 0
    }
}

impl<T> Levels<T> {
    pub fn new(total: u32) -> Self {
        Self {
            levels: Vec::new(),
            total,
            pool: 0,
            pool_taken: 0,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Level<T>> {
        self.levels.iter().filter(|level| !level.is_gone)
    }

    /// Takes another configuration; answers the index of each level.
    pub fn configure(&mut self, configs: Vec<Config>) -> Vec<usize> {
        for level in &mut self.levels {
            let is_meant = |config: &Config| config.name == level.config.name;
            level.is_gone = !configs.iter().any(is_meant);
        }
        let indexes = configs.into_iter().map(|config| self.place(config));
        let indexes = indexes.collect();
        let limits = |level: &Level<T>| !level.is_gone && level.config.limit != Limit::Exempt;
        let shares: u32 = self.iter().map(|level| level.config.shares).sum();
        let (total, mut pool) = (self.total, 0);
        for level in &mut self.levels {
            if !limits(level) {
                // Whoever is still there gets seats one by one.
                (level.lower, level.nominal, level.upper) = (1, 1, 1);
                continue;
            }
            let config = &level.config;
            level.nominal = (total * config.shares).div_ceil(shares.max(1)).max(1);
            let lendable = percent_of(level.nominal, config.lendable_percent).min(level.nominal);
            level.lower = level.nominal - lendable;
            level.upper = match config.borrowing_limit_percent {
                Some(percent) => (level.nominal + percent_of(level.nominal, percent)).min(total),
                None => total,
            };
            level.upper = level.upper.max(level.nominal);
            pool += lendable;
        }
        self.pool = pool;
        let taken = self
            .levels
            .iter()
            .map(|level| level.borrowed(level.executing));
        self.pool_taken = taken.sum();
        indexes
    }

    /// The level of that name, or a place for it.
    fn place(&mut self, config: Config) -> usize {
        let shape = match config.limit {
            Limit::Queue(shape) => shape,
            Limit::Exempt | Limit::Reject => NO_QUEUES,
        };
        let same = self
            .levels
            .iter()
            .position(|it| it.config.name == config.name);
        if let Some(idx) = same {
            let level = &mut self.levels[idx];
            level.config = config;
            level.queues.reshape(shape);
            return idx;
        }
        let level = Level {
            config,
            lower: 0,
            nominal: 0,
            upper: 0,
            executing: 0,
            queues: Queues::new(shape),
            is_gone: false,
        };
        let free = self.levels.iter().position(|it| it.is_gone && it.is_idle());
        match free {
            Some(idx) => {
                self.levels[idx] = level;
                idx
            }
            None => {
                self.levels.push(level);
                self.levels.len() - 1
            }
        }
    }

    /// As wide as the level can seat.
    pub fn fitting(&self, level_idx: usize, width: u32) -> u32 {
        width.clamp(1, self.levels[level_idx].nominal.max(1))
    }

    fn has_room(&self, level: &Level<T>, width: u32) -> bool {
        let after = level.executing + width;
        let more = level.borrowed(after) - level.borrowed(level.executing);
        // One at a time may always be: a level that lends everything is not starved.
        level.executing == 0 || (after <= level.upper && self.pool_taken + more <= self.pool)
    }

    /// Takes seats at once, unless others of the level wait or there are none.
    pub fn take(&mut self, level_idx: usize, width: u32) -> bool {
        let level = &self.levels[level_idx];
        let is_free = level.queues.n_waiting() == 0 && self.has_room(level, width);
        if is_free {
            self.seat(level_idx, width);
        }
        is_free
    }

    fn seat(&mut self, level_idx: usize, width: u32) {
        let level = &mut self.levels[level_idx];
        let before = level.borrowed(level.executing);
        level.executing += width;
        self.pool_taken += level.borrowed(level.executing) - before;
    }

    /// Gives seats back, of a request that waited in a queue or not, and took so long.
    pub fn give(&mut self, level_idx: usize, width: u32, queue: Option<(usize, u64)>) {
        let level = &mut self.levels[level_idx];
        let before = level.borrowed(level.executing);
        level.executing -= width;
        self.pool_taken -= before - level.borrowed(level.executing);
        if let Some((queue_idx, took_us)) = queue {
            level.queues.settle(queue_idx, width, took_us);
        }
    }

    /// Queues a request; the item comes back when there is no place.
    pub fn wait(
        &mut self,
        level_idx: usize,
        flow_hash: u64,
        ticket: u64,
        width: u32,
        item: T,
    ) -> Result<(), T> {
        let queues = &mut self.levels[level_idx].queues;
        queues.push(flow_hash, ticket, width, item)
    }

    /// Takes out a request that waits no longer.
    pub fn leave(&mut self, level_idx: usize, ticket: u64) -> bool {
        self.levels[level_idx].queues.remove(ticket)
    }

    /// Seats who waits, as long as there are seats.
    pub fn dispatch(&mut self) -> Vec<Seated<T>> {
        let mut seated = Vec::new();
        while let Some(level_idx) = self.next() {
            let Some(next) = self.levels[level_idx].queues.pop() else {
                break;
            };
            self.seat(level_idx, next.width);
            seated.push(Seated {
                item: next.item,
                level_idx,
                width: next.width,
                queue_idx: next.queue_idx,
            });
        }
        seated
    }

    /// The level whose turn it is, if anyone waits whom there is a seat for.
    fn next(&self) -> Option<usize> {
        let waiting = self.levels.iter().enumerate().filter_map(|(idx, level)| {
            let width = level.queues.next_width()?;
            self.has_room(level, width).then_some((idx, level, width))
        });
        let turn = |(_, level, width): &(usize, &Level<T>, u32)| {
            let after = level.executing + width;
            let class = match after {
                after if after <= level.lower => 0,
                after if after <= level.nominal => 1,
                _ => 2,
            };
            (
                class,
                u64::from(level.executing) * 1000 / u64::from(level.nominal.max(1)),
            )
        };
        waiting.min_by_key(turn).map(|(idx, ..)| idx)
    }
}

/// A share of seats, to the nearest.
fn percent_of(seats: u32, percent: u32) -> u32 {
    (seats * percent + 50) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        n_queues: 8,
        hand_size: 2,
        max_length: 5,
    };

    fn config(name: &str, shares: u32, lendable_percent: u32) -> Config {
        Config {
            name: name.into(),
            shares,
            lendable_percent,
            borrowing_limit_percent: None,
            limit: Limit::Queue(SHAPE),
        }
    }

    fn fill(levels: &mut Levels<u32>, idx: usize) -> u32 {
        let mut n_seats = 0;
        while levels.take(idx, 1) {
            n_seats += 1;
        }
        n_seats
    }

    #[test]
    fn seats_follow_shares_and_idle_ones_are_lent() {
        let mut levels: Levels<u32> = Levels::new(100);
        let indexes = levels.configure(vec![
            config("a", 30, 50),
            config("b", 70, 100),
            config("c", 0, 0),
        ]);
        let limits = |idx: usize| {
            let level = &levels.levels[idx];
            (level.lower, level.nominal, level.upper)
        };
        assert_eq!(limits(indexes[0]), (15, 30, 100));
        assert_eq!(limits(indexes[1]), (0, 70, 100));
        assert_eq!(limits(indexes[2]), (1, 1, 100));
        // Alone it takes all that others lend; what they keep is theirs.
        assert_eq!(fill(&mut levels, indexes[1]), 85);
        assert_eq!(fill(&mut levels, indexes[0]), 15);
        assert_eq!(fill(&mut levels, indexes[2]), 1);
    }

    #[test]
    fn a_lender_gets_its_seats_back_before_borrowers_go_on() {
        let mut levels: Levels<u32> = Levels::new(10);
        let [a, b] = levels.configure(vec![config("a", 50, 100), config("b", 50, 100)])[..] else {
            panic!("two levels");
        };
        assert_eq!(fill(&mut levels, b), 10);
        for n in 0..3 {
            levels.wait(b, 1, n, 1, 100).unwrap();
            levels.wait(a, 2, 10 + n, 1, 1).unwrap();
        }
        // The first is the one seat that is never refused.
        let seated: Vec<u32> = levels.dispatch().iter().map(|it| it.item).collect();
        assert_eq!(seated, [1]);
        levels.give(b, 1, None);
        levels.give(b, 1, None);
        levels.give(b, 1, None);
        let seated: Vec<u32> = levels.dispatch().iter().map(|it| it.item).collect();
        assert_eq!(
            seated,
            [1, 1],
            "both of the lender, and none of the borrower"
        );
        assert_eq!(
            (levels.levels[a].executing, levels.levels[b].executing),
            (3, 7)
        );
        levels.give(b, 1, None);
        assert_eq!(levels.dispatch().len(), 1);
        assert_eq!(levels.levels[b].queues.n_waiting(), 2);
    }

    #[test]
    fn borrowing_has_a_limit() {
        let mut levels: Levels<u32> = Levels::new(100);
        let limited = Config {
            borrowing_limit_percent: Some(20),
            ..config("a", 50, 0)
        };
        let indexes = levels.configure(vec![limited, config("b", 50, 100)]);
        assert_eq!(fill(&mut levels, indexes[0]), 60);
    }

    #[test]
    fn another_configuration_keeps_who_is_seated_and_who_waits() {
        let mut levels: Levels<u32> = Levels::new(10);
        let [a, b] = levels.configure(vec![config("a", 50, 0), config("b", 50, 0)])[..] else {
            panic!("two levels");
        };
        assert_eq!(fill(&mut levels, b), 5);
        levels.wait(b, 1, 7, 1, 70).unwrap();
        let again = levels.configure(vec![config("c", 50, 0), config("a", 50, 0)]);
        assert_eq!(again, [2, a], "b is not free yet");
        for _ in 0..5 {
            levels.give(b, 1, None);
        }
        assert_eq!(levels.dispatch()[0].item, 70);
        levels.give(b, 1, None);
        assert_eq!(levels.configure(vec![config("d", 1, 0)]), [a]);
        assert_eq!(levels.iter().count(), 1);
    }

    #[test]
    fn the_wide_wait_for_as_many_seats() {
        let mut levels: Levels<u32> = Levels::new(10);
        let [a] = levels.configure(vec![config("a", 1, 0)])[..] else {
            panic!("one level")
        };
        assert_eq!(levels.fitting(a, 99), 10);
        assert!(levels.take(a, 6));
        assert!(!levels.take(a, 6));
        levels.wait(a, 1, 1, 6, 1).unwrap();
        assert!(!levels.take(a, 1), "it would overtake the one that waits");
        levels.give(a, 6, None);
        assert_eq!(levels.dispatch().len(), 1);
    }
}
