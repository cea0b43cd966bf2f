//! `GET /api/health-check`: is the function alive? Says nothing about the store.

use serde::Serialize;
use tracing::{info, instrument};

use crate::{
    http::{ApiError, Request, Response, Route},
    runtime::App,
};

/// What this function answers.
pub const ROUTE: Route = Route::get("/api/health-check").unsampled().store_connections(0);

#[derive(Serialize)]
struct Health {
    success: bool,
    /// The version of this answer, as the original has it.
    ver: u8,
}

/// Always well, if it runs at all.
pub async fn handle(_app: &App, _request: Request) -> Result<Response, ApiError> {
    let health = examine();
    info!("Alive and well");
    Ok(Response::ok(&health)?)
}

#[instrument(name = "health-check", fields(app.success = true))]
fn examine() -> Health {
    Health { success: true, ver: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, test_support::HOME_EVENT};

    #[tokio::test]
    async fn it_is_well_without_a_store() {
        let nowhere = |name: &str| (name == "CRUDDUR_SQLITE").then(|| "/dev/null/db".to_owned());
        let app = App::new(Config::from_vars(nowhere));

        let reply = handle(&app, Request::from_event(HOME_EVENT).unwrap()).await.unwrap();

        assert_eq!((reply.status_code(), reply.body()), (200, r#"{"success":true,"ver":1}"#));
    }
}
