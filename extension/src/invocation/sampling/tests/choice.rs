//! The choice of one trace in N, over many traces.

use super::*;

fn random_id(random: &mut fastrand::Rng) -> TraceId {
    TraceId::from_bytes(random.u128(1..).to_be_bytes()).unwrap()
}

#[test]
fn of_10_000_traces_every_failed_or_slow_part_is_kept_and_the_others_follow_the_choice() {
    let mut random = fastrand::Rng::with_seed(7);
    let sandbox = Sandbox { registry: Registry::with_sampling(Some(settings())) };
    for _ in 0..100 {
        let ids: Vec<_> = (0..100).map(|_| random_id(&mut random)).collect();
        let spans = ids.iter().enumerate().map(|(place, id)| match place {
            7 => failed(span(*id, 10)),
            8 => {
                let span = span(*id, 10);
                let end = span.end_time_unix_nano;
                Span { start_time_unix_nano: end - 2_001 * MS, ..span }
            }
            _ => span(*id, 10),
        });
        let parts = sandbox.receive(spans.collect());
        sandbox.registry.decide(SystemTime::now(), true);

        for (place, id) in ids.into_iter().enumerate() {
            let expected = match place {
                7 | 8 => Kept,
                _ if settings().chooses(id) => Chosen,
                _ => LeftOut,
            };
            assert_eq!(parts.of_item(place), expected);
        }
    }
}

#[test]
fn weighted_counts_of_200_sets_of_10_000_traces_are_unbiased() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut weighted_count = |set: usize| {
        let settings = SamplingSettings { salt: set.to_string(), ..settings() };
        let chosen = (0..9_900).filter(|_| settings.chooses(random_id(&mut random))).count() as u64;
        100 + RATE * chosen // 1 % failed, and stand for themselves
    };

    let counts: Vec<_> = (0..200).map(&mut weighted_count).collect();

    let mean = counts.iter().sum::<u64>() as f64 / 200.0;
    assert!((9_900.0..=10_100.0).contains(&mean), "{mean}");
    let outside: Vec<_> = counts.iter().filter(|it| !(8_700..=11_300).contains(*it)).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// 13 % are three deviations of a set, which one set of 370 exceeds by chance; with this seed none does.
const SEED: u64 = 1;

#[test]
fn kept_ids_show_no_period_over_the_minutes_of_a_day() {
    let settings = settings();
    let mut random = fastrand::Rng::with_seed(7);
    // Random ids, and those of a generator that counts.
    for is_random in [true, false] {
        let mut kept = [0_u64; 1_440];
        let mut counter = 0_u128;
        for (minute, kept) in kept.iter_mut().enumerate() {
            for second in 0..240 {
                let seconds = 1_767_225_600 + minute as u128 * 60 + second / 4;
                counter += 1;
                let rest = if is_random { random.u128(..) >> 32 } else { counter };
                let id = TraceId::from_bytes((seconds << 96 | rest).to_be_bytes()).unwrap();
                *kept += u64::from(settings.chooses(id));
            }
        }
        let expected = 240.0 / RATE as f64;
        let chi_square: f64 =
            kept.iter().map(|kept| (*kept as f64 - expected).powi(2) / expected).sum();
        // 1,439 degrees of freedom; a binomial's variance is 1 - 1/RATE of the mean. Four deviations.
        let (mean, deviation) = (1_439.0 * 0.95, (2.0 * 1_439.0_f64).sqrt() * 0.95);
        assert!((chi_square - mean).abs() < 4.0 * deviation, "{is_random}: {chi_square}");
    }
}

#[test]
fn functions_with_one_salt_agree_and_a_smaller_rate_includes_a_larger_one() {
    let at_rate = |rate, salt: &str| SamplingSettings { rate, salt: salt.into(), ..settings() };
    let ids: Vec<_> =
        (1..=20_000_u128).map(|id| TraceId::from_bytes(id.to_be_bytes()).unwrap()).collect();
    let chosen = |settings: &SamplingSettings| -> Vec<_> {
        ids.iter().filter(|id| settings.chooses(**id)).collect()
    };

    let [ten, forty] = [10, 40].map(|rate| chosen(&at_rate(rate, "a")));

    assert!(forty.iter().all(|id| ten.contains(id)) && !forty.is_empty());
    assert_ne!(chosen(&at_rate(10, "b")), ten);
}

#[test]
fn forged_ids_with_one_ending_share_the_choice_and_not_the_rules() {
    let sandbox = Sandbox::warm();
    let original = trace(false, 1).to_bytes();
    let forged = |first: u8| {
        let mut bytes = original;
        bytes[..9].fill(first);
        TraceId::from_bytes(bytes).unwrap()
    };
    let mut kept = Vec::new();
    for number in 1..=50_u8 {
        let request_id = number.to_string();
        let attempt = sandbox.invoke(&request_id, 1_000 * u64::from(number));
        let span = server(span(forged(number), 1_000 * u64::from(number) + 10), &request_id);
        let span = if number == 7 { failed(span) } else { span };
        let parts = sandbox.receive(vec![span]);
        sandbox.conclude(attempt, 1_000 * u64::from(number) + 20);
        kept.extend((parts.common() != Some(LeftOut)).then_some((number, parts.common())));
    }

    assert_eq!(kept, [(7, Some(Kept))]);
}
