//! `board`: makes or renews a board at Honeycomb, described in `board/board.json`.
//!
//! Honeycomb's queries can be neither listed nor deleted, so each is made once: the annotation that
//! names it on the board carries a checksum of its specification, and as long as that is the same,
//! query and annotation are used again. The board itself is found by its tag and replaced as a
//! whole. Running it twice changes nothing.

mod client;

use std::process::ExitCode;

use flate2::Crc;
use http::{Method, StatusCode};
use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use serde_json::{Value, json};

use crate::{
    command::{
        Command,
        board::client::{BoardError, Client},
        complain, print,
    },
    config::{Config, ConfigError},
};

const BOARD: &str = include_str!("board.json");

/// The tag that our board is found by.
const TAG: (&str, &str) = ("managedby", "cruddur-telemetry");

/// What the descriptions of our annotations end with: a checksum and a bracket follow.
const MARK: &str = "[cruddur-telemetry ";

/// Variables without which there is no board.
const ABOUT_US: [&str; 5] = [
    "HONEYCOMB_CONFIGURATION_KEY",
    "HONEYCOMB_API_KEY",
    "HONEYCOMB_API_KEY_SECRET",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "HONEYCOMB_API_ENDPOINT",
];

/// The dataset that is made where there is none.
const DATASET: &str = "cruddur";

/// Exit codes.
const REFUSED: u8 = 1;
const UNREACHABLE: u8 = 2;

const HELP: &str = "\
Makes a board at Honeycomb, or brings it up to date: latency, p90 by route, latency by user, errors
by type, cold starts, recent traces.

Usage: cruddur-telemetry board [OPTIONS]

It needs a configuration key with the permissions Manage Queries and Columns and Manage Public
Boards, in HONEYCOMB_CONFIGURATION_KEY, or as HONEYCOMB_API_KEY. The key decides in which
environment the board is. HONEYCOMB_API_ENDPOINT is as for the extension.

Options:
  --dataset NAME        Where columns are made that no event has brought yet [default: the first
                        that there is, else cruddur]; with a classic key, what the board is about
  --print               Print the JSON of the board and its queries, and do nothing
  -h, --help            Print this page

Exit code: 0 done, 1 refused or misconfigured, 2 Honeycomb does not answer
";

/// The command's options.
#[derive(Debug, PartialEq, Eq)]
pub struct BoardOptions {
    dataset: Option<String>,
    print: bool,
}

impl BoardOptions {
    pub(super) fn parse(parser: &mut Parser) -> Result<Command, lexopt::Error> {
        let mut options = Self { dataset: None, print: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("dataset") => options.dataset = Some(parser.value()?.string()?),
                Long("print") => options.print = true,
                Short('h') | Long("help") => return Ok(Command::Help(HELP)),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Command::Board(options))
    }
}

/// Makes the board.
pub(super) async fn run(
    options: &BoardOptions,
    config: Config,
    errors: &[ConfigError],
) -> ExitCode {
    let wanted: Value = match serde_json::from_str(BOARD) {
        Ok(wanted) => wanted,
        Err(error) => unreachable!("board.json is JSON, as a test shows: {error}"),
    };
    if options.print {
        print(&format!("{wanted:#}\n"));
        return ExitCode::SUCCESS;
    }
    let Some(honeycomb) = config.board else {
        // Other exporters' variables have nothing to do with it.
        let mut reasons = errors.iter().filter(|error| ABOUT_US.contains(&error.variable()));
        let reason = reasons.next().map(ConfigError::to_string);
        let missing = || "There is no key: set HONEYCOMB_CONFIGURATION_KEY".to_owned();
        complain(&reason.unwrap_or_else(missing));
        return ExitCode::from(REFUSED);
    };
    let mut maker = BoardMaker { client: Client::new(honeycomb), scope: String::new() };
    match maker.make(&wanted, options.dataset.as_deref()).await {
        Ok(told) => {
            print(&told);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(match error {
                BoardError::Refused(_) => REFUSED,
                BoardError::Unreachable(_) => UNREACHABLE,
            })
        }
    }
}

struct BoardMaker {
    client: Client,
    /// The dataset of queries: `__all__`, or with a classic key a dataset's own.
    scope: String,
}

impl BoardMaker {
    async fn make(&mut self, wanted: &Value, dataset: Option<&str>) -> Result<String, BoardError> {
        let is_classic = self.check_key().await?;
        self.scope = match is_classic {
            true => self.dataset(Some(dataset.unwrap_or(DATASET))).await?,
            false => "__all__".to_owned(),
        };
        let columns = self.make_columns(wanted, dataset).await?;
        let path = format!("/1/query_annotations/{}", self.scope);
        let known = self.get(&format!("{path}?include_board_annotations=true")).await?;
        let (mut panels, mut made) = (Vec::new(), 0);
        for panel in list(&wanted["panels"]) {
            let (query, annotation, is_new) = self.query(panel, &known).await?;
            made += usize::from(is_new);
            panels.push(json!({ "type": "query", "query_panel": {
                "query_id": query, "query_annotation_id": annotation,
                "query_style": panel["style"],
                "visualization_settings": panel.get("settings").cloned().unwrap_or(json!({})),
            }}));
        }
        let (board, verb) = self.put_board(wanted, &panels).await?;
        self.remove_replaced(&known, &panels).await?;
        let url = board["links"]["board_url"].as_str().unwrap_or_default();
        let count = panels.len();
        Ok(format!("Board {verb}: {count} queries ({made} new), {columns} new columns\n{url}\n"))
    }

    /// Whether it is a classic key. Fails if it may not do what is needed.
    async fn check_key(&mut self) -> Result<bool, BoardError> {
        let auth = self.get("/1/auth").await?;
        let access = &auth["api_key_access"];
        let permissions = [
            ("queries", "Manage Queries and Columns"),
            ("columns", "Manage Queries and Columns"),
            ("boards", "Manage Public Boards"),
        ];
        match permissions.iter().find(|(flag, _)| access[flag] != true) {
            Some((_, name)) => Err(BoardError::Refused(format!(
                "This {} key lacks the permission {name}: make a configuration key with it, and \
                 give it as HONEYCOMB_CONFIGURATION_KEY",
                auth["type"].as_str().unwrap_or_default()
            ))),
            None => Ok(auth["environment"]["slug"].as_str().is_none_or(str::is_empty)),
        }
    }

    /// The slug of a dataset, which is made if it does not exist; `None` is any that does.
    async fn dataset(&mut self, name: Option<&str>) -> Result<String, BoardError> {
        // Who may not see them may still be allowed to make one.
        let unseen = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        let datasets = self.client.call(Method::GET, "/1/datasets", None, &unseen).await?;
        let datasets = datasets.unwrap_or_default();
        let is_wanted = |dataset: &&Value| {
            name.is_none_or(|name| dataset["name"] == name || dataset["slug"] == name)
        };
        if let Some(dataset) = list(&datasets).iter().find(is_wanted) {
            return text(dataset, "slug");
        }
        let dataset = json!({ "name": name.unwrap_or(DATASET) });
        text(&self.post("/1/datasets", &dataset).await?, "slug")
    }

    /// Honeycomb refuses queries of columns that no event has brought. Returns how many are new.
    async fn make_columns(
        &mut self,
        wanted: &Value,
        dataset: Option<&str>,
    ) -> Result<usize, BoardError> {
        let path = format!("/1/columns/{}", self.scope);
        // An environment without any dataset has no columns either.
        let known = self.client.call(Method::GET, &path, None, &[StatusCode::NOT_FOUND]).await?;
        let known = known.unwrap_or_default();
        let columns = wanted["columns"].as_object().into_iter().flatten();
        let is_missing = |name: &str| !list(&known).iter().any(|known| known["key_name"] == name);
        let missing: Vec<_> = columns.filter(|(name, _)| is_missing(name)).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        let slug = match self.scope.as_str() {
            "__all__" => self.dataset(dataset).await?,
            slug => slug.to_owned(),
        };
        for (name, kind) in &missing {
            let column = json!({ "key_name": name, "type": kind });
            let path = format!("/1/columns/{slug}");
            // A conflict: an event has brought it meanwhile.
            self.client.call(Method::POST, &path, Some(&column), &[StatusCode::CONFLICT]).await?;
        }
        Ok(missing.len())
    }

    /// Ids of a panel's query and annotation, and whether they are new.
    async fn query(
        &mut self,
        panel: &Value,
        known: &Value,
    ) -> Result<(String, String, bool), BoardError> {
        let description =
            format!("{} {}", panel["description"].as_str().unwrap_or_default(), mark(panel));
        let same = list(known).iter().find(|annotation| {
            annotation["name"] == panel["name"] && annotation["description"] == description
        });
        if let Some(annotation) = same {
            return Ok((text(annotation, "query_id")?, text(annotation, "id")?, false));
        }
        let path = format!("/1/queries/{}", self.scope);
        let query = self.post(&path, &panel["query"]).await?;
        let query = text(&query, "id")?;
        let annotation =
            json!({ "name": panel["name"], "query_id": query, "description": description });
        let path = format!("/1/query_annotations/{}", self.scope);
        let annotation = self.post(&path, &annotation).await?;
        Ok((query, text(&annotation, "id")?, true))
    }

    async fn put_board(
        &mut self,
        wanted: &Value,
        panels: &[Value],
    ) -> Result<(Value, &'static str), BoardError> {
        let board = json!({
            "name": wanted["name"], "description": wanted["description"], "type": "flexible",
            "layout_generation": "auto", "tags": [{ "key": TAG.0, "value": TAG.1 }],
            "panels": panels,
        });
        let boards = self.get("/1/boards").await?;
        let is_ours = |board: &&Value| {
            list(&board["tags"]).iter().any(|tag| tag["key"] == TAG.0 && tag["value"] == TAG.1)
        };
        let ours: Vec<&Value> = list(&boards).iter().filter(is_ours).collect();
        match ours[..] {
            [] => Ok((self.post("/1/boards", &board).await?, "made")),
            [one] => {
                let path = format!("/1/boards/{}", text(one, "id")?);
                let reply = self.client.call(Method::PUT, &path, Some(&board), &[]).await?;
                Ok((reply.unwrap_or_default(), "brought up to date"))
            }
            _ => Err(BoardError::Refused(format!(
                "{} boards have the tag {}:{}: delete all but one",
                ours.len(),
                TAG.0,
                TAG.1
            ))),
        }
    }

    /// Annotations of ours that the board no longer has.
    async fn remove_replaced(&mut self, known: &Value, panels: &[Value]) -> Result<(), BoardError> {
        for annotation in list(known) {
            let is_ours = annotation["description"].as_str().is_some_and(|it| it.contains(MARK));
            let is_used =
                |panel: &Value| panel["query_panel"]["query_annotation_id"] == annotation["id"];
            if is_ours && !panels.iter().any(is_used) {
                let id = text(annotation, "id")?;
                let path = format!("/1/query_annotations/{}/{id}", self.scope);
                self.client.call(Method::DELETE, &path, None, &[StatusCode::NOT_FOUND]).await?;
            }
        }
        Ok(())
    }

    async fn get(&mut self, path: &str) -> Result<Value, BoardError> {
        Ok(self.client.call(Method::GET, path, None, &[]).await?.unwrap_or_default())
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, BoardError> {
        Ok(self.client.call(Method::POST, path, Some(body), &[]).await?.unwrap_or_default())
    }
}

/// What tells one specification of a query from another; maps of JSON are sorted here.
fn mark(panel: &Value) -> String {
    let mut crc = Crc::new();
    crc.update(panel["query"].to_string().as_bytes());
    format!("{MARK}{:08x}]", crc.sum())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(object: &Value, field: &str) -> Result<String, BoardError> {
    let text = object[field].as_str().map(str::to_owned);
    text.ok_or_else(|| BoardError::Refused(format!("Honeycomb's answer has no {field}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_that_a_query_names_is_made_and_every_order_is_of_a_calculation() {
        let board: Value = serde_json::from_str(BOARD).expect("JSON");

        for panel in list(&board["panels"]) {
            let query = &panel["query"];
            let own = list(&query["calculated_fields"]).iter().map(|field| &field["name"]);
            let own: Vec<&Value> = own.collect();
            let used = ["calculations", "filters"].iter().flat_map(|part| list(&query[part]));
            let used = used.filter_map(|part| part.get("column"));
            for column in used.chain(list(&query["breakdowns"])) {
                let name = column.as_str().expect("a name");
                assert!(own.contains(&column) || board["columns"][name].is_string(), "{name}");
            }
            for order in list(&query["orders"]) {
                let ordered = |calculation: &Value| {
                    calculation["op"] == order["op"] && calculation["column"] == order["column"]
                };
                assert!(list(&query["calculations"]).iter().any(ordered), "{order}");
            }
        }
    }
}
