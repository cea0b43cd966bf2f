//! `GET /api/health-check`: is the function alive? Says nothing about the store.

use serde::Serialize;
use tracing::info;

use crate::{
    api::{ApiError, Reply, Request, Route},
    app::App,
};

/// What this function answers.
pub const ROUTE: Route = Route { methods: &["GET"], path: "/api/health-check" };

#[derive(Serialize)]
struct Health {
    success: bool,
    /// The version of this answer, as the original has it.
    ver: u8,
}

/// Always well, if it runs at all.
pub async fn handle(_app: &App, _request: Request) -> Result<Reply, ApiError> {
    info!("Alive and well");
    Reply::ok(&Health { success: true, ver: 1 })
}
