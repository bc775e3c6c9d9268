//! `elasticsearch` puts records into indices or data streams of Elasticsearch and OpenSearch.
//!
//! ```text
//!  worker   record ─▶ name of the index, id, document ─▶ one line in a buffer ─▶ queue
//!  task     queue ─▶ deliver (groups, tries again) ─▶ _bulk ─▶ an answer for each record
//!                                                                │ taken, or there already: done
//!                                                                │ busy: sent again, alone
//!                                                                └ wrong: set aside, alone
//! ```

mod bulk;
mod encode;
mod name;
mod outlet;

#[cfg(test)]
mod tests;

use crate::deliver::{BATCH, Delivery, DeliveryOptions, REQUEST};
use crate::encoding::{ENCODING, Encoding};
use crate::headers::Headers;
use azud_client::{AUTH, AuthOptions, TLS, Tls, Url};
use azud_plan::component::{
    self, Batches, BuildContext, BuildError, Connector, ConnectorKind, Encoder, Endpoint, Example,
    Kind, OptionKind, OptionSpec, Options, Probe, Resource, RunError, SinkFactory, SinkSpec,
    SinkTask,
};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::Text;
use bulk::Action;
use encode::{BulkEncoder, Form, Target};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use name::Name;
use outlet::{BulkOutlet, Greeting, Settings};
use std::sync::Arc;

/// The registry's entry of `elasticsearch`.
pub const ELASTICSEARCH: SinkFactory = SinkFactory {
    name: "elasticsearch",
    summary: "Puts records into indices or data streams of Elasticsearch or OpenSearch.",
    description: "\
Gathers records into bulk requests. The answer is believed for each record alone: what was taken is \
done, what the server was too busy for (429, 503) is sent again by itself, and what it will never \
take (400: a field of another type) is set aside with the answer. A server that does not answer is \
left for the next of `endpoints`.

A record that is sent twice is there once: its `_id` is a hash of where it came from and of what is \
in it, or the field that `id_key` names. An alert has its own id, so that an index holds the greatest \
revision of each; a data stream holds every revision, since nothing in it can be replaced.

What a field puts into the name of an index stays a part of that name: it is lower-cased, and signs \
that a name may not have become `_`. The name must begin with a letter that the author wrote, or else \
never becomes one with `.`, `-`, `_` or `+` before it.

When the last request failed and nothing is left to send, a server is asked who it is every \
`request.retry_max_duration_secs`: so `azud connectors` says when it is back.",
    inputs: &[Kind::Log, Kind::Alert],
    options: OPTIONS,
    check,
    examples: &[
        Example {
            title: "An index for each day",
            toml: "type = \"elasticsearch\"\nendpoints = [\"https://es.example:9200\"]\n\
                   bulk.index = \"okta-%Y.%m.%d\"\nid_key = \"uuid\"\n\
                   auth = { strategy = \"basic\", user = \"azud\", password = \
                   \"SECRET[azud.es_password]\" }\n",
            input: "{\"uuid\":\"7c1\",\"message\":\"hello\"}\n",
            output: "{\"index\":{\"_id\":\"7c1\",\"_index\":\"okta-1970.01.01\"}}\t\
                     {\"message\":\"hello\"}\n",
        },
        Example {
            title: "A data stream",
            toml: "type = \"elasticsearch\"\nendpoints = [\"https://es.example:9200\"]\n\
                   mode = \"data_stream\"\ndata_stream.dataset = \"okta\"\n\
                   id_key = \"uuid\"\ncompression = \"gzip\"\n",
            input: "{\"uuid\":\"7c1\",\"timestamp\":\"2026-03-01T10:00:00Z\"}\n",
            output: "{\"create\":{\"_id\":\"7c1\",\"_index\":\"logs-okta-default\"}}\t\
                     {\"@timestamp\":\"2026-03-01T10:00:00Z\",\"data_stream\":\
                     {\"dataset\":\"okta\",\"namespace\":\"default\",\"type\":\"logs\"}}\n",
        },
    ],
};

const fn option(
    name: &'static str,
    kind: OptionKind,
    default: component::Default,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default, summary }
}

const OPTIONS: &[OptionSpec] = &[
    AUTH,
    BATCH,
    option(
        "bulk",
        OptionKind::Table(&[
            option(
                "action",
                OptionKind::OneOf(&[
                    ("create", "a document of an id that is there already stays as it is"),
                    ("index", "a document of an id that is there already is replaced"),
                    ("update", "what a document holds is put into the one of its id"),
                ]),
                component::Default::Value("\"index\""),
                "What is done with a document.",
            ),
            option(
                "index",
                OptionKind::Template,
                component::Default::Value("\"azud-%Y.%m.%d\""),
                "The index, a template: `okta-%Y.%m.%d`.",
            ),
            option(
                "pipeline",
                OptionKind::Text,
                component::Default::None,
                "The ingest pipeline that documents go through.",
            ),
        ]),
        component::Default::Value("{}"),
        "Of the mode `bulk`; `pipeline` of both.",
    ),
    option(
        "compression",
        OptionKind::OneOf(&[("gzip", "gzip, level 6"), ("none", "as it is")]),
        component::Default::Value("\"none\""),
        "How the body is compressed.",
    ),
    option(
        "data_stream",
        OptionKind::Table(&[
            option(
                "dataset",
                OptionKind::Template,
                component::Default::Value("\"generic\""),
                "What the records are of.",
            ),
            option(
                "namespace",
                OptionKind::Template,
                component::Default::Value("\"default\""),
                "Whose they are.",
            ),
            option(
                "sync_fields",
                OptionKind::Boolean,
                component::Default::Value("true"),
                "Whether the documents say it too, in `data_stream`.",
            ),
            option(
                "type",
                OptionKind::Template,
                component::Default::Value("\"logs\""),
                "What sort they are.",
            ),
        ]),
        component::Default::Value("{}"),
        "Of the mode `data_stream`: the stream is `type-dataset-namespace`.",
    ),
    ENCODING,
    option(
        "endpoints",
        OptionKind::List(&OptionKind::Text),
        component::Default::Required,
        "The addresses of servers of one cluster. One that does not answer is left for the next.",
    ),
    option(
        "id_key",
        OptionKind::Field,
        component::Default::None,
        "The field whose text becomes the `_id`; it is not part of the document. Without it, and \
         where it is missing, a hash of the record.",
    ),
    option(
        "mode",
        OptionKind::OneOf(&[
            ("bulk", "into an index"),
            ("data_stream", "into a data stream, with `@timestamp`"),
        ]),
        component::Default::Value("\"bulk\""),
        "Where documents go.",
    ),
    REQUEST,
    TLS,
];

/// A checked `elasticsearch`.
struct Elasticsearch {
    form: Form,
    delivery: DeliveryOptions,
    settings: Settings,
}

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    let endpoints = check_endpoints(options, checker);
    let auth = AuthOptions::check(options, checker);
    let headers = Headers::check(options, &[], checker);
    let tls = Tls::check(options, checker);
    let form = check_form(options, checker);
    let bulk = options.table("bulk")?;
    let pipeline = if bulk.has("pipeline") { Some(bulk.string("pipeline")?) } else { None };
    let settings = Settings {
        endpoints: endpoints?,
        auth: auth?,
        headers: headers?,
        tls: tls?,
        gzip: options.one_of("compression")? == "gzip",
        pipeline,
    };
    Some(Box::new(Elasticsearch {
        form: form?,
        delivery: DeliveryOptions::check(options)?,
        settings,
    }))
}

fn check_form(options: &Options<'_>, checker: &mut Checker) -> Option<Form> {
    let (bulk, stream) = (options.table("bulk")?, options.table("data_stream")?);
    let mut contradicts = |place, title: &str| {
        checker.report(Diagnostic::error(codes::CONTRADICTION, place, title, ""));
    };
    let mode = options.one_of("mode")?;
    for (name, other) in [("data_stream", "bulk"), ("bulk", "data_stream")] {
        let table = options.table(name)?;
        let ours = table.table.entries.iter().find(|entry| entry.key != "pipeline");
        if let Some(entry) = ours.filter(|_| mode == other) {
            let title = format!("`{name}.{}` does not count in the mode `{mode}`", entry.key);
            contradicts(entry.key_span, &title);
            return None;
        }
    }
    let encoding = Encoding::check(options)?;
    if matches!(encoding, Encoding::Text) {
        contradicts(options.span("encoding"), "a document is a JSON object");
        return None;
    }
    let action = match bulk.one_of("action")? {
        _ if mode == "data_stream" => Action::Create,
        "create" => Action::Create,
        "update" => Action::Update,
        _ => Action::Index,
    };
    let target = match mode {
        "data_stream" => Target::DataStream {
            parts: [
                name(&stream, "type", "logs", checker)?,
                name(&stream, "dataset", "generic", checker)?,
                name(&stream, "namespace", "default", checker)?,
            ],
            sync_fields: stream.boolean("sync_fields")?,
        },
        _ => Target::Index(name(&bulk, "index", "azud-%Y.%m.%d", checker)?),
    };
    let id_key = if options.has("id_key") { Some(options.string("id_key")?) } else { None };
    let mut inputs = options.inputs.iter();
    let alerts = !options.inputs.is_empty() && inputs.all(|port| port.kind == Kind::Alert);
    Some(Form { target, action, id_key, encoding, alerts })
}

/// Reads a name, which has this default.
fn name(options: &Options<'_>, name: &str, default: &str, checker: &mut Checker) -> Option<Name> {
    match options.text(name) {
        Some(text) => Name::parse(text, checker),
        None => {
            let text = Text::unwritten(default, options.span(name));
            Name::parse(&text, checker)
        }
    }
}

fn check_endpoints(options: &Options<'_>, checker: &mut Checker) -> Option<Vec<Url>> {
    let mut endpoints = Vec::new();
    let mut sound = true;
    for text in options.list_of_text("endpoints") {
        let url = Url::parse(&text.text).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let title = match url {
            Some(url) if !url.username().is_empty() || url.password().is_some() => {
                "an address is shown and holds no credentials: put them into `auth`"
            }
            Some(url) => {
                endpoints.push(url);
                continue;
            }
            None => "this is no address of a server: write it as `https://es.example:9200`",
        };
        sound = false;
        checker.report(Diagnostic::error(codes::MALFORMED_VALUE, text.span, title, ""));
    }
    if sound && endpoints.is_empty() && options.has("endpoints") {
        let place = options.span("endpoints");
        let title = "`endpoints` names no server";
        checker.report(Diagnostic::error(codes::MALFORMED_VALUE, place, title, ""));
    }
    (sound && !endpoints.is_empty()).then_some(endpoints)
}

impl SinkSpec for Elasticsearch {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(BulkEncoder::new(self.form.clone()))
    }

    fn resources(&self) -> Vec<Resource> {
        self.settings.tls.files().map(|path| Resource::Reads(path.clone())).collect()
    }

    fn endpoint(&self) -> Option<Endpoint> {
        let endpoints: Vec<String> =
            self.settings.endpoints.iter().map(azud_client::url::shown).collect();
        let summary = serde_json::json!({ "endpoints": endpoints });
        Some(Endpoint::new(ConnectorKind::Sink, summary))
    }

    fn probe(&self, context: &BuildContext, _: &Arc<dyn Connector>) -> Option<Box<dyn Probe>> {
        let outlet = BulkOutlet::build(self.settings.clone(), &self.delivery, context);
        Some(Box::new(Greeting(outlet)))
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        let outlet = BulkOutlet::build(self.settings.clone(), &self.delivery, context)?;
        let who = (context.id.as_str(), ELASTICSEARCH.name);
        let clock = context.clock.clone();
        let connector = context.services.connectors().map(|all| all.of(&context.id));
        let delivery = Delivery::new(who, Box::new(outlet), self.delivery, clock);
        Ok(Box::new(Running(delivery.reporting(connector))))
    }
}

/// A running `elasticsearch`.
struct Running(Delivery);

impl SinkTask for Running {
    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        async move {
            self.0.run(batches).await;
            Ok(())
        }
        .boxed()
    }
}
