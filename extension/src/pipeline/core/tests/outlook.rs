use super::*;

const MS: Duration = Duration::from_millis(1);

/// Sends a batch in a flush that waits for it or not, and returns the usual answer time after its answer.
fn answered(bench: &mut Bench, waits: bool, answer_time: Duration) -> Option<Duration> {
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.sent(1);
    if !waits {
        bench.end_flush(false);
    }
    bench.now += answer_time;
    bench.complete(0, Ok(ExportOutcome::default()));
    bench.complete(1, Ok(ExportOutcome::default()));
    bench.core.outlook(bench.now).usual
}

#[tokio::test]
async fn only_answers_that_a_flush_waited_for_show_what_a_flush_costs() {
    let mut bench = Bench::new(Trigger::Flush);

    assert_eq!(answered(&mut bench, true, 40 * MS), Some(40 * MS));
    assert_eq!(answered(&mut bench, false, 9_000 * MS), Some(40 * MS), "frozen meanwhile");
    assert_eq!(answered(&mut bench, true, 80 * MS), Some(50 * MS));
}

#[tokio::test]
async fn an_answer_that_a_hold_was_too_short_for_makes_the_next_flush_dearer() {
    let mut bench = Bench::new(Trigger::Flush);
    answered(&mut bench, true, 40 * MS);
    bench.receive(1);
    bench.core.begin_flush(bench.now, false);
    bench.sent(0);
    bench.now += 300 * MS;
    bench.end_flush(false);

    assert_eq!(bench.core.outlook(bench.now).usual, Some(300 * MS));
    assert_eq!(bench.core.outlook(bench.now).pending, Some(300 * MS));
}
