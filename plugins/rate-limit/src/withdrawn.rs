//! What is withdrawn of a limit's keys.

use portcullis_policy::{Ports, SlotError, Timestamp};

use crate::key::Fingerprint;
use crate::limit::Limit;
use crate::quota::{Spending, Told, Unspent};
use crate::terms::Terms;

impl Limit {
    /// What wishes call it, where an engine counts it.
    pub(crate) fn leased_as(&self) -> Option<u64> {
        self.leased.as_ref().map(|leased| leased.hash)
    }

    /// How the engine counts it.
    pub(crate) fn terms(&self) -> Option<&Terms> {
        self.leased.as_ref().map(|leased| &leased.terms)
    }

    /// What is known of a key.
    pub(crate) fn spending(
        &self,
        key: Fingerprint,
        ports: &Ports<'_>,
    ) -> Result<Spending, SlotError> {
        let (Some(leased), Ok(now)) = (&self.leased, ports.clock.monotonic()) else {
            return Ok(Spending::default());
        };
        let used = self.own_table().used(ports.store, key)?;
        Ok(leased.lease.spending(&used.unwrap_or_default(), now))
    }

    /// Takes up what the engine has told of a key.
    pub(crate) fn learn(
        &self,
        key: Fingerprint,
        told: &Told,
        asked_at: Timestamp,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        let Some(leased) = &self.leased else {
            return Ok(());
        };
        let evicted = self.own_table().put(ports.store, key, now, |used| {
            leased.lease.learn(used, told, asked_at, now);
        })?;
        if evicted {
            self.count_evicted(ports);
        }
        Ok(())
    }

    /// Takes out what nobody has spent since.
    pub(crate) fn take_unspent(
        &self,
        key: Fingerprint,
        asked_at: Timestamp,
        spent: u32,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<Option<Unspent>, SlotError> {
        let Some(leased) = &self.leased else {
            return Ok(None);
        };
        let mut taken = None;
        self.own_table().change_key(ports.store, key, now, |used| {
            taken = leased.lease.take_unspent(used, asked_at, spent, now);
        })?;
        Ok(taken)
    }

    /// Counts what the engine has told that was asked for so much.
    pub(crate) fn count_lease(&self, told: &Told, wanted: u32, ports: &Ports<'_>) {
        if let Some(leased) = &self.leased {
            leased.metrics.count(told, wanted, ports);
        }
    }

    /// Counts what goes back to the engine.
    pub(crate) fn count_returned(&self, units: u32, ports: &Ports<'_>) {
        if let Some(leased) = &self.leased {
            leased.metrics.count_returned(units, ports);
        }
    }
}
