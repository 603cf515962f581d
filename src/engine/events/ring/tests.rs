//! What the ring keeps, forgets and tells.

use bytes::Bytes;

use super::*;

fn said(nanos: Nanos, word: &str) -> Said {
    let line = format!("{{\"Action\":\"{word}\",\"timeNano\":{nanos}}}");
    Said::read(Bytes::from(line)).unwrap()
}

fn past(said: impl IntoIterator<Item = Said>) -> Past {
    past_with(said.into_iter().map(Some))
}

/// None where something could not be read.
fn past_with(told: impl IntoIterator<Item = Option<Said>>) -> Past {
    let mut past = Past::default();
    told.into_iter().for_each(|said| past.push(said));
    past
}

fn told(ring: &Ring) -> Vec<String> {
    let mut position = ring.first;
    let mut told = Vec::new();
    while let Some(step) = ring.take(&mut position) {
        told.push(match step {
            Step::Event(event) => format!("{} {}", event.id, event.action()),
            other => format!("{other:?}"),
        });
    }
    told
}

#[test]
fn numbers_events_of_one_time_and_knows_them_again() {
    let mut ring = Ring::new(0);
    assert!(ring.push(said(7, "a")));
    assert!(ring.push(said(7, "b")));
    assert!(!ring.push(said(7, "a")));
    assert!(ring.push(said(8, "a")));
    assert_eq!(told(&ring), ["7.0 a", "7.1 b", "8.0 a"]);
    let place = |text: &str| ring.find(text.parse().unwrap());
    assert_eq!(place("7.1"), Some(MIDDLE + 1));
    assert_eq!(place("7.2"), None);
    assert_eq!(ring.later_than(7), (MIDDLE + 2, Some(8)));
    assert_eq!(ring.later_than(8), (MIDDLE + 3, None));
}

/// The ring is of ten by the agent's clock, when the engine's shows four.
#[test]
fn leaves_to_those_who_listen_what_comes_by_a_clock_that_is_behind() {
    let mut ring = Ring::new(10);
    ring.begins(5);
    let mut position = ring.end();
    ring.prepend(past([said(4, "before"), said(5, "now")]), 0);
    assert!(ring.push(said(5, "now")));
    let Some(Step::Event(event)) = ring.take(&mut position) else {
        panic!("it is not told");
    };
    assert_eq!(event.action(), "now");
    assert_eq!(told(&ring), ["4.0 before", "5.0 now"]);
    // By a clock that is ahead, all comes since the agent asked.
    ring.begins(20);
    assert!(ring.is_told(5));
}

#[test]
fn joins_what_was_before_without_repeating_it() {
    let mut ring = Ring::new(5);
    ring.push(said(6, "c"));
    assert!(ring.reaches(5) && !ring.reaches(4));
    let mut position = ring.first;
    ring.prepend(past([said(4, "a"), said(4, "b"), said(6, "c")]), 3);
    assert!(ring.reaches(3) && !ring.reaches(2));
    assert_eq!(told(&ring), ["4.0 a", "4.1 b", "6.0 c"]);
    // Who was there goes on where it was.
    assert!(matches!(ring.take(&mut position), Some(Step::Event(event)) if event.id.nanos == 6));
}

#[test]
fn who_listens_gets_what_another_has_asked_for_before_it_came() {
    let mut ring = Ring::new(5);
    ring.push(said(6, "c"));
    let mut listener = ring.end();
    ring.prepend(past([said(4, "a"), said(7, "d")]), 3);
    assert!(ring.push(said(7, "d")));
    assert!(matches!(ring.take(&mut listener), Some(Step::Event(event)) if event.id.nanos == 7));
    assert_eq!(told(&ring), ["4.0 a", "6.0 c", "7.0 d"]);
}

#[test]
fn tells_where_something_could_not_be_read() {
    let mut ring = Ring::new(5);
    ring.push(said(6, "c"));
    let known = || {
        [
            None,
            Some(said(2, "a")),
            None,
            None,
            Some(said(4, "b")),
            None,
        ]
    };
    let told_live = [Some(said(6, "c")), None];
    ring.prepend(past_with(known().into_iter().chain(told_live)), 1);
    ring.push_gap(None);
    ring.push_again();
    ring.push_gap(Some(9));
    ring.push(said(9, "d"));
    let gap = |after, before| format!("{:?}", Step::Gap(Gap { after, before }));
    let wanted = [
        gap(None, Some(2)),
        "2.0 a".into(),
        gap(Some(2), Some(4)),
        "4.0 b".into(),
        gap(Some(4), Some(6)),
        "6.0 c".into(),
        gap(Some(6), None),
        "Again".into(),
        gap(Some(6), Some(9)),
        "9.0 d".into(),
    ];
    assert_eq!(told(&ring), wanted);
}

#[test]
fn forgets_the_oldest_and_says_so() {
    let mut ring = Ring::new(0);
    let mut position = ring.first;
    for nanos in 1..=ENTRIES as i64 + 2 {
        ring.push(said(nanos, "a"));
    }
    let Some(Step::Passed(gap)) = ring.take(&mut position) else {
        panic!("it was not passed");
    };
    assert_eq!((gap.after, gap.before), (None, Some(3)));
    assert!(matches!(ring.take(&mut position), Some(Step::Event(event)) if event.id.nanos == 3));
    ring.prepend(past([said(1, "z")]), 0);
    assert_eq!(
        ring.take(&mut { ring.first })
            .map(|step| matches!(step, Step::Event(_))),
        Some(true)
    );
}

/// How many steps behind the first, and with which gap.
fn since(ring: &Ring, nanos: Nanos) -> (u64, Option<Gap>) {
    let (position, gap) = ring.since(nanos);
    (position - ring.first, gap)
}

fn gap(after: Nanos, before: Nanos) -> Option<Gap> {
    let (after, before) = (Some(after), Some(before));
    Some(Gap { after, before })
}

#[test]
fn a_gap_concerns_only_who_wants_something_of_its_time() {
    let mut ring = Ring::new(0);
    ring.push(said(1, "a"));
    ring.push_gap(Some(5));
    ring.push(said(5, "b"));
    ring.push(said(9, "c"));
    ring.push_gap(None);
    for (nanos, wanted) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (4, 1),
        (5, 2),
        (6, 3),
        (9, 3),
        (10, 4),
    ] {
        assert_eq!(since(&ring, nanos), (wanted, None), "{nanos}");
    }
}

#[test]
fn says_what_is_kept_no_more_of_what_is_wanted() {
    let mut ring = Ring::new(0);
    ring.push(said(1, "a"));
    ring.push_gap(Some(5));
    let end = 5 + ENTRIES as i64;
    for nanos in 5..end - 1 {
        ring.push(said(nanos, "b"));
    }
    // Only the first event is forgotten.
    assert_eq!(since(&ring, 1), (0, gap(1, 5)));
    assert_eq!(since(&ring, 2), (0, None));
    // The gap too.
    ring.push(said(end, "b"));
    assert_eq!(since(&ring, 4), (0, gap(4, 5)));
    assert_eq!(since(&ring, 5), (0, None));
}

#[test]
fn says_so_where_there_was_more_before_than_there_is_room_for() {
    let mut ring = Ring::new(ENTRIES as i64 + 9);
    let more = (0..=ENTRIES as i64).map(|nanos| said(nanos + 1, "a"));
    ring.prepend(past(more), 0);
    assert_eq!(since(&ring, 0), (0, gap(0, 2)));
    assert_eq!(since(&ring, 2), (0, None));
}

#[test]
fn one_event_of_a_time_far_ahead_does_not_make_all_seem_forgotten() {
    const FAR: Nanos = Nanos::MAX;
    let wanted = 5 * MARGIN;
    let mut ring = Ring::new(0);
    ring.push(said(FAR, "a"));
    for nanos in wanted..wanted + ENTRIES as i64 {
        ring.push(said(nanos, "b"));
    }
    assert!(ring.has_forgotten());
    assert_eq!(since(&ring, wanted), (0, gap(wanted, wanted)));
    assert_eq!(since(&ring, wanted + MARGIN + 1).1, None);
    let mut ring = Ring::new(wanted + ENTRIES as i64);
    let far = [said(FAR, "a")].into_iter();
    let more = (wanted..wanted + ENTRIES as i64).map(|nanos| said(nanos, "b"));
    ring.prepend(past(far.chain(more)), 0);
    assert_eq!(since(&ring, wanted + MARGIN + 1).1, None);
}

#[test]
fn is_bounded_in_bytes_too() {
    let mut ring = Ring::new(0);
    let long = "x".repeat(1 << 20);
    for nanos in 1..=10 {
        ring.push(said(nanos, &long));
    }
    assert!(
        ring.bytes <= BYTES && ring.steps.len() == 2,
        "{}",
        ring.bytes
    );
}
