//! How many bad signatures are looked at.
//!
//! Whether a token is good is not known before it was checked. So what bad ones cost is bounded, and
//! good ones are charged nothing:
//!
//! - of each client address, `failures` in a window; behind that, the same number once more, for
//!   tokens that say to be of somebody in whose name that address has sent no bad ones lately: one
//!   sender behind a shared address has the others' tokens looked at;
//! - of the worker as a whole, `total` in a window. Behind both, tokens of those whom this worker
//!   has verified before are still looked at, `total` once more.

use std::cell::{Cell, OnceCell, RefCell};
use std::hash::Hasher as _;
use std::net::IpAddr;

use portcullis_policy::{Entropy, Span, Timestamp};
use siphasher::sip::SipHasher13;

use crate::config::VerifyBudgetConfig;

/// Senders that are told from one another at once; the idlest makes room for a new one.
const BUCKETS: usize = 512;
const WAYS: usize = 8;

/// Of how many bad signatures of an address one may be in the name of one caller, before only those
/// of others get a second chance.
const CALLERS_SHARE: u32 = 10;

/// A bounded record of who has sent bad signatures, of one worker: generic cell rate algorithms
/// (ITU-T I.371) on failures, which start full and come back evenly.
pub(crate) struct VerifyBudget {
    of_address: Allowance,
    of_caller: Allowance,
    of_all: Allowance,
    hash_key: OnceCell<[u8; 16]>,
    addresses: Table,
    second_chances: Table,
    /// By address and the caller that a token names.
    callers: Table,
    all: Cell<Spent>,
    all_known: Cell<Spent>,
    /// Callers of whom this worker has verified a token.
    known: RefCell<Vec<[u64; WAYS]>>,
}

/// Who sends a token that is to be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    /// `None`: all those whose address the gateway does not tell.
    pub(crate) address: Option<IpAddr>,
    /// The provider's index.
    pub(crate) provider: usize,
    /// In whose name; nothing of it is to be believed. Empty: in nobody's.
    pub(crate) subject: &'a str,
}

/// On whose account a token is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Its address's.
    Address,
    /// Its address's second one.
    SecondChance,
    /// That of somebody who was verified before.
    Known,
    /// Nobody's: there is no budget.
    Nobody,
}

/// So many failures in a window.
#[derive(Clone, Copy)]
struct Allowance {
    failures: u32,
    window: Span,
}

/// When an account will be whole again.
#[derive(Clone, Copy, Default)]
struct Spent {
    whole_at: Timestamp,
}

/// Accounts by fingerprint.
#[derive(Default)]
struct Table(RefCell<Vec<Bucket>>);

/// Some of them, each with its fingerprint.
type Bucket = [Option<(u64, Spent)>; WAYS];

impl From<&VerifyBudgetConfig> for VerifyBudget {
    fn from(config: &VerifyBudgetConfig) -> Self {
        let allowance = |failures: u32| Allowance {
            failures,
            window: config.window.span(),
        };
        let failures = config.failures.get();
        let of_caller = failures.checked_div(CALLERS_SHARE).unwrap_or(1).max(1);
        Self {
            of_address: allowance(failures),
            of_caller: allowance(of_caller),
            of_all: allowance(config.total.get()),
            hash_key: OnceCell::new(),
            addresses: Table::default(),
            second_chances: Table::default(),
            callers: Table::default(),
            all: Cell::default(),
            all_known: Cell::default(),
            known: RefCell::default(),
        }
    }
}

impl VerifyBudget {
    /// Whether it bounds anything.
    pub(crate) const fn is_on(&self) -> bool {
        self.of_address.failures > 0
    }

    /// On whose account the sender's token is looked at.
    ///
    /// # Errors
    /// On none: how long the sender has to wait until its next token is looked at for sure.
    pub(crate) fn ask(
        &self,
        sender: &Sender<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Account, Span> {
        if !self.is_on() {
            return Ok(Account::Nobody);
        }
        let prints = self.fingerprints(sender, entropy);
        let of_all = self.of_all.wait(self.all.get(), now);
        let of_address = self
            .of_address
            .wait(self.addresses.get(prints.address), now);
        if of_all.is_none() && of_address.is_none() {
            return Ok(Account::Address);
        }
        let of_caller = self.of_caller.wait(self.callers.get(prints.both), now);
        if of_caller.is_none() {
            let known = self.of_all.wait(self.all_known.get(), now).is_none();
            if known && self.knows(prints.caller) {
                return Ok(Account::Known);
            }
            let second = self.second_chances.get(prints.address);
            if of_all.is_none() && self.of_address.wait(second, now).is_none() {
                return Ok(Account::SecondChance);
            }
        }
        Err(of_all.max(of_address).unwrap_or_default())
    }

    /// The token was good: what its caller sends is looked at from now on, whatever others send.
    pub(crate) fn reward(&self, sender: &Sender<'_>, entropy: &dyn Entropy) {
        if !self.is_on() || sender.subject.is_empty() {
            return;
        }
        let Fingerprints { caller, .. } = self.fingerprints(sender, entropy);
        let Ok(mut known) = self.known.try_borrow_mut() else {
            return;
        };
        if known.is_empty() {
            known.resize(BUCKETS, [0; WAYS]);
        }
        if let Some(bucket) = known.get_mut(bucket_of(caller))
            && !bucket.contains(&caller)
        {
            // The oldest makes room.
            bucket.rotate_right(1);
            if let Some(first) = bucket.first_mut() {
                *first = caller;
            }
        }
    }

    /// The token was bad: takes one failure off the account that it was looked at on, and off that
    /// of whose name it bore.
    pub(crate) fn charge(
        &self,
        sender: &Sender<'_>,
        account: Account,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        let prints = self.fingerprints(sender, entropy);
        let all = match account {
            Account::Nobody => return,
            Account::Address => {
                self.addresses.charge(prints.address, self.of_address, now);
                &self.all
            }
            Account::SecondChance => {
                self.second_chances
                    .charge(prints.address, self.of_address, now);
                &self.all
            }
            Account::Known => &self.all_known,
        };
        all.set(self.of_all.charged(all.get(), now));
        self.callers.charge(prints.both, self.of_caller, now);
    }

    fn knows(&self, caller: u64) -> bool {
        let Ok(known) = self.known.try_borrow() else {
            return false;
        };
        let bucket = known.get(bucket_of(caller));
        bucket.is_some_and(|bucket| bucket.contains(&caller))
    }

    /// Keyed, so that nobody can choose names or addresses that push certain others out.
    fn fingerprints(&self, sender: &Sender<'_>, entropy: &dyn Entropy) -> Fingerprints {
        let key = self.hash_key.get_or_init(|| {
            let mut key = *b"portcullis-verify";
            // What is left of the fixed key where the gateway has no random bytes will do.
            let _ = entropy.fill(&mut key);
            let [key @ .., _] = key;
            key
        });
        let hash = |with_address: bool, with_caller: bool| {
            let mut hasher = SipHasher13::new_with_key(key);
            if with_address {
                match sender.address {
                    Some(IpAddr::V4(address)) => hasher.write(&address.octets()),
                    Some(IpAddr::V6(address)) => hasher.write(&address.octets()),
                    None => {}
                }
            }
            if with_caller {
                hasher.write_usize(sender.provider);
                hasher.write(sender.subject.as_bytes());
            }
            hasher.write_u8(u8::from(with_address));
            hasher.write_u8(u8::from(with_caller));
            hasher.finish()
        };
        Fingerprints {
            address: hash(true, false),
            caller: hash(false, true),
            both: hash(true, true),
        }
    }
}

struct Fingerprints {
    address: u64,
    caller: u64,
    both: u64,
}

impl Allowance {
    /// How long it takes until the account has one failure again; `None`: it has one.
    fn wait(&self, account: Spent, now: Timestamp) -> Option<Span> {
        let spent = self.spent(account, now);
        let most = self.window.as_nanos().saturating_sub(self.share());
        (spent > most).then(|| Span::from_nanos(spent.saturating_sub(most)))
    }

    /// The account with one failure less. It never owes more than the window.
    fn charged(&self, account: Spent, now: Timestamp) -> Spent {
        let spent = self.spent(account, now).saturating_add(self.share());
        let spent = spent.min(self.window.as_nanos());
        Spent {
            whole_at: now.after(Span::from_nanos(spent)),
        }
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

    /// What an account has spent, in nanoseconds of the window. None can have spent more than a
    /// whole one: then the clock was set back, and it starts afresh.
    fn spent(&self, account: Spent, now: Timestamp) -> u64 {
        let spent = account.whole_at.since(now).as_nanos();
        if spent > self.window.as_nanos() {
            0
        } else {
            spent
        }
    }
}

impl Table {
    /// The account; a whole one where there is none.
    fn get(&self, print: u64) -> Spent {
        let Ok(buckets) = self.0.try_borrow() else {
            return Spent::default();
        };
        let bucket = buckets.get(bucket_of(print)).into_iter().flatten();
        let mut entries = bucket.flatten();
        let found = entries.find(|(of, _)| *of == print);
        found.map_or_else(Spent::default, |(_, account)| *account)
    }

    fn charge(&self, print: u64, allowance: Allowance, now: Timestamp) {
        let Ok(mut buckets) = self.0.try_borrow_mut() else {
            return;
        };
        if buckets.is_empty() {
            buckets.resize(BUCKETS, [None; WAYS]);
        }
        let Some(bucket) = buckets.get_mut(bucket_of(print)) else {
            return;
        };
        let known = bucket
            .iter()
            .position(|entry| entry.is_some_and(|(of, _)| of == print));
        let index = known.or_else(|| {
            let idlest = bucket.iter().enumerate();
            let idlest = idlest.min_by_key(|(_, entry)| entry.map(|(_, account)| account.whole_at));
            idlest.map(|(index, _)| index)
        });
        let Some(entry) = index.and_then(|index| bucket.get_mut(index)) else {
            return;
        };
        let account = entry
            .filter(|_| known.is_some())
            .map_or_else(Spent::default, |(_, account)| account);
        *entry = Some((print, allowance.charged(account, now)));
    }
}

fn bucket_of(print: u64) -> usize {
    let [first, second, ..] = print.to_le_bytes();
    usize::from(u16::from_le_bytes([first, second])) % BUCKETS
}

#[cfg(test)]
mod tests;
