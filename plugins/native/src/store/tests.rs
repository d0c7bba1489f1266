use loom::{model, thread};

use super::*;

fn view(zone: &Arc<Zone>) -> View {
    View::of(Arc::clone(zone))
}

#[test]
fn the_store_is_what_policies_rely_on() {
    model(|| {
        let zone = Arc::default();
        portcullis_sim::check_store(&view(&zone), &view(&zone));
    });
}

#[test]
fn what_was_never_written_has_no_version_to_be_seen() {
    model(|| {
        let view = view(&Arc::default());
        let any = Expected::Version(Version(1));
        assert_eq!(view.set("a", b"1", any), Err(StoreError::Conflict));
        assert_eq!(view.get("a"), Ok(None));
    });
}

#[test]
fn zones_of_two_names_have_nothing_in_common_and_one_outlives_its_views() {
    // Zones outlive the model, so that it goes through one order alone.
    let is_first = std::sync::atomic::AtomicBool::new(true);
    model(move || {
        if is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            let (one, other) = (Zone::named("one"), Zone::named("other"));
            assert!(!Arc::ptr_eq(&one, &other));
            let before = Arc::as_ptr(&one);
            drop(one);
            assert_eq!(Arc::as_ptr(&Zone::named("one")), before);
        }
    });
}

/// Adds to a number until the store takes it, as the policies do.
fn add(view: &View, by: u8) {
    loop {
        let seen = view.get("sum").unwrap();
        let (sum, expected) = match &seen {
            None => (0, Expected::Absent),
            Some(seen) => (seen.bytes[0], Expected::Version(seen.version)),
        };
        match view.set("sum", &[sum + by], expected) {
            Ok(()) => break,
            Err(error) => assert_eq!(error, StoreError::Conflict),
        }
        thread::yield_now();
    }
}

#[test]
fn no_addition_is_lost_in_whatever_order_two_threads_run() {
    model(|| {
        let zone = Arc::default();
        let adding = |by: u8| {
            let zone = Arc::clone(&zone);
            thread::spawn(move || {
                let view = view(&zone);
                add(&view, by);
                add(&view, by);
            })
        };
        let threads = [1, 10].map(adding);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(view(&zone).get("sum").unwrap().unwrap().bytes, [22]);
    });
}

#[test]
fn a_third_thread_sees_whole_values_alone() {
    model(|| {
        let zone: Arc<Zone> = Arc::default();
        view(&zone).set("a", b"11", Expected::Absent).unwrap();
        let writer = thread::spawn({
            let zone = Arc::clone(&zone);
            move || {
                let view = view(&zone);
                let seen = view.get("a").unwrap().unwrap();
                view.set("a", b"2222", Expected::Version(seen.version))
                    .unwrap();
            }
        });
        let seen = view(&zone).get("a").unwrap().unwrap();
        let whole: &[u8] = match seen.version {
            Version(1) => b"11",
            Version(_) => b"2222",
        };
        assert_eq!(seen.bytes, whole);
        writer.join().unwrap();
    });
}
