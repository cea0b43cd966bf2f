//! `board`: creates or updates the Honeycomb board that `board/board.json` describes.
//!
//! Honeycomb can neither list nor delete queries, so the command creates each query once. The
//! annotation that names a query carries a checksum of its specification; while the checksum matches,
//! query and annotation are reused. The board is found by its tag and replaced as a whole. A second
//! run changes nothing.

use std::process::ExitCode;

use http::{Method, StatusCode};
use lexopt::{
    Arg::{Long, Short},
    Parser, ValueExt,
};
use serde_json::{Value, json};

use crate::command::command_error::CommandError;
use crate::command::honeycomb_client::{Client, key_error};
use crate::command::output::{print, print_error};
use crate::config::{Config, ConfigError};

const BOARD: &str = include_str!("board.json");

/// The tag by which the command finds its board.
const TAG: (&str, &str) = ("managedby", "cruddur-telemetry");

/// Begins the mark at the end of our annotations' descriptions; a checksum and a bracket follow.
const MARK: &str = "[cruddur-telemetry ";

/// Created if the environment has no dataset.
const DEFAULT_DATASET: &str = "cruddur";

const REFUSED: u8 = 1;
const UNREACHABLE: u8 = 2;

pub(super) const HELP: &str = "\
Creates or updates a Honeycomb board: latency, p90 by route, latency by user, errors by type, cold
starts, recent traces.

Usage: cruddur-telemetry board [OPTIONS]

It needs a configuration key with the permissions Manage Queries and Columns and Manage Public
Boards, in HONEYCOMB_CONFIGURATION_KEY or HONEYCOMB_API_KEY. The board is created in the key's
environment. HONEYCOMB_API_ENDPOINT has the same meaning as for the extension.

Options:
  --dataset NAME        The dataset in which missing columns are created [default: the first one,
                        else cruddur]; with a classic key, the dataset that the board shows
  --print               Only print the JSON of the board and its queries
  -h, --help            Print this page

Exit code: 0 success, 1 refused or misconfigured, 2 Honeycomb does not answer
";

#[derive(Debug, PartialEq, Eq)]
pub struct BoardOptions {
    dataset: Option<String>,
    print: bool,
}

impl BoardOptions {
    /// `None` if help is requested.
    pub(super) fn parse(parser: &mut Parser) -> Result<Option<Self>, lexopt::Error> {
        let mut options = Self { dataset: None, print: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("dataset") => options.dataset = Some(parser.value()?.string()?),
                Long("print") => options.print = true,
                Short('h') | Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

pub(super) async fn run(
    options: &BoardOptions,
    config: Config,
    errors: &[ConfigError],
) -> ExitCode {
    let wanted: Value = match serde_json::from_str(BOARD) {
        Ok(wanted) => wanted,
        Err(error) => unreachable!("a test parses board.json: {error}"),
    };
    if options.print {
        print(&format!("{wanted:#}\n"));
        return ExitCode::SUCCESS;
    }
    let Some(honeycomb) = config.management else {
        let missing = || "There is no Honeycomb key: set HONEYCOMB_CONFIGURATION_KEY".to_owned();
        print_error(&key_error(errors).unwrap_or_else(missing));
        return ExitCode::from(REFUSED);
    };
    let mut maker = BoardMaker { client: Client::new(honeycomb), scope: String::new() };
    match maker.make(&wanted, options.dataset.as_deref()).await {
        Ok(result) => {
            print(&result);
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&error.to_string());
            ExitCode::from(match error {
                CommandError::Refused(_) => REFUSED,
                CommandError::Unreachable(_) => UNREACHABLE,
            })
        }
    }
}

struct BoardMaker {
    client: Client,
    /// The dataset of the queries: `__all__`, or the slug of a classic key's dataset.
    scope: String,
}

impl BoardMaker {
    async fn make(
        &mut self,
        wanted: &Value,
        dataset: Option<&str>,
    ) -> Result<String, CommandError> {
        let is_classic = self.check_key().await?;
        self.scope = match is_classic {
            true => self.dataset(Some(dataset.unwrap_or(DEFAULT_DATASET))).await?,
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

    /// Returns whether the key is classic. Fails if the key lacks a permission.
    async fn check_key(&mut self) -> Result<bool, CommandError> {
        let auth = self.get("/1/auth").await?;
        let access = &auth["api_key_access"];
        let permissions = [
            ("queries", "Manage Queries and Columns"),
            ("columns", "Manage Queries and Columns"),
            ("boards", "Manage Public Boards"),
        ];
        match permissions.iter().find(|(flag, _)| access[flag] != true) {
            Some((_, name)) => Err(CommandError::Refused(format!(
                "This {} key lacks the permission {name}: create a configuration key with it, and \
                 set it as HONEYCOMB_CONFIGURATION_KEY",
                auth["type"].as_str().unwrap_or_default()
            ))),
            None => Ok(auth["environment"]["slug"].as_str().is_none_or(str::is_empty)),
        }
    }

    /// The slug of a dataset, which is created if it does not exist; `None` accepts any dataset.
    async fn dataset(&mut self, name: Option<&str>) -> Result<String, CommandError> {
        // A key that may not list datasets may still be allowed to create one.
        let no_list = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        let datasets = self.client.call(Method::GET, "/1/datasets", None, &no_list).await?;
        let datasets = datasets.unwrap_or_default();
        let is_wanted = |dataset: &&Value| {
            name.is_none_or(|name| dataset["name"] == name || dataset["slug"] == name)
        };
        if let Some(dataset) = list(&datasets).iter().find(is_wanted) {
            return text(dataset, "slug");
        }
        let dataset = json!({ "name": name.unwrap_or(DEFAULT_DATASET) });
        text(&self.post("/1/datasets", &dataset).await?, "slug")
    }

    /// Honeycomb refuses queries of unknown columns. Returns the number of new columns.
    async fn make_columns(
        &mut self,
        wanted: &Value,
        dataset: Option<&str>,
    ) -> Result<usize, CommandError> {
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
            // A conflict: an event has created the column meanwhile.
            self.client.call(Method::POST, &path, Some(&column), &[StatusCode::CONFLICT]).await?;
        }
        Ok(missing.len())
    }

    /// The ids of a panel's query and annotation, and whether they are new.
    async fn query(
        &mut self,
        panel: &Value,
        known: &Value,
    ) -> Result<(String, String, bool), CommandError> {
        let description = format!(
            "{} {}",
            panel["description"].as_str().unwrap_or_default(),
            checksum_mark(panel)
        );
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
    ) -> Result<(Value, &'static str), CommandError> {
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
            _ => Err(CommandError::Refused(format!(
                "{} boards have the tag {}:{}: delete all but one",
                ours.len(),
                TAG.0,
                TAG.1
            ))),
        }
    }

    /// Deletes our annotations that the board no longer shows.
    async fn remove_replaced(
        &mut self,
        known: &Value,
        panels: &[Value],
    ) -> Result<(), CommandError> {
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

    async fn get(&mut self, path: &str) -> Result<Value, CommandError> {
        Ok(self.client.call(Method::GET, path, None, &[]).await?.unwrap_or_default())
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, CommandError> {
        Ok(self.client.call(Method::POST, path, Some(body), &[]).await?.unwrap_or_default())
    }
}

/// A checksum of the query's specification; `serde_json` sorts the members of objects.
fn checksum_mark(panel: &Value) -> String {
    format!("{MARK}{:08x}]", crc32fast::hash(panel["query"].to_string().as_bytes()))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(object: &Value, field: &str) -> Result<String, CommandError> {
    let text = object[field].as_str().map(str::to_owned);
    text.ok_or_else(|| CommandError::Refused(format!("Honeycomb's answer has no {field}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Honeycomb weighs counts, sums and percentiles with the rate, but not these. All failures are sent.
    #[test]
    fn distinct_values_are_counted_only_among_failures() {
        let board: Value = serde_json::from_str(BOARD).expect("JSON");
        let is_distinct = |it: &Value| it["op"] == "COUNT_DISTINCT";

        let panels = list(&board["panels"]).iter().map(|panel| &panel["query"]);
        let distinct: Vec<_> =
            panels.filter(|query| list(&query["calculations"]).iter().any(is_distinct)).collect();

        assert!(!distinct.is_empty());
        let failures = json!({ "column": "error", "op": "=", "value": true });
        assert!(distinct.iter().all(|query| list(&query["filters"]).contains(&failures)));
    }

    #[test]
    fn every_column_of_a_query_is_created_and_every_order_names_a_calculation() {
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
