//! What an evaluation may cost. Every step is charged in proportion to its work, so that a runaway expression ends with
//! an error, whatever it is fed with.
//!
//! Units are upstream's (a selection or a call is one, a byte of text a tenth), hence so are its limits.

use super::error::EvalError;

/// Upstream's limit of one expression.
pub const PER_CALL_UNITS: u64 = 1_000_000;
/// Upstream's limit of all expressions about one request or one object.
pub const TOTAL_UNITS: u64 = 10_000_000;
/// Upstream's limit of the match conditions of one webhook or policy.
pub const MATCH_CONDITIONS_UNITS: u64 = 2_500_000;

/// What is left to spend.
#[derive(Debug, Clone)]
pub struct Budget {
    left_tenths: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::units(PER_CALL_UNITS)
    }
}

impl Budget {
    /// A budget of this many units.
    pub const fn units(units: u64) -> Self {
        Self {
            left_tenths: units.saturating_mul(10),
        }
    }

    /// Units that are left.
    pub const fn left_units(&self) -> u64 {
        self.left_tenths / 10
    }

    /// A part of this budget for one expression; what it spends is taken off with [`Self::settle`].
    pub fn part(&self, units: u64) -> Self {
        Self {
            left_tenths: self.left_tenths.min(units.saturating_mul(10)),
        }
    }

    /// Takes off what a part has spent of its `units`.
    pub fn settle(&mut self, units: u64, part: &Self) {
        let given = self.left_tenths.min(units.saturating_mul(10));
        self.left_tenths -= given - part.left_tenths.min(given);
    }

    /// Spends whole units.
    pub(super) fn charge(&mut self, units: u64) -> Result<(), EvalError> {
        self.charge_tenths(units.saturating_mul(10))
    }

    /// Spends tenths of a unit: work on this many bytes or elements.
    pub(super) fn charge_tenths(&mut self, tenths: u64) -> Result<(), EvalError> {
        match self.left_tenths.checked_sub(tenths) {
            Some(left) => {
                self.left_tenths = left;
                Ok(())
            }
            None => {
                self.left_tenths = 0;
                Err(EvalError::CostExceeded)
            }
        }
    }
}
