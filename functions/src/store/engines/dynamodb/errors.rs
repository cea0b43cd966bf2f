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
        let code = error.as_service_error().and_then(|error| error.code()).map(str::to_owned);
        let busy = match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
            // A connection that the other end closed in time is neither to the SDK, but `other`.
            SdkError::DispatchFailure(failure) => {
                failure.is_io() || failure.is_timeout() || failure.as_other().is_some()
            }
            SdkError::ServiceError(refused) => {
                let is_busy = |code: &str| BUSY.contains(&code);
                refused.raw().status().is_server_error() || code.as_deref().is_some_and(is_busy)
            }
            _ => false,
        };
        match busy {
            true => StoreError::Busy { operation, code, source: error.into() },
            false => StoreError::Engine { operation, code, source: error.into() },
        }
    }
}

/// Sorts out a transaction that was cancelled; there is a reason for each of its writes.
pub(super) fn from_cancellation(
    reasons: &[CancellationReason],
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    let operation = "transact_write";
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let failed: Vec<usize> =
        (0..codes.len()).filter(|position| codes[*position] == "ConditionalCheckFailed").collect();
    // Of an item in conflict nothing was found out, so the condition that failed decides.
    if !failed.is_empty() {
        return StoreError::ConditionsFailed { failed };
    }
    let busy = codes.iter().find(|code| BUSY.contains(code));
    let code = busy.or_else(|| codes.iter().find(|code| **code != "None"));
    let (code, source) = (code.map(|code| (*code).to_owned()), source.into());
    match busy {
        Some(_) => StoreError::Busy { operation, code, source },
        None => StoreError::Engine { operation, code, source },
    }
}

/// A request that lacks something: a mistake of ours.
pub(super) fn unbuilt(operation: &'static str) -> impl FnOnce(BuildError) -> StoreError {
    move |error| StoreError::Engine { operation, code: None, source: error.into() }
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
            let error = cancelled(&["None", code]);
            assert_eq!((error.kind(), error.code()), ("busy", Some(code)));
        }
        for codes in [["None", "ValidationError"], ["None", "ItemCollectionSizeLimitExceeded"]] {
            assert_eq!(cancelled(&codes).kind(), "engine", "{codes:?}");
        }
        assert_eq!((cancelled(&[]).kind(), cancelled(&[]).code()), ("engine", None));
        assert_eq!(cancelled(&["ValidationError", "None"]).code(), Some("ValidationError"));
    }
}
