//! Errors of the store as errors of the API.

use std::{backtrace::Backtrace, sync::Arc};

use crate::{http::ApiError, store::StoreError};

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::AnsweredBefore) {
            return ApiError::AnsweredBefore;
        }
        let code = error.code().map(str::to_owned);
        // Addresses only: names are looked up where the backtrace is shown.
        let backtrace = Arc::new(Backtrace::force_capture());
        match error {
            StoreError::Busy { .. } => {
                ApiError::StoreBusy { code, source: error.into(), backtrace }
            }
            _ => ApiError::Store { code, source: error.into(), backtrace },
        }
    }
}
