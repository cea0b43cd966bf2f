//! Rows whose fault is the disk below the spool.

use cruddur_tests::{Answer, Burst, EXTENSION, Exit, Party, binaries};

use super::outcome::{Outcome, spooled};
use super::rig::Rig;
use crate::puppet::{Script, script};

/// A row with the extension on a disk that takes no file of more than so many blocks of 512 bytes. Its
/// program lives as long as what is returned beside.
async fn start_limited_to(blocks: u32, row: &'static str) -> (Rig, Script) {
    let extension = binaries().path(EXTENSION);
    let limited =
        script(&format!("trap '' XFSZ\nulimit -f {blocks}\nexec {}", extension.display()));
    let program = limited.program.clone();
    (Rig::start_with(row, |builder| builder.extension(EXTENSION, program)).await, limited)
}

fn assert_told_once(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.story.matches(what).count(), 1, "{}", outcome.story);
}

#[tokio::test]
async fn a_disk_that_takes_not_a_byte() {
    let (rig, _limited) = start_limited_to(0, "a full disk").await;
    rig.honeycomb.always(Answer::status(503));

    rig.invoke(3).await;
    rig.honeycomb.always(Answer::Proper);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
    assert_told_once(&outcome, "The spool takes nothing");
    assert_told_once(&outcome, "The sums cannot be written");
}

#[tokio::test]
async fn a_disk_that_has_room_for_the_sums_and_small_batches_only() {
    let (rig, _limited) = start_limited_to(4, "a disk with little room").await;
    rig.honeycomb.always(Answer::status(503));

    rig.invoke(1).await;
    rig.invoke_with(Burst { requests: 10, spans: 100, ..Burst::SMALL }).await;
    rig.invoke(1).await;
    rig.honeycomb.always(Answer::Proper);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
    assert_told_once(&outcome, "The spool takes nothing");
}

#[tokio::test]
async fn a_spool_directory_that_cannot_be_one() {
    let rig = Rig::start_with("no directory for the spool", |builder| {
        builder.env_in_directory("CRUDDUR_SPOOL_DIR", "/dev/null/spool")
    })
    .await;
    rig.honeycomb.always(Answer::status(503));

    rig.invoke(3).await;
    rig.honeycomb.always(Answer::Proper);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
    assert_told_once(&outcome, "cannot be the spool");
}

#[tokio::test]
async fn a_function_that_empties_tmp_during_an_outage() {
    let rig = Rig::start("the function empties /tmp in an outage").await;
    rig.honeycomb.always(Answer::status(503));
    rig.invoke(2).await;
    rig.sandbox.stands_still(Party::Extension(EXTENSION.to_owned())).await;

    let directory = rig.sandbox.directory().join("spool");
    std::fs::remove_dir_all(&directory).expect("the spool");
    rig.invoke(1).await;
    assert!(spooled(&directory, "honeycomb").len() >= 3 * 13, "{}", rig.sandbox.story());
    rig.honeycomb.always(Answer::Proper);
    let outcome = rig.end().await;

    outcome.assert_delivered_once();
    assert_told_once(&outcome, "which is made again");
}

#[tokio::test]
async fn two_extensions_with_one_spool_of_which_the_first_ends() {
    let first = Rig::start("one spool for two, first").await;
    first.honeycomb.always(Answer::status(503));
    first.invoke(1).await;
    let (load, directory) = (first.load.clone(), first.sandbox.directory().join("spool"));
    let mut second = Rig::start_with("one spool for two", |builder| {
        let builder = builder.function(load.function());
        builder.env_in_directory("CRUDDUR_SPOOL_DIR", &directory.display().to_string())
    })
    .await;
    second.load = load; // of both
    second.honeycomb.always(Answer::status(503));

    second.invoke(1).await;
    first.invoke(1).await;
    let ended = first.sandbox.shutdown().await;
    assert_eq!(ended.extension, Some(Exit::Code(0)));
    assert!(spooled(&directory, "honeycomb").len() >= 26, "{}", first.sandbox.story());
    second.honeycomb.always(Answer::Proper);
    second.invoke(1).await;
    let outcome = second.end().await;

    assert_eq!(outcome.sent(), 4 * 13);
    outcome.assert_delivered_once();
    assert_told_once(&outcome, "Another process has");
}
