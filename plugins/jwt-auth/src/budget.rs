//! How many bad signatures of one client are looked at.

use std::cell::{OnceCell, RefCell};
use std::hash::Hasher as _;
use std::net::IpAddr;

use portcullis_policy::{Entropy, Span, Timestamp};
use siphasher::sip::SipHasher13;

use crate::config::VerifyBudgetConfig;

/// Clients that are told from one another at once; the idlest makes room for a new one.
const BUCKETS: usize = 512;
const WAYS: usize = 8;

/// A bounded record of who has sent bad signatures, of one worker: a generic cell rate algorithm
/// (ITU-T I.371) on failures, which starts full and comes back evenly.
pub(crate) struct VerifyBudget {
    failures: u32,
    window: Span,
    hash_key: OnceCell<[u8; 16]>,
    clients: RefCell<Vec<[Option<Client>; WAYS]>>,
}

/// A client that has sent bad signatures.
#[derive(Clone, Copy)]
struct Client {
    /// `None`: all those whose address the gateway does not tell.
    address: Option<IpAddr>,
    /// When its budget will be whole again.
    whole_at: Timestamp,
}

impl From<&VerifyBudgetConfig> for VerifyBudget {
    fn from(config: &VerifyBudgetConfig) -> Self {
        Self {
            failures: config.failures.get(),
            window: config.window.span(),
            hash_key: OnceCell::new(),
            clients: RefCell::default(),
        }
    }
}

impl VerifyBudget {
    /// Whether it bounds anything.
    pub(crate) const fn is_on(&self) -> bool {
        self.failures > 0
    }

    /// How long the client has to wait until its next token is looked at; `None`: not at all.
    pub(crate) fn wait(
        &self,
        address: Option<IpAddr>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Option<Span> {
        if !self.is_on() {
            return None;
        }
        let clients = self.clients.try_borrow().ok()?;
        let bucket = clients.get(self.bucket(address, entropy))?;
        let client = bucket.iter().flatten().find(|c| c.address == address)?;
        let spent = self.spent(client, now);
        let most = self.window.as_nanos().saturating_sub(self.share());
        (spent > most).then(|| Span::from_nanos(spent.saturating_sub(most)))
    }

    /// Takes one failure off the client's budget.
    pub(crate) fn charge(&self, address: Option<IpAddr>, now: Timestamp, entropy: &dyn Entropy) {
        if !self.is_on() {
            return;
        }
        let Ok(mut clients) = self.clients.try_borrow_mut() else {
            return;
        };
        if clients.is_empty() {
            clients.resize(BUCKETS, [None; WAYS]);
        }
        let Some(bucket) = clients.get_mut(self.bucket(address, entropy)) else {
            return;
        };
        let known = bucket
            .iter()
            .position(|c| c.is_some_and(|c| c.address == address));
        let place = known.or_else(|| {
            let idlest = bucket.iter().enumerate();
            let idlest = idlest.min_by_key(|(_, client)| client.map(|client| client.whole_at));
            idlest.map(|(place, _)| place)
        });
        let Some(entry) = place.and_then(|place| bucket.get_mut(place)) else {
            return;
        };
        let spent = entry
            .filter(|_| known.is_some())
            .map_or(0, |client| self.spent(&client, now));
        let spent = spent.saturating_add(self.share());
        *entry = Some(Client {
            address,
            whole_at: now.after(Span::from_nanos(spent)),
        });
    }

    /// What one failure costs, in nanoseconds of the window.
    fn share(&self) -> u64 {
        let failures = u64::from(self.failures).max(1);
        self.window
            .as_nanos()
            .checked_div(failures)
            .unwrap_or(0)
            .max(1)
    }

    /// What a client has spent, in nanoseconds of the window. Nobody can have spent more than a
    /// whole one: then the clock was set back, and the client starts afresh.
    fn spent(&self, client: &Client, now: Timestamp) -> u64 {
        let spent = client.whole_at.since(now).as_nanos();
        if spent > self.window.as_nanos() {
            0
        } else {
            spent
        }
    }

    /// Keyed, so that nobody can choose addresses that push a certain other one out.
    fn bucket(&self, address: Option<IpAddr>, entropy: &dyn Entropy) -> usize {
        let key = self.hash_key.get_or_init(|| {
            let mut key = *b"portcullis-verify";
            // What is left of the fixed key where the gateway has no random bytes will do.
            let _ = entropy.fill(&mut key);
            let [key @ .., _] = key;
            key
        });
        let mut hasher = SipHasher13::new_with_key(key);
        match address {
            Some(IpAddr::V4(address)) => hasher.write(&address.octets()),
            Some(IpAddr::V6(address)) => hasher.write(&address.octets()),
            None => hasher.write(&[]),
        }
        let [first, second, ..] = hasher.finish().to_le_bytes();
        usize::from(u16::from_le_bytes([first, second])) % BUCKETS
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::EntropyUnavailable;

    use super::*;

    struct NoEntropy;
    impl Entropy for NoEntropy {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
            Err(EntropyUnavailable)
        }
    }

    fn budget(failures: u32) -> VerifyBudget {
        let json = format!(r#"{{"failures":{failures},"window":"10s"}}"#);
        VerifyBudget::from(&serde_json::from_str::<VerifyBudgetConfig>(&json).unwrap())
    }

    fn client(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn millis(millis: u64) -> Timestamp {
        Timestamp::from_unix_secs(1_000_000).after(Span::from_millis(millis))
    }

    /// How many bad tokens of one client are looked at, one every `step` milliseconds.
    fn looked_at(budget: &VerifyBudget, step: u64, count: u64) -> usize {
        let ask = |n: u64| {
            let now = millis(n * step);
            let looked = budget.wait(client(1), now, &NoEntropy).is_none();
            if looked {
                budget.charge(client(1), now, &NoEntropy);
            }
            looked
        };
        (0..count).filter(|n| ask(*n)).count()
    }

    #[test]
    fn a_client_gets_its_budget_at_once_and_then_what_comes_back() {
        assert_eq!(looked_at(&budget(5), 0, 1000), 5);
        assert_eq!(
            looked_at(&budget(5), 2000, 1000),
            1000,
            "at the rate of the budget"
        );
        assert_eq!(
            looked_at(&budget(5), 1000, 21),
            5 + 10,
            "at twice that rate, over 20 s"
        );
        assert_eq!(looked_at(&budget(1), 0, 10), 1);
    }

    #[test]
    fn the_wait_is_over_when_it_was_said_to_be() {
        let budget = budget(2);
        budget.charge(client(1), millis(0), &NoEntropy);
        assert_eq!(budget.wait(client(1), millis(0), &NoEntropy), None);
        budget.charge(client(1), millis(0), &NoEntropy);
        let wait = budget.wait(client(1), millis(0), &NoEntropy).unwrap();
        assert_eq!(wait, Span::from_secs(5));
        assert!(budget.wait(client(1), millis(4999), &NoEntropy).is_some());
        assert_eq!(budget.wait(client(1), millis(5000), &NoEntropy), None);
    }

    #[test]
    fn one_clients_failures_are_not_anothers() {
        let budget = budget(1);
        budget.charge(client(1), millis(0), &NoEntropy);
        budget.charge(None, millis(0), &NoEntropy);
        assert!(budget.wait(client(1), millis(0), &NoEntropy).is_some());
        assert!(budget.wait(None, millis(0), &NoEntropy).is_some());
        assert_eq!(budget.wait(client(2), millis(0), &NoEntropy), None);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let budget = budget(1);
        budget.charge(client(1), millis(86_400_000), &NoEntropy);
        assert_eq!(budget.wait(client(1), millis(0), &NoEntropy), None);
        budget.charge(client(1), millis(0), &NoEntropy);
        let wait = budget.wait(client(1), millis(0), &NoEntropy).unwrap();
        assert_eq!(wait, Span::from_secs(10));
        assert_eq!(budget.wait(client(1), millis(10_000), &NoEntropy), None);
    }

    #[test]
    fn no_number_of_clients_makes_it_grow() {
        let budget = budget(1);
        for address in 0..100_000_u32 {
            let address = Some(IpAddr::from(address.to_be_bytes()));
            budget.charge(address, millis(u64::from(address.is_some())), &NoEntropy);
            assert!(budget.wait(address, millis(1), &NoEntropy).is_some());
        }
        assert_eq!(budget.clients.borrow().len(), BUCKETS);
    }

    #[test]
    fn none_is_no_budget() {
        assert_eq!(looked_at(&budget(0), 0, 1000), 1000);
    }
}
