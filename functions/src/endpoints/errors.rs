//! Errors of the store as errors of the API.

use std::{backtrace::Backtrace, sync::Arc};

use crate::{http::ApiError, store::StoreError};

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::AnsweredBefore) {
            return ApiError::AnsweredBefore;
        }
        ApiError::Store {
            code: error.code().map(str::to_owned),
            source: error.into(),
            // Addresses only: names are looked up where the backtrace is shown.
            backtrace: Arc::new(Backtrace::force_capture()),
        }
    }
}
