//! What DynamoDB's errors mean to us.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::{
    error::{BuildError, ProvideErrorMetadata, SdkError},
    types::CancellationReason,
};

use crate::store::StoreError;

/// Codes after which trying again helps; of the rest, so do those with a 5xx.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const BUSY: [&str; 8] = [
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Sorts out an error of any operation.
///
/// A connection that broke or stayed silent counts as busy too: it says nothing about the request.
pub(super) fn from_sdk<E>(
    operation: &'static str,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    move |error| {
        let busy = match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
            // A connection that the other end closed in time is neither to the SDK, but `other`.
            SdkError::DispatchFailure(failure) => {
                failure.is_io() || failure.is_timeout() || failure.as_other().is_some()
            }
            SdkError::ServiceError(refused) => {
                let code = refused.err().code().unwrap_or_default();
                refused.raw().status().is_server_error() || BUSY.contains(&code)
            }
            _ => false,
        };
        match busy {
            true => StoreError::Busy { operation, source: error.into() },
            false => StoreError::Engine { operation, source: error.into() },
        }
    }
}

/// Sorts out a transaction that was cancelled; there is a reason for each of its writes.
pub(super) fn from_cancellation(
    reasons: &[CancellationReason],
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    let operation = "transact_write";
    let code = |reason: &CancellationReason| reason.code().unwrap_or_default().to_owned();
    let is_condition = |reason: &CancellationReason| code(reason) == "ConditionalCheckFailed";
    let failed: Vec<usize> =
        (0..reasons.len()).filter(|position| is_condition(&reasons[*position])).collect();
    // Of an item in conflict nothing was found out, so the condition that failed decides.
    if !failed.is_empty() {
        return StoreError::ConditionsFailed { failed };
    }
    match reasons.iter().any(|reason| BUSY.contains(&code(reason).as_str())) {
        true => StoreError::Busy { operation, source: source.into() },
        false => StoreError::Engine { operation, source: source.into() },
    }
}

/// A request that lacks something: a mistake of ours.
pub(super) fn unbuilt(operation: &'static str) -> impl FnOnce(BuildError) -> StoreError {
    move |error| StoreError::Engine { operation, source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancelled(codes: &[&str]) -> StoreError {
        let reasons: Vec<_> =
            codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
        from_cancellation(&reasons, "cancelled")
    }

    #[test]
    fn a_condition_that_failed_is_named_even_beside_a_conflict() {
        let error = cancelled(&[
            "None",
            "ConditionalCheckFailed",
            "TransactionConflict",
            "ConditionalCheckFailed",
        ]);

        assert!(matches!(error, StoreError::ConditionsFailed { failed } if failed == [1, 3]));
    }

    #[test]
    fn conflicts_and_throttling_are_busy_and_anything_else_is_not() {
        for code in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
            assert_eq!(cancelled(&["None", code]).kind(), "busy", "{code}");
        }
        for codes in [["None", "ValidationError"], ["None", "ItemCollectionSizeLimitExceeded"]] {
            assert_eq!(cancelled(&codes).kind(), "engine", "{codes:?}");
        }
        assert_eq!(cancelled(&[]).kind(), "engine");
    }
}
