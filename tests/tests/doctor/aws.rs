//! Region, credentials and log group of AWS's destinations.

use cruddur_tests::{Cli, moto};

use super::{doctor, findings};

#[tokio::test]
async fn it_makes_no_log_group_and_says_whether_there_is_one() {
    let group = moto::unique("group");
    let cloudwatch = || doctor().aws().env("CRUDDUR_LOG_GROUP", &group);

    let before = cloudwatch().run().await;
    let again = cloudwatch().run().await;
    moto::log_group(&group).await;
    let after = cloudwatch().run().await;

    assert_eq!((before.code, again.code, after.code), (0, 0, 0), "{before:?} {after:?}");
    for missing in [before, again] {
        assert_eq!(missing.json()["level"], "warning", "{missing:?}");
        let told = &findings(&missing, "cloudwatch")[0];
        assert!(told.contains("there is no log group"), "{told}");
    }
    assert_eq!(after.json()["level"], "fine", "{after:?}");
}

#[tokio::test]
async fn aws_without_credentials_is_a_misconfiguration_and_a_daemon_without_address_unreachable() {
    let aws = doctor().env("AWS_REGION", "eu-west-1").env("CRUDDUR_LOG_GROUP", "cruddur");
    let aws = aws.env("CRUDDUR_EXPORTERS", "xray,cloudwatch").run().await;
    let daemon = doctor().env("CRUDDUR_EXPORTERS", "xray");
    let daemon = daemon.env("AWS_XRAY_DAEMON_ADDRESS", "nobody.invalid:2000").run().await;

    assert_eq!((aws.code, daemon.code), (1, 2), "{aws:?} {daemon:?}");
    for destination in ["xray", "cloudwatch"] {
        let told = &findings(&aws, destination)[0];
        assert!(told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    }
    let told = &findings(&daemon, "xray")[0];
    assert!(told.contains("nobody.invalid:2000"), "{told}");
}

fn with_region(region: &str) -> Cli {
    let credentials =
        doctor().env("AWS_ACCESS_KEY_ID", "a-key").env("AWS_SECRET_ACCESS_KEY", "a-secret");
    credentials.env("AWS_REGION", region).env("CRUDDUR_LOG_GROUP", "cruddur")
}

#[tokio::test]
async fn a_region_that_does_not_exist_is_shown_in_the_address_that_has_no_host() {
    let secret = "arn:aws:secretsmanager:eu-central-9:123456789012:secret:honeycomb-AbCdEf";
    let doctor = with_region("eu-central-9").env("HONEYCOMB_API_KEY_SECRET", secret);

    let printed = doctor.env("CRUDDUR_EXPORTERS", "honeycomb,xray,cloudwatch").run().await;

    assert_eq!(printed.code, 2, "{printed:?}");
    let addresses = [("honeycomb", "secretsmanager"), ("xray", "xray"), ("cloudwatch", "logs")];
    for (destination, service) in addresses {
        let finding = &findings(&printed, destination)[0];
        assert!(finding.contains(&format!("{service}.eu-central-9.amazonaws.com")), "{finding}");
    }
}

#[tokio::test]
async fn a_region_that_no_address_can_have_is_a_misconfiguration() {
    let printed =
        with_region("eu_central_1").env("CRUDDUR_EXPORTERS", "xray,cloudwatch").run().await;

    assert_eq!(printed.code, 1, "{printed:?}");
    for destination in ["xray", "cloudwatch"] {
        let finding = &findings(&printed, destination)[0];
        assert!(finding.contains("AWS_REGION"), "{finding}");
    }
}
