//! Which routes are there? One table, of which the router and the OpenAPI document are made.

use axum::routing::{MethodRouter, delete, get, patch, post, put};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{ManagementApi, data, events, executors, logs, openapi, runs, views};
use crate::{
    CreatedJoinToken, ExecutorDetail, NewJoinToken,
    http::body::JSON_LINES,
    model::{Run, RunConfig},
};

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A media type, and what is in it.
type Content = Option<(&'static str, SchemaOf)>;

/// One route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// What programs that are generated from the document call it.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Content,
    pub(super) status: u16,
    pub(super) answer: Content,
    pub(super) handler: MethodRouter<ManagementApi>,
}

const JSON: &str = "application/json";

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn text(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string" })
}

impl Route {
    fn new(
        (method, path): (&'static str, &'static str),
        id: &'static str,
        summary: &'static str,
        handler: MethodRouter<ManagementApi>,
    ) -> Self {
        Self { method, path, id, summary, query: None, body: None, status: 204, answer: None, handler }
    }

    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema_of::<T>);
        self
    }

    fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((JSON, schema_of::<T>));
        self
    }

    fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.answer = Some((JSON, schema_of::<T>));
        self
    }

    fn streams(mut self, media: &'static str, schema: SchemaOf) -> Self {
        self.status = 200;
        self.answer = Some((media, schema));
        self
    }
}

/// Every route.
pub(super) fn all() -> Vec<Route> {
    let mut routes = run_routes();
    routes.extend(log_routes());
    routes.extend(executor_routes());
    routes.extend(data_routes());
    routes
}

fn run_routes() -> Vec<Route> {
    vec![
        Route::new(("GET", "/runs"), "listRuns", "Runs, the newest first.", get(runs::list))
            .query::<views::RunsQuery>()
            .answers::<views::RunList>(200),
        Route::new(("POST", "/runs"), "createRun", "Creates a run, once for each idempotency key.", post(runs::create))
            .body::<views::RunToCreate>()
            .answers::<Run>(201),
        Route::new(("GET", "/run-by-number"), "findRun", "The run with a number in a root group.", get(runs::find))
            .query::<views::NumberQuery>()
            .answers::<Run>(200),
        Route::new(("GET", "/runs/{run}"), "getRun", "A run with its tasks, and why it waits.", get(runs::detail))
            .answers::<views::Detail>(200),
        Route::new(
            ("GET", "/runs/{run}/config"),
            "getRunConfig",
            "The definition of a run, without the values of its secrets.",
            get(runs::config),
        )
        .answers::<RunConfig>(200),
        Route::new(("POST", "/runs/{run}/stop"), "stopRun", "Asks a running run to stop.", post(runs::stop))
            .answers::<Run>(200),
        Route::new(("POST", "/runs/{run}/cancel"), "cancelRun", "Cancels a queued run.", post(runs::cancel))
            .answers::<Run>(200),
        Route::new(
            ("POST", "/runs/{run}/restart"),
            "restartRun",
            "Repeats a finished or cancelled run, as a new one.",
            post(runs::restart),
        )
        .body::<views::Restart>()
        .answers::<Run>(201),
        Route::new(
            ("DELETE", "/runs/{run}"),
            "deleteRun",
            "Deletes a run that is over, and all that belongs to it alone.",
            delete(runs::remove),
        ),
        Route::new(
            ("PUT", "/runs/{run}/pin"),
            "pinRun",
            "Keeps a run however old it becomes, or does not any more.",
            put(runs::pin),
        )
        .body::<views::Pin>()
        .answers::<Run>(200),
        Route::new(
            ("POST", "/runs/{run}/approvals"),
            "approveTask",
            "Approves a task: as a user, whom the scheduler's policy counts, or outright.",
            post(runs::approve),
        )
        .body::<views::Approval>()
        .answers::<Run>(200),
        Route::new(
            ("PATCH", "/runs/{run}/annotations"),
            "annotateTask",
            "Sets the annotations of a task that have a value, and removes those without.",
            patch(runs::annotate),
        )
        .body::<views::Annotations>()
        .answers::<Run>(200),
    ]
}

fn log_routes() -> Vec<Route> {
    let log = Route::new(
        ("GET", "/runs/{run}/logs"),
        "readLog",
        "The bytes of a log from an offset on; with `follow`, until it ends.",
        get(logs::read),
    )
    .query::<views::LogQuery>()
    .streams("text/plain", text);
    vec![
        log,
        Route::new(("GET", "/runs/{run}/logs/lines"), "readLogLines", "Some lines of a log.", get(logs::lines))
            .query::<views::LinesQuery>()
            .answers::<views::Lines>(200),
        Route::new(
            ("GET", "/events"),
            "followEvents",
            "Every event after a sequence, and what happens, as it happens: one in each line, and empty lines meanwhile. \
             The last line may be a problem.",
            get(events::follow),
        )
        .query::<views::EventsQuery>()
        .streams(JSON_LINES, schema_of::<views::EventLine>),
        Route::new(("GET", "/now"), "now", "The sequence of the last thing that happened.", get(events::now))
            .answers::<views::Now>(200),
        Route::new(("GET", "/metrics"), "metrics", "What this process has done, counted.", get(events::metrics))
            .answers::<views::Counted>(200),
    ]
}

fn executor_routes() -> Vec<Route> {
    vec![
        Route::new(
            ("GET", "/executors"),
            "listExecutors",
            "The executors that have registered, and what they have to do.",
            get(executors::list),
        )
        .answers::<views::Executors>(200),
        Route::new(("GET", "/executors/{executor}"), "getExecutor", "One executor.", get(executors::detail))
            .answers::<ExecutorDetail>(200),
        Route::new(
            ("POST", "/executors/{executor}/drain"),
            "drainExecutor",
            "Asks an executor to take no more tasks, and to end when those that it has have ended.",
            post(executors::drain),
        ),
        Route::new(
            ("DELETE", "/executors/{executor}"),
            "removeExecutor",
            "Removes an executor that will not come back, and makes its token worthless.",
            delete(executors::remove),
        ),
        Route::new(
            ("POST", "/executors/{executor}/revoke"),
            "revokeExecutor",
            "Makes an executor's token worthless.",
            post(executors::revoke),
        ),
        Route::new(("GET", "/join-tokens"), "listJoinTokens", "What lets executors join.", get(executors::join_tokens))
            .answers::<views::JoinTokens>(200),
        Route::new(
            ("POST", "/join-tokens"),
            "createJoinToken",
            "Makes a token that lets executors join. It is shown this one time.",
            post(executors::create_join_token),
        )
        .body::<NewJoinToken>()
        .answers::<CreatedJoinToken>(201),
        Route::new(
            ("DELETE", "/join-tokens/{token}"),
            "deleteJoinToken",
            "Lets no executor join with a token any more, by its id.",
            delete(executors::delete_join_token),
        ),
    ]
}

fn data_routes() -> Vec<Route> {
    let export = Route::new(
        ("GET", "/data/export"),
        "exportData",
        "Everything that the database holds, as lines of JSON.",
        get(data::export),
    )
    .streams(JSON_LINES, text);
    let mut import = Route::new(
        ("POST", "/data/import"),
        "importData",
        "Takes in an export, wholly or not at all. The database is in maintenance, and empty.",
        post(data::import),
    )
    .answers::<views::Imported>(200);
    import.body = Some((JSON_LINES, text));
    let document = Route::new(("GET", "/openapi.json"), "openapi", "This document.", get(openapi::get));
    vec![
        export,
        import,
        Route::new(
            ("PUT", "/data/maintenance"),
            "enterMaintenance",
            "Refuses every change, in every process, until it is ended.",
            put(data::enter_maintenance),
        )
        .body::<views::Maintenance>(),
        Route::new(
            ("DELETE", "/data/maintenance"),
            "leaveMaintenance",
            "Ends maintenance, whoever began it.",
            delete(data::leave_maintenance),
        ),
        document.streams(JSON, |_| schemars::json_schema!({ "type": "object" })),
    ]
}
