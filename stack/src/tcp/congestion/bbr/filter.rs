//! The largest value of late, for bandwidth (over two probing cycles) and for the aggregation of ACKs (over ten rounds).

/// The largest value of the present and of the last period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TwoPeriodMax {
    present: u64,
    last: u64,
}

impl TwoPeriodMax {
    pub(super) fn update(&mut self, value: u64) {
        self.present = self.present.max(value);
    }

    /// A new period begins.
    pub(super) fn advance(&mut self) {
        // A period without a value does not make the last one forgotten.
        if self.present > 0 {
            self.last = self.present;
            self.present = 0;
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.present.max(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lasts_two_periods() {
        let mut filter = TwoPeriodMax::default();
        filter.update(10);
        filter.advance();
        filter.update(4);
        assert_eq!(filter.get(), 10);
        filter.advance();
        assert_eq!(filter.get(), 4);
        filter.advance();
        assert_eq!(filter.get(), 4);
    }
}
