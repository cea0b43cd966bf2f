//! Honeycomb's management API, as far as boards and markers need it: it keeps what it is given, records every
//! request, and refuses as the documentation says. <https://api-docs.honeycomb.io/api>

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use http::{Method, Response};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::fake::{Answer, Answered, Fake, Recorded};
use crate::honeycomb::auth;

/// The only key that it takes. Shaped like a configuration key of an environment.
const KEY: &str = "cfgTESTkeyTESTkeyTESTk";

/// See the module's text. Dropping it closes the port and all connections.
pub struct HoneycombApi {
    fake: Fake,
    state: Arc<Mutex<State>>,
}

struct State {
    permissions: Vec<&'static str>,
    datasets: Vec<String>,
    columns: Vec<Value>,
    queries: Vec<Value>,
    annotations: Vec<Value>,
    boards: Vec<Value>,
    /// The place of each with its body.
    markers: Vec<(String, Value)>,
    has_environment_markers: bool,
    ids: usize,
}

impl HoneycombApi {
    /// An environment without any data. The key has these permissions, by the names in `/1/auth`.
    pub async fn start(permissions: &[&'static str]) -> HoneycombApi {
        let state = Arc::new(Mutex::new(State {
            permissions: permissions.to_vec(),
            datasets: Vec::new(),
            columns: Vec::new(),
            queries: Vec::new(),
            annotations: Vec::new(),
            boards: Vec::new(),
            markers: Vec::new(),
            has_environment_markers: true,
            ids: 0,
        }));
        let shared = state.clone();
        let proper = move |request: Recorded| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            std::future::ready(state.answer(&request)).boxed()
        };
        HoneycombApi { fake: Fake::start(Box::new(proper)).await, state }
    }

    /// The base address, as in `HONEYCOMB_API_ENDPOINT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.fake.address)
    }

    /// The only key that it takes.
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// One request is answered so; several calls queue up.
    pub fn next_answer(&self, answer: Answer) {
        self.fake.next_answer(answer);
    }

    /// Method and path of every request so far.
    pub fn calls(&self) -> Vec<String> {
        let call = |request: Recorded| format!("{} {}", request.method, request.path);
        self.fake.requests().all().into_iter().map(call).collect()
    }

    /// A dataset without columns, as if events had come.
    pub fn add_dataset(&self, name: &str) {
        self.locked(|state| state.datasets.push(name.to_owned()));
    }

    /// Only datasets have markers.
    pub fn without_environment_markers(&self) {
        self.locked(|state| state.has_environment_markers = false);
    }

    /// The markers that it has: each with its place, a dataset or `__all__`.
    pub fn markers(&self) -> Vec<(String, Value)> {
        self.locked(|state| state.markers.clone())
    }

    /// The boards that it has.
    pub fn boards(&self) -> Vec<Value> {
        self.locked(|state| state.boards.clone())
    }

    /// The queries that were ever made.
    pub fn queries(&self) -> Vec<Value> {
        self.locked(|state| state.queries.clone())
    }

    /// The annotations that it has.
    pub fn annotations(&self) -> Vec<Value> {
        self.locked(|state| state.annotations.clone())
    }

    /// Changes what an annotation says of its query, as an older version would have said it.
    pub fn age_annotation(&self, name: &str) {
        self.locked(|state| {
            let found = state.annotations.iter_mut().find(|annotation| annotation["name"] == name);
            found.expect("an annotation")["description"] = "older [cruddur-telemetry 0]".into();
        });
    }

    fn locked<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn answer(&mut self, request: &Recorded) -> Answered {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let (status, body) = match request.header("x-honeycomb-team") {
            Some(KEY) => self.reply(&request.method, &request.path, body),
            _ => (401, json!({ "error": "unknown API key - check your credentials" })),
        };
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Full::new(body.to_string().into()))
            .expect("a well-formed answer")
    }

    fn reply(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.trim_start_matches("/1/").split('/').collect();
        match (method.as_str(), &parts[..]) {
            ("GET", ["auth"]) => (200, auth("configuration", &self.permissions)),
            ("GET", ["datasets"]) => {
                let dataset = |name: &String| json!({ "name": name, "slug": name });
                (200, self.datasets.iter().map(dataset).collect())
            }
            ("POST", ["datasets"]) if !self.permissions.contains(&"createDatasets") => {
                (403, json!({ "error": "the key may not create datasets" }))
            }
            ("POST", ["datasets"]) => {
                let name = body["name"].as_str().unwrap_or_default();
                self.datasets.push(name.to_owned());
                (201, json!({ "name": name, "slug": name }))
            }
            ("GET", ["columns", "__all__"]) if self.columns.is_empty() => {
                (404, json!({ "error": "Dataset not found" }))
            }
            ("GET", ["columns", "__all__"]) => (200, json!(self.columns)),
            ("POST", ["columns", dataset]) if self.datasets.iter().any(|it| it == dataset) => {
                self.columns.push(body.clone());
                (201, body)
            }
            ("POST", ["queries", "__all__"]) => self.make_query(body),
            ("GET", ["query_annotations", "__all__"]) => (200, json!(self.annotations)),
            ("POST", ["query_annotations", "__all__"]) => {
                let known = self.queries.iter().any(|query| query["id"] == body["query_id"]);
                let made = self.with_id(body);
                self.annotations.push(made.clone());
                if known { (201, made) } else { (400, json!({ "error": "no such query" })) }
            }
            ("DELETE", ["query_annotations", "__all__", id]) => {
                self.annotations.retain(|annotation| annotation["id"] != *id);
                (204, Value::Null)
            }
            ("POST", ["markers", place]) => self.make_marker(place, body),
            ("GET", ["boards"]) => (200, json!(self.boards)),
            ("POST", ["boards"]) => {
                let board = self.with_id(body);
                self.put_board(board, 201)
            }
            ("PUT", ["boards", id]) => {
                self.boards.retain(|board| board["id"] != *id);
                let mut board = body;
                board["id"] = (*id).into();
                self.put_board(board, 200)
            }
            _ => (404, json!({ "error": format!("{method} {path}") })),
        }
    }

    /// A query that names a column which no event has brought is refused.
    fn make_query(&mut self, query: Value) -> (u16, Value) {
        let known = |name: &Value| self.columns.iter().any(|column| column["key_name"] == *name);
        let breakdowns = query["breakdowns"].as_array().cloned().unwrap_or_default();
        let unknown = breakdowns.iter().find(|name| !known(name));
        if let Some(name) = unknown {
            return (
                422,
                json!({ "title": "validation failed", "error": format!("unknown column {name}") }),
            );
        }
        let query = self.with_id(query);
        self.queries.push(query.clone());
        (200, query)
    }

    fn make_marker(&mut self, place: &str, marker: Value) -> (u16, Value) {
        if !self.permissions.contains(&"markers") {
            return (401, json!({ "error": "the key may not manage markers" }));
        }
        let is_known = match place {
            "__all__" => self.has_environment_markers,
            dataset => self.datasets.iter().any(|it| it == dataset),
        };
        if !is_known {
            return (404, json!({ "error": "Dataset not found" }));
        }
        self.markers.push((place.to_owned(), marker.clone()));
        (201, self.with_id(marker))
    }

    /// All panels must be of annotations that are there; a board without a type is refused.
    fn put_board(&mut self, mut board: Value, status: u16) -> (u16, Value) {
        let panels = board["panels"].as_array().cloned().unwrap_or_default();
        let is_known = |panel: &Value| {
            let panel = &panel["query_panel"];
            self.annotations.iter().any(|annotation| {
                annotation["id"] == panel["query_annotation_id"]
                    && annotation["query_id"] == panel["query_id"]
            })
        };
        if board["type"] != "flexible" || !panels.iter().all(is_known) {
            return (422, json!({ "title": "validation failed" }));
        }
        let id = board["id"].as_str().unwrap_or_default().to_owned();
        let url = format!("https://ui.honeycomb.io/cruddur/environments/production/board/{id}");
        board["links"] = json!({ "board_url": url });
        self.boards.push(board.clone());
        (status, board)
    }

    fn with_id(&mut self, mut object: Value) -> Value {
        self.ids += 1;
        object["id"] = format!("id{}", self.ids).into();
        object
    }
}
