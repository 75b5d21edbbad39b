//! Scaling of a Deployment in mid-rollout or pause: its sets grow and shrink in proportion.

use super::Work;
use super::replica_sets::Set;

impl Work<'_> {
    /// Whether `spec.replicas` changed since the active sets were last scaled.
    pub fn is_scaling_event(&mut self) -> bool {
        self.sync_revision(false);
        let wanted = self.replicas();
        self.sets().any(|set| {
            set.replicas() > 0
                && set
                    .desired_annotation()
                    .is_some_and(|desired| desired != wanted)
        })
    }

    /// Paused, or scaled: sizes and status, but no rollout.
    pub fn sync(&mut self) {
        self.sync_revision(false);
        self.scale();
        if self.spec.paused == Some(true) {
            self.clean_up_history();
        }
        self.status = self.calculate_status();
    }

    fn scale(&mut self) {
        let wanted = self.replicas();
        let active: Vec<usize> = (0..self.old.len())
            .filter(|idx| self.old[*idx].replicas() > 0)
            .collect();
        let new_active = self.new.as_ref().is_some_and(|set| set.replicas() > 0);
        match active.len() + usize::from(new_active) {
            0 => {
                let latest = self.old.len().saturating_sub(1);
                self.scale_set(self.new.is_some(), latest, wanted);
            }
            1 => {
                let idx = active.first().copied().unwrap_or(0);
                self.scale_set(new_active, idx, wanted);
            }
            _ if self.is_saturated() => {
                for idx in active {
                    self.scale_set(false, idx, 0);
                }
            }
            _ if !self.recreate() => self.scale_in_proportion(active, new_active),
            _ => {}
        }
    }

    fn is_saturated(&self) -> bool {
        let wanted = self.replicas();
        self.new.as_ref().is_some_and(|new| {
            new.replicas() == wanted
                && new.desired_annotation() == Some(wanted)
                && new.available() == wanted
        })
    }

    fn scale_in_proportion(&mut self, active: Vec<usize>, new_active: bool) {
        let allowed = if self.replicas() > 0 {
            self.replicas() + self.max_surge()
        } else {
            0
        };
        // (is new, index), largest first; among equals the newer first to grow and the older first to shrink.
        let mut order: Vec<(bool, usize)> = active.into_iter().map(|idx| (false, idx)).collect();
        order.extend(new_active.then_some((true, 0)));
        let total: i32 = order
            .iter()
            .filter_map(|place| self.at(*place))
            .map(Set::replicas)
            .sum();
        let to_add = allowed - total;
        order.sort_by_key(|place| {
            let set = self.at(*place);
            let size = set.map_or(0, Set::replicas);
            let created = set.map_or(0, Set::created_ms);
            let age = if to_add > 0 {
                u64::MAX - created
            } else {
                created
            };
            (std::cmp::Reverse(size), age)
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for place in &order {
            let Some(set) = self.at(*place) else { continue };
            let share = if to_add == 0 {
                0
            } else {
                self.proportion(set, to_add, added)
            };
            sizes.push(set.replicas() + share);
            added += share;
        }
        if let (Some(first), true) = (sizes.first_mut(), to_add != 0) {
            *first = (*first + to_add - added).max(0);
        }
        for ((new, idx), size) in order.into_iter().zip(sizes) {
            self.scale_set(new, idx, size);
        }
    }

    fn at(&self, (new, idx): (bool, usize)) -> Option<&Set> {
        if new {
            self.new.as_ref()
        } else {
            self.old.get(idx)
        }
    }

    fn proportion(&self, set: &Set, to_add: i32, added: i32) -> i32 {
        if set.replicas() == 0 || to_add == added {
            return 0;
        }
        let (fraction, allowed) = (self.fraction(set), to_add - added);
        if to_add > 0 {
            fraction.min(allowed)
        } else {
            fraction.max(allowed)
        }
    }

    fn fraction(&self, set: &Set) -> i32 {
        if self.replicas() == 0 {
            return -set.replicas();
        }
        let max = self.replicas() + self.max_surge();
        let status_replicas = self
            .deployment
            .status
            .as_ref()
            .and_then(|status| status.replicas)
            .unwrap_or(0);
        let before = set.max_annotation().unwrap_or(status_replicas);
        if before == 0 {
            return 0;
        }
        let size = f64::from(set.replicas()) * f64::from(max) / f64::from(before);
        size.round() as i32 - set.replicas()
    }
}
