//! `docs/migration.md`: the examples of that page, beside Envoy's own filter where there is one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use portcullis_e2e::{Answer, Gateway};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::{HEALTH, HOUR, MINUTE, SEARCH, early_in};
use crate::migration::{NATIVE, both, example};

/// A gateway with an example's limits alone.
async fn limited(section: &str, edit: impl FnOnce(&mut Value)) -> Result<Gateway> {
    let [_, mut ours] = example(section)?;
    edit(&mut ours);
    let gateway = Gateway::with("rate_limit").workers(4).edit(|bootstrap| {
        *bootstrap.filter("rate_limit")? = ours;
        Ok(())
    });
    gateway.start().await
}

/// Asks both at once; gives back Envoy's answer and ours.
async fn ask_both(gateway: &Gateway, headers: &[(&str, &str)]) -> Result<[Answer; 2]> {
    let native = [headers, &[NATIVE]].concat();
    let (native, ours) = tokio::try_join!(
        gateway.get_with(SEARCH, &native),
        gateway.get_with(SEARCH, headers),
    )?;
    // Each was judged by the filter that it was meant for.
    let is_ours = |answer: &Answer| answer.body.contains("quota-exceeded");
    assert_eq!(is_ours(&ours), ours.status == 429, "{ours:?}");
    assert!(!is_ours(&native), "{native:?}");
    // As the page says of Envoy's.
    let refused = native.status == 429;
    assert_eq!(native.body == "local_rate_limited", refused, "{native:?}");
    assert_eq!(native.header("retry-after"), None);
    Ok([native, ours])
}

/// What `x-ratelimit-…` says: the limit, what remains of it, and the seconds until it is reset.
fn told(answer: &Answer) -> [Option<u64>; 3] {
    ["limit", "remaining", "reset"].map(|part| answer.number(&format!("x-ratelimit-{part}")))
}

/// A token every two seconds: were Envoy to add five at the end of ten, this would not hold.
/// The steps lie a second off the times at which a token comes, so that a busy machine is in
/// time for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_bucket_admits_what_envoys_own_filter_does() -> Result<()> {
    let gateway = both("rate_limit", example("One bucket")?, 4)
        .start()
        .await?;
    let begun = Instant::now();
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for (seconds, requests) in [(0, 13), (3, 3), (5, 2), (9, 3), (11, 2)] {
        sleep_until(begun + Duration::from_secs(seconds)).await;
        for _ in 0..requests {
            let [native, own] = ask_both(&gateway, &[]).await?;
            theirs.push(native.status);
            ours.push(own.status);
        }
    }
    let expected: Vec<u16> = [
        [200; 10].as_slice(),
        &[429; 3],
        &[200, 429, 429],
        &[200, 429],
        &[200, 200, 429],
        &[200, 429],
    ]
    .concat();
    assert_eq!(theirs, expected, "Envoy's");
    assert_eq!(ours, expected, "ours");
    Ok(())
}

/// Nothing drips in within a test, so that the sequence is all there is to it.
#[tokio::test]
async fn descriptors_and_keys_admit_the_same() -> Result<()> {
    let gateway = both("rate_limit", example("Descriptors")?, 4)
        .start()
        .await?;
    for (key, status) in [
        (Some("a"), 200),
        (Some("a"), 200),
        (Some("b"), 200),
        (Some("a"), 200),
        (Some("a"), 429),
        // Without a key only the bucket of all is asked.
        (None, 200),
        (Some("b"), 200),
        // It is empty: six were admitted.
        (Some("c"), 429),
        (None, 429),
    ] {
        let headers: Vec<_> = key.map(|key| ("x-api-key", key)).into_iter().collect();
        let answers = ask_both(&gateway, &headers).await?;
        let statuses = answers.each_ref().map(|answer| answer.status);
        assert_eq!(statuses, [status, status], "{key:?}");
    }
    Ok(())
}

/// What the page says of these headers: the same remains, of the bucket's size or of the quota, and
/// Envoy looks ahead to the next token where we look to the last.
#[tokio::test]
async fn headers_of_one_name_say_what_the_page_says_they_do() -> Result<()> {
    let gateway = both("rate_limit", example("Descriptors")?, 1)
        .start()
        .await?;
    for (native, ours) in [
        ([3, 2, 0], [1, 2, 3_600]),
        ([3, 1, 0], [1, 1, 7_200]),
        ([3, 0, 3_600], [1, 0, 10_800]),
        // Refused.
        ([3, 0, 3_600], [1, 0, 3_600]),
    ] {
        let answers = ask_both(&gateway, &[("x-api-key", "a")]).await?;
        let [theirs, own] = answers.each_ref().map(told);
        // Seconds that have passed since are not what this is about.
        let is_about = |found: [Option<u64>; 3], expected: [u64; 3]| {
            found.iter().zip(expected).all(|(found, expected)| {
                let early = expected.saturating_sub(if expected > 9 { 60 } else { 0 });
                found.is_some_and(|found| (early..=expected).contains(&found))
            })
        };
        assert!(is_about(theirs, native), "{theirs:?} {native:?}");
        assert!(is_about(own, ours), "{own:?} {ours:?}");
    }
    Ok(())
}

/// Where this moment lies, in seconds since 1970.
fn second() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Waits for the next second that is a multiple of `of`.
async fn next_multiple(of: u64) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let next = Duration::from_secs((now.as_secs() / of + 1) * of);
    // A little later, so that no rounding of a sleep's end is before it.
    sleep(next.saturating_sub(now) + Duration::from_millis(5)).await;
    Ok(())
}

/// Kong can't run here. Its algorithm is to count the admitted requests of each calendar period, and
/// to refuse where one of the counts has reached its number: what that gives is computed by hand.
/// A minute is four seconds here, since nobody wants to wait for one.
#[tokio::test]
async fn several_periods_admit_what_kongs_counts_would() -> Result<()> {
    const MINUTE: u64 = 4;
    let gateway = limited("Several periods", |ours| {
        assert_eq!(ours["limits"][1]["window"], "1m");
        ours["limits"][1]["window"] = json!(format!("{MINUTE}s"));
    })
    .await?;
    for attempt in 0..5 {
        // A new client with new counts each time.
        let key = format!("key-{attempt}");
        if let Some(statuses) = four_bursts(&gateway, &key, MINUTE).await? {
            assert_eq!(
                statuses,
                [
                    // The second is full at 5.
                    vec![200, 200, 200, 200, 200, 429, 429],
                    // The minute at 8; what was refused is not in it.
                    vec![200, 200, 200, 429, 429],
                    vec![429, 429],
                    // The next minute.
                    vec![200, 200, 200, 200, 200, 429],
                ]
            );
            return Ok(());
        }
    }
    bail!("no burst was over within a second, five times")
}

/// The statuses of bursts in three seconds of one minute and the first of the next; `None` when one
/// lasted into another second, so that nobody knows where its requests were counted.
async fn four_bursts(gateway: &Gateway, key: &str, minute: u64) -> Result<Option<Vec<Vec<u16>>>> {
    let mut all = Vec::new();
    let mut first = None;
    let bursts = [(minute, 0, 7), (1, 1, 5), (1, 2, 2), (minute, minute, 6)];
    for (multiple_of, offset, requests) in bursts {
        next_multiple(multiple_of).await?;
        let begun = second()?;
        if begun != *first.get_or_insert(begun) + offset {
            return Ok(None);
        }
        let mut statuses = Vec::new();
        for _ in 0..requests {
            let answer = gateway.get_with(SEARCH, &[("x-api-key", key)]).await?;
            statuses.push(answer.status);
            assert_eq!(answer.number("x-ratelimit-limit-second"), Some(5));
        }
        if second()? != begun {
            return Ok(None);
        }
        all.push(statuses);
    }
    Ok(Some(all))
}

#[tokio::test]
async fn by_address_is_one_count_for_each_and_says_nothing_in_headers() -> Result<()> {
    early_in(MINUTE, Duration::from_secs(10)).await?;
    let gateway = limited("By address", |_| {}).await?;
    for status in [200, 200, 200, 429] {
        let answer = gateway.get(SEARCH).await?;
        assert_eq!(answer.status, status);
        let told = |name: &&str| name.contains("ratelimit");
        assert_eq!(answer.headers.keys().map(|n| n.as_str()).find(told), None);
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    Ok(())
}

#[tokio::test]
async fn by_path_is_one_count_for_all_and_none_for_other_paths() -> Result<()> {
    early_in(MINUTE, Duration::from_secs(10)).await?;
    let gateway = limited("By path", |_| {}).await?;
    for status in [200, 200, 200, 429] {
        assert_eq!(gateway.get(SEARCH).await?.status, status);
        assert_eq!(gateway.get(HEALTH).await?.status, 200);
    }
    Ok(())
}

/// As a `jwt_auth` before it would have written them.
#[tokio::test]
async fn by_consumer_is_a_count_for_each_subject() -> Result<()> {
    early_in(HOUR, Duration::from_secs(10)).await?;
    let gateway = limited("By consumer", |ours| {
        assert_eq!(ours["limits"][0]["quota"], 1000);
        ours["limits"][0]["quota"] = json!(2);
    })
    .await?;
    for (user, status) in [("a", 200), ("b", 200), ("a", 200), ("a", 429), ("b", 200)] {
        let answer = gateway.get_with(SEARCH, &[("x-user-id", user)]).await?;
        assert_eq!(answer.status, status, "{user}");
    }
    assert_eq!(gateway.get(SEARCH).await?.status, 400);
    Ok(())
}
