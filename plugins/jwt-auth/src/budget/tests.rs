//! What flows of good and bad tokens have to wait.

use portcullis_policy::EntropyUnavailable;
use portcullis_policy::config::parse_text;

use super::*;

struct NoEntropy;
impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyUnavailable> {
        Err(EntropyUnavailable)
    }
}

fn budget_of(json: &str) -> VerifyBudget {
    VerifyBudget::from(&parse_text::<VerifyBudgetConfig>(json.as_bytes()).unwrap())
}

fn budget(failures: u32) -> VerifyBudget {
    budget_of(&format!(
        r#"{{"failures":{failures},"window":"10s","total":1000000}}"#
    ))
}

fn at(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, last]))
}

fn sender(address: Option<IpAddr>, subject: &str) -> Sender<'_> {
    Sender {
        address,
        provider: 0,
        subject,
    }
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::from_unix_secs(1_000_000).after(Span::from_millis(millis))
}

impl VerifyBudget {
    /// Whether a bad token is looked at.
    fn bad(&self, sender: &Sender<'_>, now: Timestamp) -> bool {
        match self.ask(sender, now, &NoEntropy) {
            Ok(account) => {
                self.charge(sender, account, now, &NoEntropy);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether a good token passes.
    fn good(&self, sender: &Sender<'_>, now: Timestamp) -> bool {
        let passes = self.ask(sender, now, &NoEntropy).is_ok();
        if passes {
            self.reward(sender, &NoEntropy);
        }
        passes
    }

    fn wait(&self, sender: &Sender<'_>, now: Timestamp) -> Option<Span> {
        self.ask(sender, now, &NoEntropy).err()
    }
}

/// How many bad tokens in one name are looked at, one every `step` milliseconds.
fn looked_at(budget: &VerifyBudget, step: u64, count: u64) -> usize {
    let mallory = sender(at(1), "mallory");
    (0..count)
        .filter(|n| budget.bad(&mallory, millis(n * step)))
        .count()
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
    let (budget, mallory) = (budget(2), sender(at(1), "mallory"));
    assert!(budget.bad(&mallory, millis(0)));
    assert_eq!(budget.wait(&mallory, millis(0)), None);
    assert!(budget.bad(&mallory, millis(0)));
    assert_eq!(budget.wait(&mallory, millis(0)), Some(Span::from_secs(5)));
    assert!(budget.wait(&mallory, millis(4999)).is_some());
    assert_eq!(budget.wait(&mallory, millis(5000)), None);
}

#[test]
fn one_clients_failures_are_not_anothers() {
    let budget = budget(1);
    for address in [at(1), None] {
        assert!(budget.bad(&sender(address, "mallory"), millis(0)));
        assert!(
            budget
                .wait(&sender(address, "mallory"), millis(0))
                .is_some()
        );
    }
    assert_eq!(budget.wait(&sender(at(2), "mallory"), millis(0)), None);
}

/// One sender behind a shared address, many times as fast as its budget; the others' new tokens
/// come one every half a second, each in a name of its own.
#[test]
fn behind_a_shared_address_one_sender_of_bad_tokens_stops_nobody_else() {
    for bad_per_sec in [15, 100, 1000] {
        let budget = budget_of("{}");
        let mallory = sender(at(1), "mallory");
        let (mut looked_at, mut refused) = (0, 0);
        for second in 0..60 {
            for n in 0..bad_per_sec {
                let now = millis(second * 1000 + n * 1000 / bad_per_sec);
                looked_at += u32::from(budget.bad(&mallory, now));
            }
            for half in [0, 500] {
                let name = format!("user-{second}-{half}");
                let now = millis(second * 1000 + half);
                refused += u32::from(!budget.good(&sender(at(1), &name), now));
            }
        }
        assert_eq!(refused, 0, "at {bad_per_sec} bad ones a second");
        assert!(looked_at <= 100 + 60 * 10, "{looked_at}");
    }
}

/// The same, by a sender who makes names up: there is no telling its tokens from those of people who
/// come for the first time. Those who were verified before are not refused.
#[test]
fn a_sender_of_made_up_names_stops_nobody_who_was_here_before() {
    let budget = budget_of("{}");
    let names: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    for name in &names {
        assert!(budget.good(&sender(at(1), name), millis(0)));
    }
    let (mut looked_at, mut refused) = (0_u32, 0_u32);
    for second in 0..60_u64 {
        for n in 0..200_u64 {
            let name = format!("made-up-{second}-{n}");
            let now = millis(second * 1000 + n * 5);
            looked_at += u32::from(budget.bad(&sender(at(1), &name), now));
        }
        let name = &names[usize::try_from(second).unwrap() % names.len()];
        refused += u32::from(!budget.good(&sender(at(1), name), millis(second * 1000 + 500)));
    }
    assert_eq!(refused, 0);
    assert!(looked_at <= 2 * (100 + 60 * 10), "{looked_at}");
}

#[test]
fn a_callers_name_that_is_used_up_is_no_way_in_from_there_and_still_one_from_elsewhere() {
    let budget = budget(10);
    assert!(budget.good(&sender(at(1), "alice"), millis(0)));
    assert!(budget.good(&sender(at(2), "alice"), millis(0)));
    let tried = (0..100).filter(|_| budget.bad(&sender(at(1), "alice"), millis(0)));
    assert_eq!(tried.count(), 10);
    assert!(!budget.good(&sender(at(1), "alice"), millis(0)));
    assert!(budget.good(&sender(at(1), "bob"), millis(0)));
    assert!(budget.good(&sender(at(2), "alice"), millis(0)));
}

#[test]
fn many_addresses_together_have_a_bound_and_those_who_were_here_before_still_pass() {
    let budget = budget_of(r#"{"failures":100,"window":"10s","total":500}"#);
    assert!(budget.good(&sender(at(1), "alice"), millis(0)));
    let mut looked_at = 0;
    for address in 0..100_000_u32 {
        let address = Some(IpAddr::from(address.to_be_bytes()));
        looked_at += u32::from(budget.bad(&sender(address, "mallory"), millis(0)));
        looked_at += u32::from(budget.bad(&sender(address, "alice"), millis(0)));
    }
    assert_eq!(looked_at, 2 * 500, "half of them in a known name");
    assert!(
        !budget.good(&sender(at(3), "bob"), millis(0)),
        "for the first time"
    );
    assert!(budget.good(&sender(at(3), "bob"), millis(20)));
    for second in 1..60 {
        for n in 0..500_u32 {
            let address = Some(IpAddr::from((n + 1_000_000).to_be_bytes()));
            budget.bad(&sender(address, "mallory"), millis(second * 1000));
        }
        assert!(budget.good(&sender(at(1), "alice"), millis(second * 1000)));
    }
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    let (budget, mallory) = (budget(1), sender(at(1), "mallory"));
    assert!(budget.bad(&mallory, millis(86_400_000)));
    assert_eq!(budget.wait(&mallory, millis(0)), None);
    assert!(budget.bad(&mallory, millis(0)));
    assert_eq!(budget.wait(&mallory, millis(0)), Some(Span::from_secs(10)));
    assert_eq!(budget.wait(&mallory, millis(10_000)), None);
}

#[test]
fn no_number_of_clients_makes_it_grow() {
    let budget = budget(1);
    for address in 0..100_000_u32 {
        let address = Some(IpAddr::from(address.to_be_bytes()));
        let mallory = sender(address, "mallory");
        assert!(budget.bad(&mallory, millis(1)));
        assert!(budget.wait(&mallory, millis(1)).is_some());
    }
    for table in [&budget.addresses, &budget.second_chances, &budget.callers] {
        assert!(table.0.borrow().len() <= BUCKETS);
    }
}

#[test]
fn the_idlest_makes_room() {
    let (table, allowance) = (Table::default(), budget(10).of_address);
    let print = |n: u64| (n << 16) | 7;
    for n in 0..8 {
        // The third owes the least.
        let now = millis(if n == 2 { 0 } else { 100 + n });
        table.charge(print(n), allowance, now);
    }
    table.charge(print(8), allowance, millis(200));
    for n in 0..9 {
        let held = table.get(print(n)).whole_at != Timestamp::default();
        assert_eq!(held, n != 2, "{n}");
    }
}

#[test]
fn none_is_no_budget() {
    assert_eq!(looked_at(&budget(0), 0, 1000), 1000);
}

#[test]
fn who_sent_a_good_token_is_known_among_many_and_who_has_no_name_is_not() {
    let budget = budget(1);
    budget.reward(&sender(at(1), ""), &NoEntropy);
    assert!(budget.known.borrow().is_empty());
    let names: Vec<String> = (0..200).map(|n| format!("caller {n}")).collect();
    for name in &names {
        budget.reward(&sender(at(1), name), &NoEntropy);
    }
    let is_known = |name: &&String| {
        let print = budget.fingerprints(&sender(at(1), name), &NoEntropy);
        budget.knows(print.caller)
    };
    assert_eq!(names.iter().filter(is_known).count(), 200);
}

#[test]
fn callers_are_spread_over_all_buckets() {
    let buckets = (0..1 << 16).map(bucket_of);
    let used: std::collections::BTreeSet<usize> = buckets.collect();
    assert!(used.into_iter().eq(0..BUCKETS));
}
