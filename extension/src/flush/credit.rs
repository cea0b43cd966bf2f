//! The credit for holds of Next: a small share of the time, saved up for the moments that need it.
//!
//! Users are billed for a hold, and the next request may meet it. So holds take at most a share of the
//! time, frozen time included, and sparse traffic can afford one for each invocation.

use std::time::Duration;

/// How far a failed invocation may overdraw the credit: an outage of everything costs this once.
const OVERDRAFT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HoldSettings {
    /// `CRUDDUR_HOLD_SHARE`: the share of the time that holds may take. Above 0, since a spent credit would
    /// never cover a flush again.
    pub share: f64,
    /// `CRUDDUR_HOLD_BANK_MS`: the most credit, and that of a new sandbox.
    pub bank: Duration,
    /// `CRUDDUR_MAX_HOLD_MS`: the longest single hold.
    pub max_hold: Duration,
    /// Whether the function has a whole core, so that sending delays no reply.
    pub has_core: bool,
}

/// In seconds, since it may be negative.
#[derive(Clone, Copy, Debug)]
pub struct HoldCredit {
    seconds: f64,
    settings: HoldSettings,
}

impl HoldCredit {
    pub fn new(settings: HoldSettings) -> Self {
        Self { seconds: settings.bank.as_secs_f64(), settings }
    }

    /// For a process that follows a crash, which may follow from a hold.
    pub fn empty(&mut self) {
        self.seconds = self.seconds.min(0.0);
    }

    /// Time passes. Returns what it earns.
    pub fn earn(&mut self, elapsed: Duration) -> Duration {
        let earned = elapsed.mul_f64(self.settings.share);
        let seconds = self.seconds + earned.as_secs_f64();
        self.seconds = seconds.min(self.settings.bank.as_secs_f64());
        earned
    }

    pub fn spend(&mut self, hold: Duration) {
        self.seconds -= hold.as_secs_f64();
    }

    /// A full bank covers every hold: the requests of a slower destination begin during the hold, and go on
    /// during the next invocations.
    pub fn covers(&self, hold: Duration) -> bool {
        self.seconds >= hold.min(self.settings.bank).as_secs_f64()
    }

    /// The longest hold that the credit allows.
    pub fn longest_hold(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default().min(self.settings.max_hold)
    }

    /// The longest hold of a failed invocation, which may overdraw the credit.
    pub fn longest_overdrawn(&self) -> Duration {
        match self.seconds > -OVERDRAFT.as_secs_f64() {
            true => self.settings.max_hold,
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_earns_no_more_than_the_bank() {
        let bank = Duration::from_secs(1);
        let settings = HoldSettings { share: 0.01, bank, max_hold: bank * 60, has_core: false };
        let mut credit = HoldCredit::new(settings);
        credit.spend(bank * 3);

        credit.earn(Duration::from_secs(365 * 24 * 3_600));

        assert_eq!(credit.longest_hold(), bank);
    }
}
